"""Trajectories with a known answer, for estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from universality.judge.outcomes import outcome_of
from universality.plugin import Runs, Series, Split, registry
from universality.plugin.outcome import Outcome


@dataclass
class FakeRun:
    """A trajectory with the series and arrays that it is given."""

    given: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    arrays: Mapping[int, Any] = field(default_factory=dict)
    data: Split | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    spec: Any = None
    state: str = "done"

    def series(self, name: str) -> Series:
        steps, values = self.given[name]
        return Series(np.asarray(steps, np.int64), np.asarray(values, np.float64))

    def steps(self, name: str) -> tuple[int, ...]:
        return tuple(self.arrays)

    def array(self, name: str, step: int) -> np.ndarray:
        return np.asarray(self.arrays[step], np.float32)

    def splits(self) -> Any:
        return SimpleNamespace(train=self.data, validation=self.data, reference=self.data)


def split(x: np.ndarray, y: np.ndarray) -> Split:
    return Split(torch.from_numpy(x), torch.from_numpy(y))


def outcome(phenomenon: str, claim: str, subject: Any, **parameters: Any) -> Outcome:
    """What a claim says of a trajectory, or of several by key."""
    cls = registry.plugin_class("phenomenon", phenomenon)
    given = Runs(subject) if isinstance(subject, dict) else subject
    return outcome_of(cls(**parameters), cls.claims[claim], given)


def unmet(found: Outcome) -> list[str]:
    return [gate.name for gate in found.gates if not gate.met]
