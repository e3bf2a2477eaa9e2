"""Trace estimates against known traces; their intervals by simulation."""

import math

import pytest
import torch

from universality.errors import MeasurementError
from universality.measures.curvature.trace import hessian_trace


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rotated(spectrum, seed=0):
    d = len(spectrum)
    Q, _ = torch.linalg.qr(torch.randn(d, d, generator=seeded(seed), dtype=torch.float64))
    return Q * torch.as_tensor(spectrum, dtype=torch.float64) @ Q.T


OUTLIERS = rotated(torch.cat([torch.tensor([50.0, 40.0, 30.0, 20.0, 10.0]), torch.linspace(0, 1, 95)]))


@pytest.mark.parametrize("sketch", [0, 10])
def test_estimates_are_unbiased_and_intervals_cover(sketch):
    exact = OUTLIERS.trace().item()
    found = [
        hessian_trace(
            lambda v: OUTLIERS @ v,
            100,
            tolerance=1e-9,
            max_matvecs=2 * sketch + 30,
            sketch=sketch,
            generator=seeded(seed),
            dtype=torch.float64,
        )
        for seed in range(200)
    ]
    values = torch.tensor([f.value for f in found], dtype=torch.float64)
    # 200 runs: the mean within 4 of its standard errors, their spread the reported one within 20 %
    # (a standard deviation of 200 values has 5 %), coverage within .95 +- 4 * .0154.
    assert abs(values.mean().item() - exact) < 4 * values.std().item() / 200**0.5
    reported = math.sqrt(sum(f.standard_error**2 for f in found) / 200)
    assert reported == pytest.approx(values.std().item(), rel=0.2)
    covered = sum(f.interval[0] <= exact <= f.interval[1] for f in found) / 200
    assert 0.888 < covered < 1
    assert not any(f.converged for f in found)
    assert {f.matvecs for f in found} == {2 * sketch + 30}


def test_hutchinsons_variance_is_twice_the_squared_off_diagonal():
    n = 1500
    found = hessian_trace(
        lambda v: OUTLIERS @ v, 100, tolerance=1e-9, max_matvecs=n, dtype=torch.float64, generator=seeded(1)
    )
    off = OUTLIERS - torch.diag(OUTLIERS.diagonal())
    # A standard deviation of 1500 values of moderate kurtosis: about 3 %; 4 of them.
    assert found.standard_error * math.sqrt(n) == pytest.approx(math.sqrt(2) * off.norm().item(), rel=0.12)


def test_a_sketch_that_holds_the_outliers_needs_fewer_products_for_a_tight_tolerance():
    counts = {
        sketch: hessian_trace(
            lambda v: OUTLIERS @ v, 100, tolerance=0.01, max_matvecs=4000, sketch=sketch, dtype=torch.float64
        ).matvecs
        for sketch in (0, 15)
    }
    assert counts[15] < 0.2 * counts[0]


def test_sampling_stops_at_the_asked_accuracy_and_says_so():
    loose, tight = (
        hessian_trace(lambda v: OUTLIERS @ v, 100, tolerance=t, max_matvecs=4000, dtype=torch.float64)
        for t in (0.2, 0.05)
    )
    for found, tolerance in ((loose, 0.2), (tight, 0.05)):
        assert found.converged
        assert found.interval[1] - found.value <= tolerance * found.value
    assert loose.matvecs < tight.matvecs


def test_a_full_sketch_is_exact():
    A = rotated(torch.arange(6))
    found = hessian_trace(lambda v: A @ v, 6, sketch=6, dtype=torch.float64)
    assert found.value == pytest.approx(15)
    assert found.matvecs == 12 + 8


def test_a_trace_of_zero_never_counts_as_converged_and_stays_bounded():
    A = rotated(torch.tensor([-1.0, 1.0, -2.0, 2.0, 0.0]))
    found = hessian_trace(lambda v: A @ v, 5, max_matvecs=50, tolerance=0.01, dtype=torch.float64)
    assert found.matvecs == 50
    assert not found.converged


def test_the_global_generator_is_untouched():
    state = torch.get_rng_state()
    assert hessian_trace(lambda v: v, 9) == hessian_trace(lambda v: v, 9)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "size", [{"dim": 0}, {"tolerance": 0.0}, {"sketch": 4}, {"max_matvecs": 7}, {"sketch": -1}]
)
def test_impossible_sizes_are_refused(size):
    with pytest.raises(MeasurementError, match="impossible size"):
        hessian_trace(lambda v: v, **{"dim": 3, **size})


def test_a_product_that_is_not_finite_raises():
    with pytest.raises(MeasurementError, match=r"not finite(.|\n)*product 1"):
        hessian_trace(lambda v: v * math.nan, 3)


@pytest.mark.parametrize("sketch", [0, 3])
def test_a_product_that_works_in_place_does_no_harm(sketch):
    spectrum = torch.arange(5.0)
    found = hessian_trace(lambda v: v.mul_(spectrum), 5, sketch=sketch)
    assert found == hessian_trace(lambda v: v * spectrum, 5, sketch=sketch)
