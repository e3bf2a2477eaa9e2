"""Rings around the origin, told apart by their radius."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from universality import plugin as u
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@u.register("example", family="vector")
@dataclass(frozen=True, kw_only=True)
class Example(u.Task):
    """x = r (cos a, sin a), a uniform, r = 1 + (row mod rings) + noise; the class is the ring.

    Args:
        rings: classes.
        noise: standard deviation of the radius.
        rows: of the training set and of the validation set.
    """

    tier = "synthetic"

    rings: int = 3
    noise: float = 0.1
    rows: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, where="example", rings=self.rings)
        require_at_least(self.rings, where="example", rows=self.rows)

    # Training data follows `rng`, which is the run's seed. What networks are compared on is always the same.
    def read(self, rng: np.random.Generator, root: Path) -> u.Splits:
        fixed = fixed_generator("example")
        reference, validation = self._draw(fixed, REFERENCE_ROWS), self._draw(fixed, self.rows)
        return u.Splits(
            self._draw(rng, self.rows), validation, reference, u.InputSpec("vector", (2,)), self.rings
        )

    def _draw(self, rng: np.random.Generator, rows: int) -> u.Split:
        ring = np.arange(rows) % self.rings
        radius, angle = 1 + ring + self.noise * rng.standard_normal(rows), rng.uniform(0, 2 * np.pi, rows)
        x = (radius * np.stack([np.cos(angle), np.sin(angle)])).T
        return u.Split(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(ring))
