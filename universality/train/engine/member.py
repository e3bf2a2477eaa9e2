"""One run of a stack: what is asked of its training, and what the training leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray
from torch import nn

from universality.plugin.architecture import Architecture
from universality.plugin.modifier import Modified
from universality.plugin.randomness import seeded
from universality.plugin.settings import default_settings
from universality.plugin.spec import RunSpec, derive_seed
from universality.plugin.task import Splits
from universality.plugin.trajectory import Series
from universality.train.engine.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Member:
    """A run to train. `observe`: probe addresses and their steps; `snapshot`: where it goes on, None from the start."""

    spec: RunSpec
    architecture: Architecture
    splits: Splits
    observe: Mapping[str, Sequence[int]]
    snapshot: Snapshot | None = None


@dataclass(slots=True)
class Trained:
    """What a training leaves: series, arrays, facts, a log for people, and the network itself."""

    state: Literal["done", "diverged"]
    series: dict[str, Series]
    arrays: dict[tuple[str, int], NDArray[Any]]
    facts: dict[str, Any]
    net: nn.Module
    seconds: float

    @property
    def log(self) -> str:
        """How the run was trained and why not otherwise, a line each."""
        how = self.facts["engine"]
        lines = [f"engine: {how['mode']} (asked: {how['asked']}), {how['members']} side by side"]
        if how["fallback"]:
            lines.append(f"not as tried first: {how['fallback']}")
        if how.get("not_captured"):
            lines.append(f"not captured as a CUDA graph: {how['not_captured']}")
        if "resumed_at" in self.facts:
            lines.append(f"resumed after update {', '.join(map(str, self.facts['resumed_at']))}")
        if "no_checkpoint" in self.facts:
            lines.append(f"no checkpoint: {self.facts['no_checkpoint']}")
        if "generators" in self.facts:
            lines.append(f"draws from {' and '.join(self.facts['generators'])}, seeded by the run")
        if "diverged_at" in self.facts:
            lines.append(f"diverged at update {self.facts['diverged_at']}")
        return "".join(f"{line}\n" for line in lines)


def build_network(spec: RunSpec, architecture: Architecture, splits: Splits) -> nn.Module:
    """The network of a run at initialisation; depends on the architecture and the seed of its axis `init` only.

    Random numbers follow the architecture without its modifiers: a sweep over a parameter of one starts
    every run from the same draws.
    """
    seed = spec.seed_of("init")
    if isinstance(architecture, Modified):
        seed = architecture.init_seed(seed)
    with (
        default_settings(),
        seeded(derive_seed("init", *map(str, spec.architecture.unmodified.identity()), seed)),
    ):
        return architecture.build(splits.inputs, splits.outputs)
