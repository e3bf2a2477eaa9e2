"""Symbols whose classes must be seen to be known, as frequent as a power of their rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS


@register("zipf", family="calibration", source="Hutter 2021, arXiv:2102.04074")
@dataclass(frozen=True, kw_only=True)
class Zipf(Task):
    """One token. Of either of two classes the j-th symbol has probability ~ j^-exponent, and nothing but the symbol tells its class.

    Of n rows, n / 2 of each class, the share of unseen symbols is

        M(n) = sum_j p_j (1 - p_j)^(n / 2) ~ n^((1 - exponent) / exponent),

    and a learner that knows what it has seen, and nothing else, errs on half of these. Rows are drawn; validation and
    reference stand at even quantiles, so that M is not estimated from the few rare symbols of a draw.

    Args:
        exponent: above 1.
        symbols: of each class, j = 1 .. symbols. The tail beyond is cut: n far below symbols^exponent.
        rows: of the training set, half of each class.
    """

    tier = "synthetic"

    exponent: float = 1.5
    symbols: int = 2048
    rows: int = 1024
    validation_rows: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(
            2, where="zipf", symbols=self.symbols, rows=self.rows, validation_rows=self.validation_rows
        )
        if not 1 < self.exponent < 10:
            raise BadParameter(
                "the exponent is none of Zipf's law",
                where="zipf",
                got=f"exponent={self.exponent:g}",
                expected="above 1, so that unseen symbols become rare, and below 10",
            )

    def probabilities(self) -> NDArray[np.float64]:
        """p_j, of the symbols of one class."""
        p = np.arange(1, self.symbols + 1) ** -self.exponent
        return np.asarray(p / p.sum(), np.float64)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        train = self._rows(rng.random(self.rows))
        validation, reference = (
            self._rows(np.repeat((np.arange(n // 2) + 0.5) / (n // 2), 2))
            for n in (self.validation_rows, REFERENCE_ROWS)
        )
        return Splits(train, validation, reference, InputSpec("tokens", (1,), vocabulary=2 * self.symbols), 2)

    def _rows(self, quantiles: NDArray[np.float64]) -> Split:
        """Rows at these quantiles of the symbols of a class, of both classes in turn."""
        symbol = np.searchsorted(self.probabilities().cumsum(), quantiles).clip(max=self.symbols - 1)
        label = np.arange(len(symbol)) % 2
        return Split(torch.from_numpy((2 * symbol + label)[:, None]), torch.from_numpy(label))
