"""Regression on a small random network, the teacher, whose size is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf

from universality.plugin import InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register(
    "teacher_student", family="regression", source="Saad and Solla 1995; Goldt et al. 2019, arXiv:1906.08632"
)
@dataclass(frozen=True, kw_only=True)
class TeacherStudent(Task):
    """y = sqrt(3 / K) sum_k erf(w_k . x / sqrt(2)) + noise, x ~ N(0, I_d), the w_k orthonormal: a soft committee machine.

    E erf(z / sqrt(2))^2 = 1/3 for z ~ N(0, 1), so that y has variance 1 without noise. Teacher, validation and reference
    are the same for every seed; validation and reference have no noise.

    Args:
        dim: d.
        hidden: K, at most d.
        noise: its standard deviation in the training targets.
        rows: of the training set and of the validation set.
    """

    tier = "synthetic"

    dim: int = 32
    hidden: int = 4
    noise: float = 0.0
    rows: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="teacher_student", hidden=self.hidden, rows=self.rows)
        require_at_least(self.hidden, where="teacher_student", dim=self.dim)
        require_at_least(0, where="teacher_student", noise=self.noise)

    def teacher(self) -> NDArray[np.float64]:
        """The w_k, float64 `[hidden, dim]`."""
        fixed = fixed_generator("teacher_student", "teacher", self.dim)
        return np.asarray(np.linalg.qr(fixed.standard_normal((self.dim, self.dim)))[0][: self.hidden])

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed = fixed_generator("teacher_student", "held out", self.dim)
        reference, validation = self._draw(fixed, REFERENCE_ROWS), self._draw(fixed, self.rows)
        train = self._draw(rng, self.rows)
        noise = torch.from_numpy((self.noise * rng.standard_normal((self.rows, 1))).astype(np.float32))
        train = Split(train.inputs, train.targets + noise)
        return Splits(train, validation, reference, InputSpec("vector", (self.dim,)), 1)

    def _draw(self, rng: np.random.Generator, rows: int) -> Split:
        x = rng.standard_normal((rows, self.dim))
        y = np.sqrt(3 / self.hidden) * erf(x @ self.teacher().T / np.sqrt(2)).sum(axis=1)
        return Split(*(torch.from_numpy(a.astype(np.float32)) for a in (x, y[:, None])))
