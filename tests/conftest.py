"""What tests share: one thread, every built-in plugin, and toy plugins that train in microseconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from universality.plugin import registry
from universality.train.device import configure

configure(threads=1)
torch.set_flush_denormal(False)
registry.load_plugins()

# How long an example takes says nothing on a machine that other work shares.
hypothesis.settings.register_profile(
    "shared machine",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    """Undo what a command that ran in this process configured.

    Hypothesis draws subnormal floats, and refuses to draw any where they are flushed to zero.
    """
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)


TOYS = '''
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from universality.plugin import (
    Architecture, At, BadParameter, Control, DataUnavailable, Every, Group, InputSpec, Observe, Outcome,
    Phenomenon, Probe, Recipe, Request, Split, Splits, Task, Within, register,
)


@register("toy_net", family="toy", accepts={"vector"}, refuses={"image": "toys are flat"})
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyNet(Architecture):
    """Two linear layers."""

    width: int = 4
    gain: float = 1  # an int on purpose: 1 and 1.0 are one network

    def __post_init__(self):
        if self.width < 1:
            raise BadParameter("a toy needs width", got=str(self.width))

    def build(self, inputs, outputs):
        if self.width > inputs.size * 100:
            raise BadParameter("a toy is wider than its input allows", got=str(self.width))
        return nn.Sequential(nn.Linear(inputs.size, self.width), nn.Linear(self.width, outputs))

    def taps(self, net):
        return {"hidden": net[0]}

    def readout(self, net):
        return net[1]


@register("toy_other", family="toy", accepts={"vector"})
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyOther(ToyNet):
    """The same under another name."""


@register("toy_points", family="toy")
@dataclass(frozen=True, kw_only=True)
class ToyPoints(Task):
    """Eight points in two classes."""

    kind: Literal["vector", "image"] = "vector"
    absent: bool = False

    def read(self, rng, root):
        if self.absent:
            raise DataUnavailable("no points", where=f"data root {root}",
                                  do="universality data fetch toy_points")
        shape = (3,) if self.kind == "vector" else (1, 2, 2)
        part = Split(torch.from_numpy(rng.normal(size=(8, *shape))).float(), torch.arange(8) % 2)
        return Splits(part, part, part, InputSpec(self.kind, shape), 2)


@register("toy_probe")
@dataclass(kw_only=True)
class ToyProbe(Probe):
    """The step."""

    rows: int = 1

    def record(self, training):
        return {"step": float(training.step)}


RECIPE = Recipe(steps=8, lr=0.1)


def one_run_per_seed(cell, cross, *observe):
    return [
        Group(f"s{seed}", {"run": Request(cell.architecture, cell.task, RECIPE, seed, observe)}, (f"s{seed}",))
        for seed in cross.seeds
    ]


@register("toy_early", source="Toy 2020")
@dataclass(frozen=True, kw_only=True)
class ToyEarly(Phenomenon):
    """Looks at the first half."""

    title, version, strand, sense = "Early", 3, "laws", "number"
    claims = {"one": Within(low=0.0), "two": Within(high=1.0)}

    def applies(self, cell):
        return "needs two classes" if cell.signature.outputs != 2 else ""

    def groups(self, cell, cross):
        return one_run_per_seed(cell, cross, Observe("accuracy", At(0.0, 0.5)), Observe("toy_probe", At(0.25)))

    def measure(self, runs):
        return {"one": Outcome(effect=1.0), "two": Outcome(effect=2.0)}

    def controls(self):
        return [
            Control(name="wide toy", sign="positive", phenomenon=self, architecture="toy_net[width=6]",
                    task="toy_points", expects={"one": frozenset({"present"})}, why="it is wide"),
        ]


@register("toy_late")
@dataclass(frozen=True, kw_only=True)
class ToyLate(Phenomenon):
    """Looks at all of it, with partners."""

    probe: str = "toy_probe"

    title, version, strand, sense = "Late", 1, "laws", "sign"
    claims = {"pair": Within(low=0.0)}

    def applies(self, cell):
        return ""

    def groups(self, cell, cross):
        observe = Observe("accuracy", Every(3)), Observe(self.probe, At(0.0, 1.0))
        return [
            Group(f"{partner.name}/s{seed}",
                  {"a": Request(cell.architecture, cell.task, RECIPE, seed, observe),
                   "b": Request(partner, cell.task, RECIPE, seed, observe)}, (f"s{seed}",))
            for partner in cross.partners for seed in cross.seeds
        ]

    def measure(self, runs):
        return {"pair": Outcome(effect=1.0)}

    def controls(self):
        return []
'''


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Whatever a test registers or imports as a plugin is gone afterwards."""
    plugins = {kind: dict(known) for kind, known in registry._plugins.items()}
    modules = set(sys.modules)
    yield
    registry._plugins.update(plugins)
    for name in set(sys.modules) - modules:
        if name.startswith("universality_plugins."):
            del sys.modules[name]


@pytest.fixture
def toys(tmp_path: Path, clean_registry: None) -> Path:
    """The toy plugins, loaded; returns their folder, for --plugins."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toys.py").write_text(TOYS)
    registry.load_plugins([folder])
    return folder
