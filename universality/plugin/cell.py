"""One square of the cross, as conditions on it see it."""

from __future__ import annotations

from dataclasses import dataclass

from universality.plugin.architecture import Architecture
from universality.plugin.task import Signature, Task


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the cross: an architecture on a task, and what is known of them before training.

    `features`: numbers that the readout sees of an example; `layers`: representations that the architecture names
    (`taps`). Both are 0 where the network was not built.
    """

    architecture: Architecture
    task: Task
    signature: Signature
    features: int = 0
    layers: int = 0
