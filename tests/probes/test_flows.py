"""Flows beside a descent whose course is known: a linear network keeps its curvature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from universality.errors import MeasurementError
from universality.plugin import InputSpec, Recipe, Split, Splits, Training, registry
from universality.plugin.kit.updates import flat_weights
from universality.probes.flows import Flows

registry.load_plugins()
LR = 0.3


def training(net: nn.Module, optimizer: torch.optim.Optimizer, step: int = 0, name: str = "sgd") -> Training:
    data = Split(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0], [1.0]]))
    splits = Splits(data, data, data, InputSpec("vector", (2,)), 1)
    recipe = Recipe(steps=10, lr=LR, optimizer=name, loss="mse")  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    return Training(
        net,
        registry.resolve("architecture", "mlp"),
        splits,
        recipe,
        optimizer,
        torch.device("cpu"),
        step,
        generator,
    )


def still() -> nn.Linear:
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    return net


def test_the_flow_of_a_quadratic_is_exponential_and_starts_at_the_mean_of_the_first_record() -> None:
    net = still()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    probe = Flows(substeps=200)
    before = flat_weights(net)
    first = probe.record(training(net, optimizer))
    assert torch.equal(flat_weights(net), before)
    # Curvatures 1/2 and 2, minimum (1, 1/2); two updates of gradient descent are averaged.
    curvature, least = torch.tensor([0.5, 2.0]), torch.tensor([1.0, 0.5])
    factors = 1 - LR * curvature
    error = (1 + 2 * factors + factors**2) / 4
    assert (first["central_distance"], first["gradient_distance"]) == pytest.approx((0, 0), abs=1e-7)
    assert first["threshold"] == pytest.approx(2 / LR)
    assert (first["central_sharpness"], first["second"]) == pytest.approx((2.0, 0.5))
    with torch.no_grad():
        net.weight.copy_(least)
    later = probe.record(training(net, optimizer, step=4))
    left = least * error * torch.exp(-4 * LR * curvature)
    for flow in ("central", "gradient"):
        assert later[f"{flow}_distance"] == pytest.approx(float(left.norm()), rel=1e-2)
        assert later[f"{flow}_loss"] == pytest.approx(float((curvature * left**2).sum() / 2), rel=2e-2)


def test_an_oscillation_of_period_two_is_averaged_away() -> None:
    net = still()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)  # 2/lr = 2: the second weight bounces for ever
    found = Flows().record(training(net, optimizer))
    assert found["gradient_loss"] == pytest.approx(0.25 * (0.5**2 + 2 * 0.5 + 1) ** 2 / 16)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_other_optimizers_follow_other_flows(name: str) -> None:
    net = still()
    with pytest.raises(MeasurementError, match="the flows are those of gradient descent"):
        Flows().record(training(net, torch.optim.SGD(net.parameters(), lr=LR), name=name))
