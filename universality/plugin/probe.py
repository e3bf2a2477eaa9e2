"""The contract of a probe: what is recorded of a training while it runs, without changing it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from universality.plugin.architecture import Architecture
from universality.plugin.spec import Recipe
from universality.plugin.task import Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(slots=True)
class Training:
    """What a probe sees: the training as it stands after `step` updates.

    `generator` is the probe's own; drawing from it changes nothing else. Mode, buffers, gradients
    and torch's random state are restored after every probe.
    """

    net: nn.Module
    architecture: Architecture
    splits: Splits
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int
    generator: torch.Generator


@dataclass(kw_only=True)
class Probe(ABC):
    """A recorder. Fields are its parameters; a fresh instance serves one run, so it may keep state
    (a warm start) in attributes that are not parameters (`field(init=False)`)."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    gradients: ClassVar[float] = 0.5
    """Cost of one record in gradients of the full training loss, for predictions."""

    @abstractmethod
    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        """Floats become series, tensors arrays, both named `<probe address>.<key>`."""
