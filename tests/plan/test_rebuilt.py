"""One id is one run only where a network that is built again is the same one: what it draws follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.plan.planner import Planner
from universality.plan.rebuilt import check_rebuilt
from universality.plan.suite import CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.randomness import seeded
from universality.plugin.registry import component
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train

INPUTS = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two layers, of which the last starts at zero, so that no output tells what lies before it."""

    def __init__(self, draw: Callable[[], float] = lambda: 1.0) -> None:
        super().__init__()
        self.first, self.last, self.draw = nn.Linear(4, 8), nn.Linear(8, 3), draw
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(x)) * (1 + self.draw()))
        return logits


class Late(Net):
    """Makes its generator at the first call."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.late = np.random.default_rng()
        logits: Tensor = super().forward(x * (1 + self.late.random()))
        return logits


def with_weights_of_numpy() -> nn.Module:
    net = Net()
    net.first.weight.data = torch.from_numpy(np.random.default_rng().normal(size=(8, 4)).astype("f4"))
    return net


def with_a_buffer() -> nn.Module:
    net = Net()
    net.register_buffer("scale", torch.rand(3, generator=torch.Generator()) * random.SystemRandom().random())
    return net


def with_a_torch_generator() -> nn.Module:
    own = torch.Generator()
    own.seed()
    return Net(lambda: float(torch.rand(1, generator=own)))


def with_a_number() -> nn.Module:
    number = random.Random().random()
    return Net(lambda: number)


UNSEEDED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "weights": (with_weights_of_numpy, "first.weight"),
    "buffer": (with_a_buffer, "scale"),
    "numpy": (lambda: Net(np.random.default_rng().random), "last.weight"),
    "python": (lambda: Net(random.Random().random), "last.weight"),
    "torch": (with_a_torch_generator, "last.weight"),
    "number": (with_a_number, "last.weight"),
    "late": (Late, "last.weight"),
}
SEEDED: dict[str, Callable[[], nn.Module]] = {
    "torch's generator": lambda: nn.Sequential(Net(), nn.Dropout()),
    "numpy.random": lambda: Net(np.random.rand),
    "random": lambda: Net(random.random),
    "seeded by it": lambda: Net(np.random.default_rng(np.random.randint(2**31)).random),  # noqa: NPY002
    "a constant": lambda: Net(random.Random(3).random),
    "statistics": lambda: nn.Sequential(nn.BatchNorm1d(4), Net()),
    "nothing to train": lambda: Net().requires_grad_(False),
}


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with seeded(0):
        return make().train()


@pytest.mark.parametrize(("make", "where"), UNSEEDED.values(), ids=UNSEEDED)
def test_what_no_seed_of_the_run_decides_is_refused_with_what_differs(
    make: Callable[[], nn.Module], where: str
) -> None:
    with pytest.raises(MeasurementError, match="is another when it is built again") as caught:
        check_rebuilt(built(make), built(make), INPUTS, where="net")
    assert caught.value.where == f"net: {where}"


@pytest.mark.parametrize("make", SEEDED.values(), ids=SEEDED)
def test_what_the_seed_decides_passes_and_is_left_alone(make: Callable[[], nn.Module]) -> None:
    net, again = built(make), built(make)
    before = torch.get_rng_state()
    check_rebuilt(net, again, INPUTS, where="net")
    assert torch.equal(torch.get_rng_state(), before)
    expected = built(make).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


@dataclass(frozen=True, kw_only=True)
class Own(Architecture):
    kind: str = "number"

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return UNSEEDED[self.kind][0]()

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {"first": net.get_submodule("first")}

    def readout(self, net: nn.Module) -> nn.Linear:
        last = net.get_submodule("last")
        assert isinstance(last, nn.Linear)
        return last


@pytest.mark.usefixtures("clean_registry")
def test_planning_finds_it_and_so_does_a_run_without_a_plan(tmp_path: Path) -> None:
    registry.register("own", accepts={"vector"})(Own)
    cross = CrossSpec(
        phenomena=("neural_collapse",),
        architectures=("own[kind=numpy]",),
        tasks=("gaussian_mixture[dim=4,classes=3]",),
        seeds=3,
    )
    with pytest.raises(MeasurementError, match="built again"):
        Planner(tmp_path).add_suite(Suite(name="x", crosses=(cross,), controls=False))
    part = Split(INPUTS, torch.arange(20) % 3)
    splits, plugin = Splits(part, part, part, InputSpec("vector", (4,)), 3), Own()
    for steps in (0, 9):
        recipe = Recipe(steps=steps, lr=0.1 if steps else 0.0)
        spec = RunSpec(component(plugin), Component("made_up"), recipe, 0)
        with pytest.raises(MeasurementError, match="built again"):
            train(spec, plugin, splits, {}, torch.device("cpu"))
