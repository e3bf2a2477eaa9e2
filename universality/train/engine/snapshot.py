"""A run in the middle of its training, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class BadSnapshot(Exception):
    """No training can go on from there; the text says why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the rest of a training follows from, beside what was asked: packed values and their tensors.

    Args:
        step: updates that were made; what is due then is still to be recorded.
        draws: whether the run has drawn from global generators, so that it goes on alone.
        run: see `MemberRun.snapshot`, in the form of `packing.Packer`.
        tensors: by name, on the CPU.
    """

    step: int
    draws: bool
    run: Any
    tensors: Mapping[str, Tensor]
