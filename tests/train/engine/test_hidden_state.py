"""Networks that keep state beside parameters and buffers, or draw from other generators, train as their seed says:
whatever is observed, whoever trains beside them, by every engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.registry import component
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained
from universality.train.messages import Engine

CPU = torch.device("cpu")
STEPS = 30
TOTAL = 0


class Net(nn.Module):
    """Two layers, and between them what the test is about."""

    calls = 0

    def __init__(self, between: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 8), nn.Linear(8, 3), between
        self.step, self.seen = 0, [0.0]
        self.own = torch.Generator().manual_seed(3)
        self.numpy = np.random.default_rng(3)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("late", None)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.between(self, torch.tanh(self.first(x))))
        return logits


def rebound(net: Net, h: Tensor) -> Tensor:
    if net.training:
        net.mean = 0.9 * net.mean + 0.1 * h.detach().mean(0)
    return h - net.mean


def late(net: Net, h: Tensor) -> Tensor:
    net.late = h.detach().mean(0) if net.late is None else 0.9 * net.late + 0.1 * h.detach().mean(0)
    return h - net.late


def shrunk(net: Net, h: Tensor) -> Tensor:
    net.first.weight.data.mul_(0.99)
    return h


def counted(net: Net, h: Tensor) -> Tensor:
    net.step += 1
    return h * (1 + 2.0 ** -(net.step / 10))


def listed(net: Net, h: Tensor) -> Tensor:
    net.seen.append(net.seen[-1] + 0.1)
    return h * (1 + net.seen[-1])


def of_class(net: Net, h: Tensor) -> Tensor:
    Net.calls += 1
    return h * (1 + 2.0 ** -(Net.calls / 10))


def of_file(net: Net, h: Tensor) -> Tensor:
    global TOTAL
    TOTAL += 1
    return h * (1 + 2.0 ** -(TOTAL / 10))


def python_random(net: Net, h: Tensor) -> Tensor:
    return h if random.random() < 0.3 else h.relu()


def numpy_random(net: Net, h: Tensor) -> Tensor:
    return h * np.random.rand()


def own_torch(net: Net, h: Tensor) -> Tensor:
    return h * torch.rand(1, generator=net.own)


def own_numpy(net: Net, h: Tensor) -> Tensor:
    return h * float(net.numpy.random())


@dataclass(frozen=True, kw_only=True)
class Between(Architecture):
    kind: str = "counted"

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return Net(globals()[self.kind])

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {"first": net.get_submodule("first")}

    def readout(self, net: nn.Module) -> nn.Linear:
        last = net.get_submodule("last")
        assert isinstance(last, nn.Linear)
        return last


@pytest.fixture(autouse=True)
def _registered(clean_registry: Any) -> None:
    registry.register("between", accepts={"vector"})(Between)


def member(
    kind: str, seed: int, observe: Mapping[str, Sequence[int]] | None = None, recipe: Recipe | None = None
) -> Member:
    plugin = Between(kind=kind)
    generator = torch.Generator().manual_seed(seed)
    part = Split(torch.randn(48, 4, generator=generator), torch.arange(48) % 3)
    recipe = recipe or Recipe(steps=STEPS, lr=0.05, batch_size=16)
    spec = RunSpec(component(plugin), Component("made_up"), recipe, seed)
    return Member(spec, plugin, Splits(part, part, part, InputSpec("vector", (4,)), 3), observe or {})


def alone(kind: str, seed: int) -> Trained:
    return train_stack([member(kind, seed)], CPU)[0]


def ends(run: Trained) -> list[Tensor]:
    return [*run.net.parameters(), *run.net.buffers()]


def assert_alike(run: Trained, other: Trained) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ends(run), ends(other), strict=True))
    assert run.series["train_loss"].values.tolist() == other.series["train_loss"].values.tolist()
    assert getattr(run.net, "step") == getattr(other.net, "step")  # noqa: B009


KINDS = ("rebound", "late", "counted", "listed", "of_class", "of_file", "python_random", "numpy_random",
         "shrunk", "own_torch", "own_numpy")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_run_is_one_result_whatever_is_observed(kind: str) -> None:
    first = alone(kind, 0)
    random.seed(99)
    np.random.seed(99)
    assert_alike(alone(kind, 0), first)
    probes = {"sharpness": (0, 7, STEPS), "accuracy": tuple(range(STEPS)), "taps": (5,)}
    (observed,) = train_stack([member(kind, 0, probes)], CPU)
    assert_alike(observed, first)
    assert observed.facts.get("generators") == first.facts.get("generators")


def test_a_counter_counts_updates() -> None:
    probes = {"sharpness": tuple(range(0, STEPS + 1, 5))}
    for observe in ({}, probes):
        (run,) = train_stack([member("counted", 0, observe)], CPU)
        assert run.net.step == STEPS
        rate = Recipe(steps=STEPS, lr_over_stability=2.0, loss="mse")
        (derived,) = train_stack([member("counted", 0, observe, rate)], CPU)
        assert derived.net.step == STEPS


@pytest.mark.parametrize("engine", ["loop", "fused"])
@pytest.mark.parametrize("kind", KINDS)
def test_side_by_side_as_alone(kind: str, engine: Engine) -> None:
    observed = member(kind, 0, {"accuracy": (0, 3, 8), "sharpness": (4,)})
    runs = train_stack([observed, member(kind, 1)], CPU, engine)
    for seed, run in enumerate(runs):
        if run.facts["engine"]["mode"] == "fused":
            for a, b in zip(ends(run), ends(alone(kind, seed)), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        else:
            assert_alike(run, alone(kind, seed))


@pytest.mark.parametrize(
    ("kind", "loop", "fused"),
    [
        ("rebound", "", ""),
        ("late", "", "forward changes what torch does not list: late"),
        ("counted", "", "forward changes what torch does not list: step"),
        ("listed", "", "forward changes what torch does not list: seen"),
        ("own_numpy", "", "forward changes what torch does not list: numpy.state"),
        ("of_class", "forward changes what the networks share: Net.calls", "forward changes"),
        ("of_file", "forward changes what the networks share: TOTAL", "forward changes"),
        ("python_random", "the networks draw random numbers, from random", "the networks draw"),
        ("numpy_random", "the networks draw random numbers, from numpy.random", "the networks draw"),
    ],
)
def test_why_networks_are_not_trained_at_once_or_side_by_side_is_recorded(
    kind: str, loop: str, fused: str
) -> None:
    for engine, reason in (("loop", loop), ("fused", fused)):
        for run in train_stack([member(kind, seed) for seed in (0, 1)], CPU, engine):
            assert run.facts["engine"]["fallback"].startswith(reason)
            assert bool(run.facts["engine"]["fallback"]) == bool(reason)


def test_a_buffer_that_forward_rebinds_is_kept_when_members_are_fused() -> None:
    runs = train_stack([member("rebound", seed) for seed in (0, 1)], CPU, "fused")
    for seed, run in enumerate(runs):
        assert run.facts["engine"]["mode"] == "fused"
        mean, expected = run.net.get_buffer("mean"), alone("rebound", seed).net.get_buffer("mean")
        assert float(expected.norm()) > 0.05
        torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-4)


def test_seeds_differ_in_what_they_draw_and_the_run_says_from_where() -> None:
    runs = [alone("numpy_random", seed) for seed in (0, 1)]
    assert [run.facts["generators"] for run in runs] == [["numpy.random"]] * 2
    assert "draws from numpy.random, seeded by the run\n" in runs[0].log
    assert "generators" not in alone("counted", 0).facts


def test_training_leaves_the_generators_of_the_process_and_shared_state_as_they_were() -> None:
    states = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
    before = Net.calls, TOTAL
    for kind in ("python_random", "numpy_random", "of_class", "of_file"):
        alone(kind, 0)
    assert (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()) == states
    assert (Net.calls, TOTAL) == before


def test_initial_weights_drawn_by_numpy_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Between, inputs: InputSpec, outputs: int) -> nn.Module:
        net = Net(counted)
        nn.init.constant_(net.first.bias, float(np.random.rand() + random.random()))
        return net

    monkeypatch.setattr(Between, "build", build)
    assert_alike(alone("counted", 0), alone("counted", 0))


def test_an_iterator_that_cannot_be_put_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Between, inputs: InputSpec, outputs: int) -> nn.Module:
        net = Net(counted)
        net.turn = (number for number in range(3))  # type: ignore[assignment]
        return net

    monkeypatch.setattr(Between, "build", build)
    with pytest.raises(MeasurementError) as caught:
        alone("counted", 0)
    assert caught.value.where == "between on made_up, seed 0: turn"
