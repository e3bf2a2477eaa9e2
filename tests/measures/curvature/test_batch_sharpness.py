"""Batch sharpness against the dense Hessians of the very batches, and its standard error by simulation."""

import math

import pytest
import torch
from torch import nn

from universality.errors import MeasurementError
from universality.measures.curvature.batch_sharpness import batch_losses, batch_sharpness
from universality.measures.curvature.hessian import HessianOperator


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(50, 5, dtype=torch.float64), torch.arange(50) % 3
    return net, x, y, lambda rows: nn.functional.cross_entropy(net(x[rows]), y[rows])


def dense_ratio(net, x, y, rows):
    """g^T H g and |g|^2 by torch's own dense Hessian."""
    names = [name for name, _ in net.named_parameters()]
    shapes = [p.shape for p in net.parameters()]

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        weights = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(net, weights, (x[rows],)), y[rows])

    point = nn.utils.parameters_to_vector(net.parameters()).detach()
    H, g = torch.autograd.functional.hessian(loss, point), torch.func.grad(loss)(point)
    return (g @ H @ g).item(), (g @ g).item()


def test_a_whole_pass_is_the_mean_of_the_batches_ratios(problem):
    net, x, y, loss = problem
    found = batch_sharpness(loss, 50, 8, list(net.parameters()), tolerance=1e-12, generator=seeded(3))
    order = torch.randperm(50, generator=seeded(3))
    pairs = [dense_ratio(net, x, y, order[b : b + 8]) for b in range(0, 48, 8)]  # 2 rows are left out
    assert found.value == pytest.approx(sum(a / b for a, b in pairs) / 6, rel=1e-9)
    assert found.ratio_of_means == pytest.approx(
        sum(a for a, _ in pairs) / sum(b for _, b in pairs), rel=1e-9
    )
    assert found.value != pytest.approx(found.ratio_of_means, rel=1e-3)
    assert (found.matvecs, found.standard_error, found.converged) == (6, 0.0, True)


def test_the_standard_error_is_the_spread_over_draws_without_replacement():
    # Fixed ratios, one row a batch: only the draw is random. sd of 200 means has 5 % error.
    x = torch.ones(1, requires_grad=True)
    scale = torch.rand(40, generator=seeded(0)) + 0.5
    found = [
        batch_sharpness(
            lambda i: (scale[i].mean() * x**2 / 2).sum(),
            40,
            1,
            [x],
            max_batches=30,
            tolerance=1e-9,
            generator=seeded(s),
        )
        for s in range(200)
    ]
    spread = torch.tensor([f.value for f in found]).std().item()
    reported = math.sqrt(sum(f.standard_error**2 for f in found) / 200)
    assert reported == pytest.approx(spread, rel=0.15)  # without the finite population it is 2 times that
    assert not any(f.converged for f in found)


def test_it_stops_once_the_standard_error_is_small_enough(problem):
    net, _, _, loss = problem
    found = batch_sharpness(loss, 50, 2, list(net.parameters()), tolerance=0.5)
    assert found.converged
    assert 10 <= found.matvecs == len(found.ratios) < 25
    assert 0 < found.standard_error <= 0.5 * abs(found.value)
    n = found.matvecs
    by_hand = found.ratios.std().item() / math.sqrt(n) * math.sqrt(1 - n / 25)
    assert found.standard_error == pytest.approx(by_hand)


def test_a_tiny_gradient_in_float32_keeps_its_ratio():
    x = torch.full((1,), 1e-25, requires_grad=True)
    found = batch_sharpness(lambda i: (3 * x**2 / 2).sum() + 0 * i.sum(), 4, 2, [x])
    assert found.value == pytest.approx(3.0)


def test_nothing_of_the_global_random_state_is_used(problem):
    net, _, _, loss = problem
    state = torch.get_rng_state()
    a, b = (batch_sharpness(loss, 50, 25, list(net.parameters())) for _ in range(2))
    assert a.value == b.value
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "asked", [{"rows": 7}, {"batch_rows": 0}, {"max_batches": 1}, {"max_batches": 9, "batch_rows": 1}]
)
def test_too_few_batches_are_refused(problem, asked):
    net, _, _, loss = problem
    with pytest.raises(MeasurementError, match="batches to average over"):
        batch_sharpness(loss, **{"rows": 50, "batch_rows": 5, "parameters": list(net.parameters()), **asked})


def test_a_batch_without_gradient_is_refused():
    x = torch.zeros(1, requires_grad=True)
    with pytest.raises(MeasurementError, match=r"gradient vanishes(.|\n)*batch 1"):
        batch_sharpness(lambda i: (x**2).sum() + 0 * i.sum(), 4, 2, [x])


@pytest.mark.parametrize("batch_rows", [1, 16, 50, 80])
def test_batches_weighted_by_size_give_the_hessian_of_all_rows(problem, batch_rows):
    net, x, y, loss = problem
    parameters = list(net.parameters())
    whole = HessianOperator(lambda: loss(torch.arange(50)), parameters)
    closures, weights = batch_losses(lambda a, b: nn.functional.cross_entropy(net(a), b), x, y, batch_rows)
    assert len(closures) == math.ceil(50 / batch_rows)
    assert sum(weights) == pytest.approx(1)
    split = HessianOperator(closures, parameters, weights)
    v = torch.randn(whole.dim, dtype=torch.float64, generator=seeded(0))
    torch.testing.assert_close(split(v), whole(v))
    assert split.loss == pytest.approx(whole.loss)


@pytest.mark.parametrize(("n", "targets", "batch"), [(0, 0, 4), (3, 2, 4), (3, 3, 0)])
def test_batches_without_rows_or_targets_are_refused(n, targets, batch):
    with pytest.raises(MeasurementError, match="one target each"):
        batch_losses(lambda a, b: a.sum(), torch.ones(n), torch.ones(targets), batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_that_overflows_is_refused(dtype):
    big = 1e30 if dtype == torch.float32 else 1e200
    x = torch.full((3,), big, dtype=dtype, requires_grad=True)
    if dtype == torch.float32:  # |g|^2 is beyond float32 only: the ratio is right
        found = batch_sharpness(lambda i: (3 * (x / big) * x / 2).sum() + 0 * i.sum(), 4, 2, [x])
        assert found.value == pytest.approx(3 / big)
    scale = torch.tensor(float("inf") if dtype == torch.float32 else 1.0, dtype=dtype)
    with pytest.raises(MeasurementError, match=r"without a finite ratio(.|\n)*batch 1"):
        batch_sharpness(lambda i: Kink.apply(x, scale).sum() + 0 * i.sum(), 4, 2, [x])


class Kink(torch.autograd.Function):
    """Zero, with gradient scale * x."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return torch.zeros_like(x)

    @staticmethod
    def backward(ctx, upstream):
        x, scale = ctx.saved_tensors
        return upstream * scale * x, None


def test_small_gradients_of_many_parameters_keep_their_ratio_in_float32():
    x = torch.full((1000,), 1e-22, requires_grad=True)
    found = batch_sharpness(lambda i: (3 * x * x / 2).sum() * 1.0 + 0 * i.sum(), 4, 2, [x])
    assert found.value == pytest.approx(3.0, rel=1e-5)
