"""A training that goes on, as an effect reads it: what has been recorded so far, as if it ended here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from universality.errors import MeasurementError
from universality.plugin.spec import RunSpec
from universality.plugin.task import Splits
from universality.plugin.trajectory import RunState, Series

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A `Trajectory`.

    Args:
        spec: its recipe is of the updates so far.
        observe: steps by probe; of a probe that records at others too, for another claim, only these are seen.
        copied: makes a copy of the network.
        data: on the CPU.
    """

    spec: RunSpec
    state: RunState
    facts: Mapping[str, Any]
    observe: Mapping[str, tuple[int, ...]]
    recorded: Mapping[str, Series]
    arrays: Mapping[tuple[str, int], NDArray[Any]]
    copied: Callable[[], nn.Module]
    data: Splits

    def series(self, name: str) -> Series:
        """Raises `MeasurementError` where nothing was recorded so far."""
        if name not in self.recorded:
            raise MeasurementError(
                f"no series {name} so far",
                where=f"after {self.spec.recipe.steps} updates",
                expected=f"one of {', '.join(self.recorded) or '(nothing was recorded)'}",
            )
        whole, steps = self.recorded[name], self._steps(name)
        if steps is None:
            return whole
        keep = np.isin(whole.steps, steps)
        return Series(whole.steps[keep], whole.values[keep])

    def array(self, name: str, step: int) -> NDArray[Any]:
        """Raises `MeasurementError` where none was recorded so far."""
        if (name, step) not in self.arrays:
            raise MeasurementError(
                f"no array {name} of update {step} so far",
                where=f"after {self.spec.recipe.steps} updates",
                got=f"those of updates {', '.join(map(str, self.steps(name))) or '(none)'}",
            )
        return self.arrays[name, step]

    def steps(self, name: str) -> tuple[int, ...]:
        asked = self._steps(name)
        own = {step for key, step in self.arrays if key == name or key.startswith(f"{name}.")}
        if not own:
            keys = (key for key in self.recorded if key == name or key.startswith(f"{name}."))
            own = {int(step) for key in keys for step in self.recorded[key].steps}
        return tuple(sorted(step for step in own if asked is None or step in asked))

    def network(self, step: int) -> nn.Module:
        """The network after `step` updates. Raises `MeasurementError` without the probe `weights` there."""
        net = self.copied().cpu()
        state = {name: torch.from_numpy(self.array(f"weights.{name}", step)) for name in net.state_dict()}
        net.load_state_dict(state)
        return net.eval()

    def splits(self) -> Splits:
        return self.data

    def _steps(self, name: str) -> tuple[int, ...] | None:
        """Those of the probe that a name begins with; None of the loss of the updates."""
        probes = (probe for probe in self.observe if name == probe or name.startswith(f"{probe}."))
        return next((self.observe[probe] for probe in probes), None)
