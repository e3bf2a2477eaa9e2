"""Regression on products of a few directions of a Gaussian: features have to be found before they can be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("multi_index", family="regression", source="Abbe et al. 2023, arXiv:2302.11055")
@dataclass(frozen=True, kw_only=True)
class MultiIndex(Task):
    """y = g(z) with z = U x, x ~ N(0, I_d), U of r orthonormal rows; E y = 0 and E y^2 = 1.

    `product` is z_1 ... z_r, of which no gradient at a symmetric start tells fewer than r directions: leap r.
    `staircase` is (z_1 + z_1 z_2 + ... + z_1 ... z_r) / sqrt(r), which is climbed one direction at a time: leap 1. U,
    validation and reference are the same for every seed.

    Args:
        dim: d.
        directions: r.
        rows: of the training set and of the validation set.
    """

    tier = "synthetic"

    dim: int = 32
    directions: int = 3
    link: Literal["product", "staircase"] = "staircase"
    rows: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="multi_index", directions=self.directions, rows=self.rows)
        require_at_least(self.directions, where="multi_index", dim=self.dim)

    def axes(self) -> NDArray[np.float64]:
        """U, float64 `[directions, dim]`."""
        fixed = fixed_generator("multi_index", "axes", self.dim)
        return np.asarray(np.linalg.qr(fixed.standard_normal((self.dim, self.dim)))[0][: self.directions])

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed = fixed_generator("multi_index", "held out", self.dim)
        reference, validation = self._draw(fixed, REFERENCE_ROWS), self._draw(fixed, self.rows)
        return Splits(self._draw(rng, self.rows), validation, reference, InputSpec("vector", (self.dim,)), 1)

    def _draw(self, rng: np.random.Generator, rows: int) -> Split:
        x = rng.standard_normal((rows, self.dim))
        steps = np.cumprod(x @ self.axes().T, axis=1)
        y = steps[:, -1] if self.link == "product" else steps.sum(axis=1) / np.sqrt(self.directions)
        return Split(*(torch.from_numpy(a.astype(np.float32)) for a in (x, y[:, None])))
