"""Regression on a linear map with chosen singular values, from whitened inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from universality.plugin import InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import fixed_generator


@register("whitened", family="calibration", source="Saxe et al. 2014, arXiv:1312.6120")
@dataclass(frozen=True, kw_only=True)
class Whitened(Task):
    """y = M x without noise, X^T X / n = 1 exactly, M square with singular values top / ratio^k, k = 0, 1, ...

    The singular vectors of M are the same for every seed, the training inputs are not. The reference inputs are the unit
    vectors: what a linear network says of them is the transpose of its map.
    """

    tier = "synthetic"

    modes: int = 4
    top: float = 6.0
    ratio: float = 1.5
    rows: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="whitened", modes=self.modes, ratio=self.ratio)
        require_at_least(self.modes, where="whitened", rows=self.rows)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed, d = fixed_generator("whitened", self.modes), self.modes
        U, V = (np.linalg.qr(fixed.standard_normal((d, d)))[0] for _ in range(2))
        M = U @ np.diag(self.top / self.ratio ** np.arange(d)) @ V.T
        train, validation = (
            np.sqrt(self.rows) * np.linalg.qr(each.standard_normal((self.rows, d)))[0]
            for each in (rng, fixed)
        )
        train, validation, reference = (
            Split(*(torch.from_numpy(a.astype(np.float32)) for a in (x, x @ M.T)))
            for x in (train, validation, np.eye(d))
        )
        return Splits(train, validation, reference, InputSpec("vector", (d,)), d)
