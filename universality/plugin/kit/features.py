"""What the probe `taps` stored, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from universality.measures import cka_matrix
from universality.plugin.outcome import Matrix
from universality.plugin.trajectory import Trajectory


def features(run: Trajectory, tap: str, step: int) -> Tensor:
    """The representation at a tap after `step` updates, `[n, d]` in float64; also `inputs`, and `penultimate`."""
    return torch.from_numpy(run.array(f"taps.{tap}", step)).double()


def layer_similarity(a: Trajectory, b: Trajectory, step: int) -> Matrix:
    """Debiased linear CKA between every tap of one network and every tap of the other.

    Raises `MeasurementError` where a layer is dead.
    """
    rows, columns = (tuple(run.facts["taps"]) for run in (a, b))
    values = cka_matrix([features(a, t, step) for t in rows], [features(b, t, step) for t in columns])
    return Matrix(rows, columns, tuple(tuple(float(v) for v in row) for row in values))
