"""Collapse of loss curves that are one curve, differ by noise, or by their power."""

from __future__ import annotations

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.measures import curve_collapse

X = np.linspace(0.02, 1, 50)
A = np.array([1.0, 0.5, 0.25, 0.12])[:, None, None]


def noise(size: float, times: int, seed: int = 0) -> np.ndarray:
    return np.exp(size * np.random.default_rng(seed).standard_normal((4, 40, times)))


def test_what_seeds_differ_by_for_good_is_divided_out() -> None:
    found = curve_collapse(A * noise(0.1, 1) / X)
    assert found.ratio < 1e-6
    assert found.noise.mean() == pytest.approx(0.1, rel=0.1)
    assert found.curves[..., -1] == pytest.approx(np.ones((4, 40)))


def test_noise_that_is_independent_in_time_is_told_by_the_square_root_of_two() -> None:
    ratios = [curve_collapse(A * noise(0.02, 50, seed) / X).ratio for seed in range(10)]
    assert np.mean(ratios) == pytest.approx(2**0.5, rel=0.03)


def test_curves_of_other_powers_deviate_by_more_than_seeds() -> None:
    powers = np.array([0.5, 0.7, 0.9, 1.1])[:, None, None]
    assert curve_collapse(A * noise(0.02, 1) * X**-powers).ratio > 2


def test_the_irreducible_loss_is_taken_off() -> None:
    curves = A * noise(0.05, 1) / X
    assert curve_collapse(curves + 0.3, floor=0.3).ratio < 1e-6
    assert curve_collapse(curves + 0.3).ratio > 0.5


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        (np.ones((1, 3, 8)), "several sizes and seeds"),
        (np.ones((2, 1, 8)), "several sizes and seeds"),
        (np.ones((2, 2, 4)), "several sizes and seeds"),
        (np.zeros((2, 2, 8)), "at or below the irreducible"),
        (np.full((2, 2, 8), np.nan), "at or below the irreducible"),
    ],
)
def test_what_cannot_be_compared_is_refused(losses: np.ndarray, why: str) -> None:
    with pytest.raises(MeasurementError, match=why):
        curve_collapse(losses)
