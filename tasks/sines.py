"""Regression on a sum of sines of one variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import fixed_generator


@register("sines", family="regression", source="Rahaman et al. 2019, arXiv:1806.08734")
@dataclass(frozen=True, kw_only=True)
class Sines(Task):
    """y = sum_k A_k sin(2 pi k t + phase_k), k = 1 .. waves, at `points` t = 0, 1/points, ...; the input is 2 t - 1.

    Training, validation and reference are this grid; it is the same for every seed.

    Args:
        phases: which draw of the phases.
        rising: A_k = k, else 1.
        fourier: the inputs are cos and sin of every wave (Tancik et al. 2020, arXiv:2006.10739).
    """

    tier = "synthetic"

    points: int = 128
    waves: int = 6
    phases: int = 0
    rising: bool = False
    fourier: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="sines", waves=self.waves)
        require_at_least(0, where="sines", phases=self.phases)
        if self.points <= 2 * self.waves:
            raise BadParameter(
                "a wave that the grid cannot tell from a slower one",
                where="sines",
                got=f"waves={self.waves} at points={self.points}",
                expected="more than 2 waves points",
            )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        t, k = np.arange(self.points)[:, None] / self.points, np.arange(1, self.waves + 1)
        phase = fixed_generator("sines", self.phases).uniform(0, 2 * np.pi, self.waves)
        y = np.sin(2 * np.pi * t * k + phase) @ (k if self.rising else np.ones(self.waves))
        wave = 2 * np.pi * t * k
        x = np.concatenate([np.cos(wave), np.sin(wave)], axis=1) if self.fourier else 2 * t - 1
        grid = Split(*(torch.from_numpy(a.astype(np.float32)) for a in (x, y[:, None])))
        return Splits(grid, grid, grid, InputSpec("vector", (x.shape[1],)), 1)
