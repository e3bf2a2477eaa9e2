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
    Architecture, At, BadParameter, DataUnavailable, Every, InputSpec, Lines, Phenomenon, Probe, Split,
    Splits, Task, Within, claim, negative, per_partner, per_seed, positive, register,
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


CHART = Lines({"train_loss": "loss"}, "loss")


def two_classes(cell):
    return "needs two classes" if cell.signature.outputs != 2 else ""


@register("toy_early", source="Toy 2020")
@dataclass(frozen=True, kw_only=True)
class ToyEarly(Phenomenon):
    """Looks at the first half."""

    title, version, strand, sense = "Early", 3, "laws", "number"
    asks = (two_classes,)

    @per_seed
    def run(self, run):
        return run.trained(steps=8, lr=0.1).observing(accuracy=At(0.0, 0.5), toy_probe=At(0.25))

    one = claim(Within(low=0.0), lambda run: 1.0, runs=run, title="one", chart=CHART)
    two = claim(Within(high=1.0), lambda run: 2.0, runs=run, title="two", chart=CHART)

    reference = "toy_net[width=6]", "toy_points"
    controls = (
        positive("wide toy", "it is wide", follows=True),
    )


@register("toy_late")
@dataclass(frozen=True, kw_only=True)
class ToyLate(Phenomenon):
    """Looks at all of it, with partners."""

    probe: str = "toy_probe"

    title, version, strand, sense = "Late", 1, "laws", "sign"

    @per_partner
    def pairs(self, a, b):
        observe = {"accuracy": Every(3), self.probe: At(0.0, 1.0)}
        return {key: run.trained(steps=8, lr=0.1).observing(observe) for key, run in (("a", a), ("b", b))}

    pair = claim(Within(low=0.0), lambda runs: 1.0, runs=pairs, title="pair", chart=CHART)
    reference = "toy_net", "toy_points"
    controls = (positive("pair", "a toy", partners=["toy_net[width=6]"]),)
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
