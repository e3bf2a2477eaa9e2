"""The gradient noise scale against gradients of every row, one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import gradient_noise_scale

X, Y = torch.randn(48, 5, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 3


def slow(net: nn.Module) -> tuple[float, float]:
    """tr Sigma and |G|^2 by a gradient of each row."""
    rows = []
    for x, y in zip(X, Y, strict=True):
        grads = torch.autograd.grad(
            nn.functional.cross_entropy(net(x[None]), y[None]), list(net.parameters())
        )
        rows.append(torch.cat([g.flatten() for g in grads]).double())
    G = torch.stack(rows)
    return float(G.var(0).sum()), float(G.mean(0).square().sum())


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def test_in_batches_of_one_row_it_is_the_definition() -> None:
    net = network()
    variance, square = slow(net)
    found = gradient_noise_scale(
        lambda i: nn.functional.cross_entropy(net(X[i]), Y[i]), 48, 1, list(net.parameters())
    )
    assert found.variance == pytest.approx(variance, rel=1e-5)
    assert found.square == pytest.approx(square, rel=1e-5)
    assert found.value == pytest.approx(variance / square, rel=1e-5)


def test_the_mean_over_partitions_into_larger_batches_is_the_same() -> None:
    net = network()
    variance, _ = slow(net)

    def loss(rows: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(X[rows]), Y[rows])

    drawn = [
        gradient_noise_scale(loss, 48, 8, list(net.parameters()), generator=torch.Generator().manual_seed(s))
        for s in range(60)
    ]
    values = torch.tensor([each.variance for each in drawn])
    assert abs(values.mean() / variance - 1) < 4 * values.std() / len(values) ** 0.5 / variance
    assert [each.square for each in drawn] == pytest.approx([drawn[0].square] * 60, rel=1e-5)  # of all rows


@pytest.mark.parametrize(("rows", "batch"), [(48, 32), (48, 0), (1, 1)])
def test_one_batch_has_no_variance(rows: int, batch: int) -> None:
    net = network()
    with pytest.raises(MeasurementError, match="2 whole batches"):
        gradient_noise_scale(lambda i: net(X[i]).sum(), rows, batch, list(net.parameters()))


def test_a_gradient_of_zero_and_numbers_that_are_not_finite_are_refused() -> None:
    x = torch.ones(1, requires_grad=True)
    with pytest.raises(MeasurementError, match="mean gradient vanishes"):
        gradient_noise_scale(lambda i: (0 * x).sum(), 4, 1, [x])
    with pytest.raises(MeasurementError, match="not finite"):
        gradient_noise_scale(lambda i: (float("inf") * x).sum(), 4, 1, [x])
