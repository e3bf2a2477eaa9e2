"""Closed forms of modes and of kernel regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.measures import (
    eigenlearning_error,
    kernel_regression_error,
    mode_strengths,
    passage_times,
    random_feature_errors,
)


def test_strengths_do_not_depend_on_the_axes_and_see_their_own_mode_alone() -> None:
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in (5, 4))
    a = rng.uniform(size=(6, 3))
    maps = np.einsum("ik,tk,jk->tij", U, a * [3.0, 2.0, 1.0], V)
    s, found = mode_strengths(maps, U @ np.diag([3.0, 2.0, 1.0]) @ V.T + 1e-6 * rng.standard_normal((5, 4)))
    np.testing.assert_allclose(s[:3], [3, 2, 1], atol=1e-4)
    np.testing.assert_allclose(found[:3], a.T, atol=1e-4)


def test_modes_that_cannot_be_followed_are_refused() -> None:
    with pytest.raises(MeasurementError, match="a mode without a direction"):
        mode_strengths(np.zeros((2, 3, 3)), np.ones((3, 3)))
    with pytest.raises(MeasurementError, match="no maps whose modes could be followed"):
        mode_strengths(np.full((2, 3, 3), np.nan), np.eye(3))


def test_passages_are_exact_between_records_and_infinite_where_there_is_none() -> None:
    t = np.arange(0, 20, 2.5)
    a = 1 / (1 + np.exp(-np.outer([1.0, 2.0, 0.0], t - 7.7)))
    np.testing.assert_allclose(
        passage_times(t, a, 0.9)[:2], 7.7 + math.log(9) / np.array([1.0, 2.0]), atol=1e-6
    )
    assert passage_times(t, a, 0.9)[2] == math.inf
    assert passage_times(t, a, 0.4)[2] == 0.0
    with pytest.raises(MeasurementError, match="level is passed"):
        passage_times(t[::-1], a, 0.5)


def test_rows_that_say_nothing_of_others_are_learnt_one_by_one() -> None:
    """K = 1 has a flat spectrum: what is drawn is known, the rest is not."""
    Y, rng = np.random.default_rng(0).choice([-1.0, 1.0], (64, 1)), np.random.default_rng(1)
    for n in (8, 48):
        error = kernel_regression_error(np.eye(64), Y, n, 1e-9, rng)
        assert error == pytest.approx(1 - n / 64)
        flat = np.full(64, 1 / 64)
        assert error == pytest.approx(eigenlearning_error(flat, flat, n, 1e-12), rel=1e-6)


@pytest.mark.parametrize("n", [10, 50, 90])
def test_a_flat_spectrum_is_learnt_in_proportion(n: int) -> None:
    """Equal eigenvalues, no ridge: L_i = n / M, so that the error is (1 - n/M) |v|^2 (Simon et al. 2023)."""
    power = np.random.default_rng(0).uniform(size=100)
    found = eigenlearning_error(np.full(100, 0.3), power, n, 0.0)
    assert found == pytest.approx((1 - n / 100) * power.sum(), rel=1e-6)


def test_a_large_ridge_learns_nothing_and_one_mode_is_solved_by_hand() -> None:
    power = np.array([1.0, 2.0])
    assert eigenlearning_error(np.array([1.0, 0.5]), power, 4, 1e9) == pytest.approx(3.0, rel=1e-6)
    # One mode of eigenvalue 1, n = 2, ridge 1: 1 / (1 + k) + 1 / k = 2 gives k = 1 / sqrt(2).
    L = 1 / (1 + 1 / math.sqrt(2))
    assert eigenlearning_error(np.ones(1), np.ones(1), 2, 1.0) == pytest.approx(2 / (2 - L**2) * (1 - L) ** 2)


def test_the_theory_is_that_of_simulated_gaussian_features() -> None:
    """Fresh rows in place of a finite population: ridge regression on z_i of variance l_i, 400 draws."""
    rng, values, n, ridge = np.random.default_rng(0), 1.0 / np.arange(1, 41) ** 1.5, 20, 0.05
    v = 1.0 / np.arange(1, 41)
    errors = []
    for _ in range(400):
        X = rng.standard_normal((n, 40)) * np.sqrt(values)
        w = X.T @ np.linalg.solve(X @ X.T + ridge * np.eye(n), X @ (v / np.sqrt(values)))
        errors.append(((w * np.sqrt(values) - v) ** 2).sum())
    assert eigenlearning_error(values, v**2, n, ridge) == pytest.approx(np.mean(errors), rel=0.05)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(MeasurementError, match="fitted exactly"):
        eigenlearning_error(np.ones(4), np.ones(4), 4, 0.0)
    for given, n, ridge in (
        (-np.ones(4), 2, 0.1),
        (np.ones(4), 0, 0.1),
        (np.ones(4), 2, -1.0),
    ):
        with pytest.raises(MeasurementError, match="no eigensystem"):
            eigenlearning_error(given, np.ones(4), n, ridge)
    with pytest.raises(MeasurementError, match="no regression"):
        kernel_regression_error(np.eye(4), np.ones((4, 1)), 5, 0.0, np.random.default_rng(0))


def test_least_squares_on_all_features_is_that_of_numpy_and_a_ridge_is_the_normal_equations() -> None:
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((60, 40)), rng.standard_normal((60, 2))
    for width, ridge in ((40, 0.0), (8, 0.0), (8, 0.7)):
        draw = np.random.default_rng(5)
        order, units = draw.permutation(60), draw.permutation(40)
        train, test, used = order[:20], order[20:], X[:, units[:width]]
        y, left = Y[train] - Y[train].mean(0), Y[test] - Y[train].mean(0)
        if ridge:
            gram = used[train].T @ used[train]
            w = np.linalg.solve(gram + ridge * np.trace(gram) / width * np.eye(width), used[train].T @ y)
        else:
            w = np.linalg.lstsq(used[train], y, rcond=None)[0]
        expected = ((used[test] @ w - left) ** 2).sum() / (left**2).sum()
        found = random_feature_errors(
            X, Y, 20, np.array([width]), np.random.default_rng(5), ridge=ridge, draws=1
        )
        assert found[0] == pytest.approx(expected)


def test_ridgeless_error_of_pure_noise_is_that_of_hastie_et_al() -> None:
    """Isotropic features without a signal: the excess error is sigma^2 p / (n - p) below and n / (p - n) above n."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((500, 200)), 1e-6 * rng.standard_normal((500, 1))
    widths = np.array([20, 50, 200])
    found = random_feature_errors(X, Y, 100, widths, rng, noise=10.0, draws=40) / 100
    np.testing.assert_allclose(found, [20 / 80, 50 / 50, 100 / 100], rtol=0.15)


def test_features_that_cannot_be_used_are_refused() -> None:
    for rows, widths in ((10, [2]), (5, [0]), (5, [5]), (5, [])):
        with pytest.raises(MeasurementError, match="no regression on these features"):
            random_feature_errors(
                np.ones((10, 4)),
                np.arange(10.0)[:, None],
                rows,
                np.array(widths, int),
                np.random.default_rng(0),
            )
