"""The vertex of a noisy curve against closed forms, and against the smallest of its points."""

import math

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.measures import smooth_minimum

X = np.arange(-4.0, 5.0)


@pytest.mark.parametrize("at", [-2.3, 0.0, 1.7])
@pytest.mark.parametrize("curvature", [0.05, 1.0, 20.0])
def test_it_is_exact_for_a_parabola(at, curvature):
    found = smooth_minimum(X, curvature * (X - at) ** 2 - 3)
    assert (found.at, found.curvature) == pytest.approx((at, curvature), rel=1e-6, abs=1e-9)
    assert found.beyond == min((at > X).sum(), (at < X).sum())


def test_weights_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    y = 0.3 * X**2 + rng.normal(0, 0.5, len(X))
    W = np.diag((1 + (y - y.min()) / 0.7) ** -4)
    V = np.vander(X, 3)
    a, b, _ = np.linalg.solve(V.T @ W @ V, V.T @ W @ y)
    assert smooth_minimum(X, y, scale=0.7).at == pytest.approx(-b / (2 * a), rel=1e-6)


def test_a_shift_of_the_grid_shifts_it_and_a_scale_of_the_loss_does_not():
    y = np.log(np.exp(-X) + np.exp(2 * X))
    at = smooth_minimum(X, y).at
    assert smooth_minimum(X + 10, y + 5).at == pytest.approx(at + 10)


def test_noise_moves_it_less_than_the_smallest_point_or_the_parabola_through_its_neighbours():
    rng, errors = np.random.default_rng(0), {"smooth": [], "least": [], "three": []}
    for _ in range(300):
        y = 0.1 * (X - 0.4) ** 2 + rng.normal(0, 0.1, len(X))
        i = int(np.clip(y.argmin(), 1, len(X) - 2))
        a, b, _ = np.polyfit(X[i - 1 : i + 2], y[i - 1 : i + 2], 2)
        errors["smooth"].append(smooth_minimum(X, y).at - 0.4)
        errors["least"].append(X[y.argmin()] - 0.4)
        errors["three"].append(-b / (2 * a) - 0.4)
    spread = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in errors.items()}
    assert spread["smooth"] < 0.5 * min(spread["least"], spread["three"])
    assert abs(np.mean(errors["smooth"])) < 0.05


def test_a_curve_that_falls_throughout_has_none_beyond():
    assert smooth_minimum(X, -X).beyond == 0
    assert math.isnan(smooth_minimum(X, -(X**2)).at)
    assert smooth_minimum(X, np.exp(-X / 4)).beyond <= 1


@pytest.mark.parametrize(
    ("x", "y", "got"),
    [
        (X[:3], X[:3], "3 points"),
        (np.zeros(5), np.ones(5), "1 different x"),
        (X, np.where(X > 3, np.nan, X), "9 points"),
    ],
)
def test_what_is_no_curve_is_refused(x, y, got):
    with pytest.raises(MeasurementError, match=got):
        smooth_minimum(x, y)
