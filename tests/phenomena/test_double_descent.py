"""Double descent on random features whose curve is known, and cells in which it cannot be asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.double_descent import NETWORKS, enough_features


def networks(noise: float = 0.0, dim: int = 20) -> dict[int, FakeRun]:
    """Ten networks of 16 random ReLU features of `dim` Gaussian inputs; the target is one of these, with noise of its own."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, dim))
    y = x[:, :1] + noise * rng.standard_normal((400, 1))
    features = [np.maximum(x @ rng.standard_normal((dim, 16)), 0) for _ in range(NETWORKS)]
    return {
        k: FakeRun(arrays={0: f}, data=split(x, y.astype(np.float32)), spec=SimpleNamespace(seed=0))
        for k, f in enumerate(features)
    }


def test_without_a_ridge_error_peaks_at_the_threshold_and_with_one_it_does_not() -> None:
    found = outcome("double_descent", "peak", networks())
    assert found.effect > 3
    curve = dict(zip(found.points["error"].x, found.points["error"].y, strict=True))
    assert 0.8 <= max(curve, key=curve.__getitem__) <= 1.25
    assert outcome("double_descent", "peak", networks(), ridge=1.0).effect < 1.5


def test_the_second_descent_is_deeper_where_there_is_little_noise() -> None:
    assert outcome("double_descent", "second", networks()).effect < 1
    assert outcome("double_descent", "second", networks(), noise=5.0).effect > 1.2


def test_without_a_first_descent_there_is_no_second() -> None:
    """Noise of five times the targets: below the threshold the mean is the best that there is."""
    gate = "least test error below the threshold, over that of the mean"
    found = outcome("double_descent", "second", networks(), noise=5.0)
    assert found.details["least below"] > 1
    assert unmet(found) == [gate]
    few = outcome("double_descent", "second", networks(dim=2))
    assert few.decided()
    assert few.effect > 1.2  # in two dimensions what interpolates keeps the noise
    assert outcome("double_descent", "peak", networks(), noise=5.0).decided()


@pytest.mark.parametrize(
    ("features", "told"), [(0, ""), (15, "10 networks have 150 features, 160 are needed"), (16, "")]
)
def test_it_needs_ten_features_a_row(features: int, told: str) -> None:
    assert enough_features(SimpleNamespace(features=features)) == told
