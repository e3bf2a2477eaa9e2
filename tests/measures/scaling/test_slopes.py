"""Slopes in log-log by hand and by simulated coverage."""

import math

import numpy as np
import pytest
import torch

from tests.measures.simulated import N, assert_covers, sweep
from universality.measures.scaling.slopes import log_slope


@pytest.mark.parametrize(("seeds", "shared"), [(1, 0.0), (3, 0.0), (5, 0.6)])
def test_the_interval_of_a_slope_covers_and_so_does_that_of_its_bend(seeds, shared):
    rng = np.random.default_rng(9)
    fits = [log_slope(N, sweep(lambda n: 3 / n, seeds, 0.1, rng, shared=shared)) for _ in range(300)]
    assert_covers([fit.low <= -1 <= fit.high for fit in fits])
    assert_covers([fit.bend_low <= 0 <= fit.bend_high for fit in fits])


def test_slopes_of_seeds_that_differ_are_the_error_not_their_residuals():
    slopes = torch.tensor([-0.8, -1.0, -1.3], dtype=torch.float64)
    fit = log_slope(N, N[:, None] ** slopes)
    half = 4.302652729911275 * slopes.std().item() / math.sqrt(3)  # t_{2, .975}
    mean = slopes.mean().item()
    assert (fit.slope, fit.low, fit.high) == pytest.approx((mean, mean - half, mean + half))
    assert fit.bend == pytest.approx(0, abs=1e-9)


def test_the_bend_is_the_change_of_slope_from_end_to_end():
    x = torch.linspace(0, math.log(100), 6, dtype=torch.float64)
    y = torch.exp(-x + 0.1 * x**2)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    fit = log_slope(x.exp(), y)
    assert fit.bend == pytest.approx(0.2 * math.log(100))
    assert not fit.supported
    assert "the slope changes by 0.92" in fit.reason
    assert "0.95 decades of x" in log_slope(torch.tensor([1.0, 3.0, 9.0]), torch.ones(3, 2)).reason
