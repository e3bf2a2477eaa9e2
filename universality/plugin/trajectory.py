"""What is stored of one run, as a phenomenon reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from universality.plugin.spec import RunSpec

if TYPE_CHECKING:
    from torch import nn

    from universality.plugin.task import Splits

RunState = Literal["done", "diverged", "failed", "crashed", "timeout", "missing"]
"""How a run ended. `failed` raised an error, `crashed` killed its worker."""


@dataclass(frozen=True, slots=True)
class Series:
    """One scalar over training."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, step: int) -> float:
        """The value recorded at exactly `step`."""
        index = np.searchsorted(self.steps, step)
        if index == len(self.steps) or self.steps[index] != step:
            raise KeyError(f"nothing was recorded at step {step}")
        return float(self.values[index])

    def since(self, step: int) -> Series:
        keep = self.steps >= step
        return Series(self.steps[keep], self.values[keep])


class Recorded(Protocol):
    """What is stored of one run. `facts` holds lr, parameters, initial sharpness and the like.

    Names are `<probe address>.<metric>`, e.g. `sharpness.value`; `train_loss` is the loss of each
    update, taken at the weights before it.
    """

    @property
    def spec(self) -> RunSpec: ...
    @property
    def state(self) -> RunState: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...
    def series(self, name: str) -> Series: ...
    def array(self, name: str, step: int) -> NDArray[Any]: ...
    def steps(self, name: str) -> tuple[int, ...]: ...


class Trajectory(Recorded, Protocol):
    """One run as `measure` gets it: what is stored of it, and its network and data made again."""

    def network(self, step: int) -> nn.Module:
        """The network after `step` updates, on the CPU, in evaluation mode; a new one for every call.

        Raises `MeasurementError` unless the run observed the probe `weights` at this step.
        """

    def splits(self) -> Splits:
        """The data of the run, on the CPU. Not to be written to: other runs share it.

        Raises `DataUnavailable` where its files are gone.
        """
