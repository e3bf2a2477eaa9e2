"""Regression from Gaussian inputs whose variances fall as a power law."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from universality.plugin import InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("power_law", family="calibration", source="Simon et al. 2023, arXiv:2110.03922")
@dataclass(frozen=True, kw_only=True)
class PowerLaw(Task):
    """x_i ~ N(0, i^-spectrum), y = sum_i i^(-target / 2) z_i / |c| with z_i = x_i of unit variance, c the coefficients.

    The kernel x . x' has eigenvalues i^-spectrum and y squared coefficients ~ i^-target, i = 1 .. dim.
    """

    tier = "synthetic"

    dim: int = 200
    spectrum: float = 1.5
    target: float = 2.0
    rows: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="power_law", dim=self.dim, rows=self.rows)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed = fixed_generator("power_law", "held out")
        validation, reference = self._draw(fixed, self.rows), self._draw(fixed, REFERENCE_ROWS)
        return Splits(self._draw(rng, self.rows), validation, reference, InputSpec("vector", (self.dim,)), 1)

    def _draw(self, rng: np.random.Generator, rows: int) -> Split:
        i = np.arange(1, self.dim + 1)
        z, c = rng.standard_normal((rows, self.dim)), i ** (-self.target / 2)
        y = z @ (c / np.linalg.norm(c))
        return Split(
            *(torch.from_numpy(a.astype(np.float32)) for a in (z * i ** (-self.spectrum / 2), y[:, None]))
        )
