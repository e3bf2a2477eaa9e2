"""Stochastic Lanczos quadrature against exact moments and the dense spectrum of a network's Hessian."""

import math
from inspect import unwrap

import pytest
import torch
from torch import nn

from universality.errors import MeasurementError
from universality.measures.curvature.hessian import HessianOperator
from universality.measures.curvature.spectral_density import SpectralDensity, spectral_density


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rotated(spectrum, seed=0):
    d = len(spectrum)
    Q, _ = torch.linalg.qr(torch.randn(d, d, generator=seeded(seed), dtype=torch.float64))
    return Q * torch.as_tensor(spectrum, dtype=torch.float64) @ Q.T


@pytest.fixture(scope="module")
def hessian():
    """The operator of a small tanh network in float64, and its dense spectrum."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x, y = torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 3
    operator = HessianOperator(lambda: nn.functional.cross_entropy(net(x), y), list(net.parameters()))
    dense = torch.stack([operator(e) for e in torch.eye(operator.dim, dtype=torch.float64)])
    return operator, torch.linalg.eigvalsh(dense)


def test_each_probes_moments_are_exact_up_to_twice_the_order_less_one_and_wrong_beyond():
    # d=30, order 4: a Gauss rule of 4 nodes integrates polynomials up to degree 7 exactly.
    A, order, d = rotated(torch.linspace(-1, 1.5, 30)), 4, 30
    found = spectral_density(lambda v: A @ v, d, probes=3, order=order, dtype=torch.float64)
    generator = seeded(0)  # the default generator, replayed
    for p in range(3):
        v = torch.randn(d, generator=generator, dtype=torch.float64)
        v /= v.norm()
        for power in range(2 * order + 1):
            exact = (v @ torch.linalg.matrix_power(A, power) @ v).item()
            quadrature = (found.weights[p] * found.nodes[p] ** power).sum().item()
            if power < 2 * order:
                assert quadrature == pytest.approx(exact, rel=1e-10, abs=1e-12), power
            else:
                assert abs(quadrature - exact) > 1e-4
    assert found.matvecs == 3 * order


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_moments_of_a_networks_hessian_lie_within_their_standard_error(hessian, power):
    operator, spectrum = hessian
    found = spectral_density(operator, operator.dim, probes=100, order=10, dtype=torch.float64)
    mean, error = found.moment(power)
    exact = spectrum.pow(power).mean().item()
    assert abs(mean - exact) <= 4 * error + 1e-12  # 100 probes: 4 standard errors are 1 in 10,000
    assert error < 0.2 * abs(exact) + 1e-12


def test_standard_errors_are_the_spread_of_repeated_estimates():
    A = rotated(torch.cat([torch.zeros(30), torch.tensor([5.0, 10.0])]))
    runs = [
        spectral_density(lambda v: A @ v, 32, probes=20, order=4, dtype=torch.float64, generator=seeded(s))
        for s in range(150)
    ]
    means = torch.tensor([run.moment(1)[0] for run in runs])
    errors = torch.tensor([run.moment(1)[1] for run in runs])
    # The standard deviation of 150 normal values has a relative standard error of 6 %.
    assert means.std().item() == pytest.approx(errors.pow(2).mean().sqrt().item(), rel=0.24)


def test_at_full_order_the_cumulative_counts_eigenvalues_and_nodes_are_eigenvalues(hessian):
    operator, spectrum = hessian
    found = spectral_density(operator, operator.dim, probes=30, order=operator.dim, dtype=torch.float64)
    outlier = (spectrum[-1] + spectrum[-2]) / 2
    grid = torch.tensor([spectrum[0] - 1, 0.0, outlier, spectrum[-1] + 1], dtype=torch.float64)
    mean, error = found.cumulative(grid)
    exact = torch.stack([(spectrum <= g).double().mean() for g in grid])
    assert bool(((mean - exact).abs() <= 4 * error + 1e-9).all())
    assert mean[0] == 0
    assert mean[-1].item() == pytest.approx(1)
    # Lanczos finds the ends first: the largest node of every probe is the largest eigenvalue.
    torch.testing.assert_close(found.nodes.max(1).values, spectrum[-1].expand(30), rtol=1e-9, atol=0)


def test_the_density_integrates_to_one_and_is_the_smoothed_spectrum(hessian):
    operator, spectrum = hessian
    width = 0.05
    found = spectral_density(operator, operator.dim, probes=100, order=40, dtype=torch.float64)
    grid = torch.linspace(spectrum[0].item() - 0.5, spectrum[-1].item() + 0.5, 800, dtype=torch.float64)
    mean, error = found.density(grid, width)
    assert torch.trapezoid(mean, grid).item() == pytest.approx(1, abs=1e-6)
    kernel = torch.exp(-((grid[:, None] - spectrum) ** 2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))
    exact = kernel.mean(1)
    # Pointwise 2 standard errors hold for 95 % of the grid; neighbours are correlated, so allow 85 %.
    seen = exact > 1e-3
    assert ((mean - exact).abs() <= 2 * error + 1e-6)[seen].double().mean() > 0.85


def test_known_quadrature_has_the_stated_kernel_height():
    one = SpectralDensity(torch.zeros(2, 1), torch.ones(2, 1), 1, 2)
    mean, error = one.density(torch.zeros(1), 0.5)
    assert mean.item() == pytest.approx(1 / (0.5 * math.sqrt(2 * math.pi)))
    assert error.item() == 0


@pytest.mark.parametrize("name", ["identity", "rank one", "zero", "order above the dimension"])
def test_krylov_spaces_that_end_early_keep_unit_mass_and_the_trace(name):
    d = 12
    spectrum = {
        "identity": torch.ones(d),
        "rank one": torch.eye(d)[0] * 7,
        "zero": torch.zeros(d),
        "order above the dimension": torch.arange(d).float(),
    }[name]
    for dtype in (torch.float32, torch.float64):
        A = rotated(spectrum).to(dtype)
        found = spectral_density(lambda v, A=A: A @ v, d, probes=60, order=50, dtype=dtype)
        torch.testing.assert_close(found.weights.sum(1), torch.ones(60).double(), rtol=1e-5, atol=1e-5)
        mean, error = found.moment(1)
        assert abs(mean - spectrum.mean().item()) <= 4 * error + 1e-5
    assert found.matvecs <= 60 * d


def test_equal_calls_are_equal_and_the_global_generator_is_untouched():
    state = torch.get_rng_state()
    a, b = (spectral_density(lambda v: 2 * v, 5, probes=2, order=3) for _ in range(2))
    assert torch.equal(a.nodes, b.nodes)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [{"probes": 1}, {"order": 0}, {"dim": 0}])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(MeasurementError, match="impossible size"):
        spectral_density(lambda v: v, **{"dim": 3, **size})


def test_products_widths_and_powers_without_meaning_are_refused():
    with pytest.raises(MeasurementError, match=r"not finite(.|\n)*step 1"):
        spectral_density(lambda v: v * math.nan, 3)
    found = spectral_density(lambda v: v, 3)
    with pytest.raises(MeasurementError, match="positive width"):
        found.density(torch.zeros(1), 0.0)
    with pytest.raises(MeasurementError, match="power"):
        found.moment(-1)


@pytest.mark.parametrize("scale", [1e-24, 1e30])
def test_float32_nodes_follow_scales_whose_squares_leave_its_range(scale):
    spectrum = torch.linspace(0, 30, 300) ** 2 / 30
    plain = spectral_density(lambda v: spectrum * v, 300, probes=2, order=20)
    found = spectral_density(lambda v: spectrum * scale * v, 300, probes=2, order=20)
    torch.testing.assert_close(found.nodes / scale, plain.nodes, rtol=1e-3, atol=1e-3)


def test_a_moment_of_no_integer_power_is_refused():
    found = spectral_density(lambda v: v, 3)
    with pytest.raises(MeasurementError, match=r"integer power(.|\n)*0\.5"):
        unwrap(SpectralDensity.moment)(found, 0.5)


def test_a_product_that_works_in_place_does_no_harm():
    spectrum = torch.linspace(0, 1, 30)
    a = spectral_density(lambda v: v.mul_(spectrum), 30, probes=2, order=5)
    assert torch.equal(a.nodes, spectral_density(lambda v: v * spectrum, 30, probes=2, order=5).nodes)


def test_an_operator_that_is_not_symmetric_is_refused_and_rounding_is_no_asymmetry():
    A = torch.randn(60, 60, generator=torch.Generator().manual_seed(0))
    with pytest.raises(MeasurementError, match=r"not symmetric(.|\n)*check_hvp"):
        spectral_density(lambda v: A @ v, 60)
    # Of rank 5 and condition 1e8: what is left beside the basis is rounding only.
    V = torch.linalg.qr(A[:, :5]).Q
    low = V @ torch.diag(torch.tensor([1e4, 1.0, 1e-1, 1e-3, 1e-4])) @ V.T
    for dtype in (torch.float32, torch.bfloat16):
        spectral_density(lambda v, dtype=dtype: (low @ v.float()).to(dtype), 60, dtype=dtype)


def test_grids_and_moments_without_a_number_are_refused():
    found = spectral_density(lambda v: 1e30 * v, 40)
    nowhere = torch.tensor([0.0, float("nan")])
    with pytest.raises(MeasurementError, match="grid that is not finite"):
        found.density(nowhere, 1.0)
    with pytest.raises(MeasurementError, match="grid that is not finite"):
        found.cumulative(nowhere)
    with pytest.raises(MeasurementError, match="float64 cannot hold"):
        found.moment(20)
