"""One run as a phenomenon measures it: what is stored, and its network and data made again on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from universality.plugin.spec import RunSpec
from universality.plugin.trajectory import Recorded, RunState, Series

if TYPE_CHECKING:
    from torch import nn

    from universality.plugin.task import Splits


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A `Trajectory`.

    Args:
        stored: the run on disk.
        data_root: where tasks find their files; None is the default of `plugin.kit.data.data_root`.
    """

    stored: Recorded
    data_root: Path | None = None

    @property
    def spec(self) -> RunSpec:
        return self.stored.spec

    @property
    def state(self) -> RunState:
        return self.stored.state

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.stored.facts

    def series(self, name: str) -> Series:
        return self.stored.series(name)

    def array(self, name: str, step: int) -> NDArray[Any]:
        return self.stored.array(name, step)

    def steps(self, name: str) -> tuple[int, ...]:
        return self.stored.steps(name)

    def network(self, step: int) -> nn.Module:
        """The network after `step` updates. Raises `MeasurementError` without the probe `weights` there."""
        from universality.train.engine.restore import restore

        return restore(self.stored, self.splits(), step)

    def splits(self) -> Splits:
        """The data of the run."""
        from universality.plugin.kit import data
        from universality.train.worker import load_splits

        return load_splits(self.spec, data.data_root(self.data_root))
