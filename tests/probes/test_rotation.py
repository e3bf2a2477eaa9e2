"""Size and rotation of weights, against updates whose angle is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from universality.errors import MeasurementError
from universality.plugin import InputSpec, Recipe, Split, Splits, Training, registry
from universality.probes.rotation import Rotation, directions, turned

registry.load_plugins()


def training(net: nn.Module, optimizer: torch.optim.Optimizer) -> Training:
    data = Split(torch.eye(2), torch.tensor([0, 1]))
    splits = Splits(data, data, data, InputSpec("vector", (2,)), 2)
    return Training(
        net,
        registry.resolve("architecture", "mlp"),
        splits,
        Recipe(steps=10, lr=0.1),
        optimizer,
        torch.device("cpu"),
        0,
        torch.Generator().manual_seed(0),
    )


def linear(*rows: list[float]) -> nn.Linear:
    net = nn.Linear(2, len(rows), bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(rows))
    return net


def test_angles_are_those_of_rows_however_small() -> None:
    turns = torch.tensor([1e-6, 1.0, math.pi])
    u = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    v = torch.stack([turns.double().cos(), turns.double().sin()], 1)
    for i, expected in enumerate(turns.double().tolist()):
        assert turned(u[i : i + 1], v[i : i + 1]) == pytest.approx(expected**2, rel=1e-6)
    assert turned(u, v) == pytest.approx((turns.double() ** 2).mean().item())
    assert directions(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0.0, 0.0], [0.6, 0.8]]


def test_decay_alone_turns_nothing_and_a_sign_step_by_its_size() -> None:
    net = linear([3.0, 0.0], [0.0, 4.0])
    still = Rotation().record(training(net, torch.optim.SGD(net.parameters(), lr=1e-30, weight_decay=1e29)))
    assert still["angle"] == pytest.approx(0, abs=1e-6)
    assert still["size"] == pytest.approx(math.sqrt(25 / 4))
    # Adam's first update is lr times the sign of the gradient: -1 on the diagonal, +1 beside it.
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    first = Rotation(updates=1).record(training(net, adam))
    angles = [math.atan(1e-3 / 3.001), math.atan(1e-3 / 4.001)]
    assert first["angle"] == pytest.approx(math.sqrt(sum(a * a for a in angles) / 2), rel=1e-3)
    assert first["spread"] == 1
    assert torch.equal(net.weight, torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert not adam.state


def test_weights_that_start_at_zero_are_left_out_and_none_is_an_error() -> None:
    net = nn.Sequential(linear([0.0, 0.0], [0.0, 0.0]), linear([3.0, 4.0], [4.0, 3.0]))
    probe = Rotation()
    for _ in range(2):
        found = probe.record(training(net, torch.optim.SGD(net.parameters(), lr=0.1)))
        assert found["size"] == pytest.approx(math.sqrt(12.5))
        nn.init.ones_(net[0].weight)
    net = linear([0.0, 0.0])
    with pytest.raises(MeasurementError, match="without a direction"):
        Rotation().record(training(net, torch.optim.SGD(net.parameters(), lr=0.1)))
