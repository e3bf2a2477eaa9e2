"""A stored training as an effect reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from universality.errors import MeasurementError
from universality.watching.live_run import LiveRun

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ReplayedRun(LiveRun):
    """A `Trajectory`, of which networks are read from the disk.

    Args:
        restored: makes the network of a step.
    """

    restored: Callable[[int], nn.Module]

    def network(self, step: int) -> nn.Module:
        """The network after `step` updates. Raises `MeasurementError` where none is stored."""
        return self.restored(step).eval()


class Facts(dict[str, Any]):
    """Those that are known of a stored training."""

    def __missing__(self, name: str) -> Any:
        raise MeasurementError(f"it needs {name}, which is not known of a stored training without a recipe")
