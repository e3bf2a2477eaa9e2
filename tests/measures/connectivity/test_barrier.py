"""The barrier between networks: closed forms, and the slow way with a network built for every point."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import error_barrier

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 2


def network(seed: int, hidden: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Tanh(), nn.Linear(hidden, 2)).eval()


def error_of(net: Callable[..., Tensor]) -> float:
    return (net(X).argmax(1) != Y).double().mean().item()


def test_every_point_is_the_network_of_the_mixed_weights() -> None:
    a, b = network(1), network(2)
    a[1].running_mean.fill_(0.3)  # type: ignore[index]
    found = error_barrier(a, b, error_of, points=5)
    slow = []
    for t in (0, 0.25, 0.5, 0.75, 1):
        net = copy.deepcopy(a)
        for p, q in zip([*net.parameters(), *net.buffers()], [*b.parameters(), *b.buffers()], strict=True):
            if p.is_floating_point():
                p.data = (1 - t) * p.data + t * q.data
        slow.append(error_of(net))
    assert found.errors == pytest.approx(slow)
    assert found.height == max(slow) - (slow[0] + slow[-1]) / 2


def test_a_linear_model_under_a_convex_loss_has_no_barrier_and_mirrored_units_have_one() -> None:
    def loss(net: Callable[..., Tensor]) -> float:
        return nn.functional.cross_entropy(net(X), Y).item()

    torch.manual_seed(0)
    linear = error_barrier(nn.Linear(3, 2), nn.Linear(3, 2), loss)
    assert linear.height <= abs(linear.errors[0] - linear.errors[-1]) / 2
    # Two hidden units in the other order: one function, and half-way every unit is the mean of both.
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    swapped = copy.deepcopy(net)
    for each, order in ((net, [0, 1]), (swapped, [1, 0])):
        each[0].weight.data = torch.tensor([[1.0], [-1.0]])[order]
        each[2].weight.data = torch.tensor([[1.0, -1.0]])[:, order]  # f(x) = x
    x = torch.tensor([[-1.0], [1.0]])
    found = error_barrier(net, swapped, lambda f: (f(x) - x).square().mean().item())
    assert found.errors[0] == found.errors[-1] == 0
    assert found.height == pytest.approx(1)  # f = 0 half-way
    assert found.distance == pytest.approx(2)  # |u - v|^2 = 8, |u| = |v| = 2 -> 8^.5/2


def test_equal_networks_have_neither_barrier_nor_distance_and_stay_what_they_were() -> None:
    a = network(3)
    before = copy.deepcopy(a.state_dict())
    found = error_barrier(a, network(3), error_of)
    assert (found.height, found.distance, len(found.errors)) == (0, 0, 11)
    assert all(torch.equal(v, before[k]) for k, v in a.state_dict().items())


def test_what_no_line_joins_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no line joins"):
        error_barrier(network(1), network(1, hidden=6), error_of)
    with pytest.raises(MeasurementError, match="no line joins"):
        error_barrier(network(1), network(2), error_of, points=2)
    with pytest.raises(MeasurementError, match="is no number"):
        error_barrier(network(1), network(2), lambda net: float("nan"))
