"""Parity of a few bits among many: a signal that no single input carries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("sparse_parity", family="algorithmic", source="Barak et al. 2022, arXiv:2207.08799")
@dataclass(frozen=True, kw_only=True)
class SparseParity(Task):
    """Vectors of `bits` fair signs +-1; class 1 where the product of the first `k` is negative.

    Rows are independent draws. Training rows are drawn again where they occur in the validation
    set, which is the same for every seed, so that memorising cannot help there.

    Args:
        bits: length of a row, at most 62.
        k: number of bits that count.
        train_rows, validation_rows: sizes of the two sets.
    """

    tier = "synthetic"

    bits: int = 30
    k: int = 3
    train_rows: int = 1000
    validation_rows: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.k <= self.bits <= 62:
            raise BadParameter(
                "the relevant bits must be among the bits",
                where="sparse_parity",
                got=f"bits={self.bits}, k={self.k}",
                expected="1 <= k <= bits <= 62",
            )
        if self.train_rows < 1 or self.validation_rows < 1:
            raise BadParameter(
                "a set without rows",
                where="sparse_parity",
                got=f"train_rows={self.train_rows}, validation_rows={self.validation_rows}",
                expected=">= 1",
            )
        if 2**self.bits < 2 * self.validation_rows:
            raise BadParameter(
                "too few distinct rows to keep training and validation apart",
                where="sparse_parity",
                got=f"2^{self.bits} = {2**self.bits} rows",
                expected=f">= {2 * self.validation_rows} = 2 * validation_rows",
            )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed = fixed_generator("sparse_parity", self.bits)
        reference = self._draw(fixed, REFERENCE_ROWS)
        validation = self._draw(fixed, self.validation_rows)
        train = self._draw(rng, self.train_rows)
        # Ends: validation holds at most half of all rows, so each round keeps half or more.
        while (seen := np.isin(train, validation)).any():
            train[seen] = self._draw(rng, int(seen.sum()))
        return Splits(
            self._rows(train),
            self._rows(validation),
            self._rows(reference),
            InputSpec("vector", (self.bits,)),
            2,
        )

    def _draw(self, rng: np.random.Generator, rows: int) -> NDArray[Any]:
        """Rows as integers: bit j set where sign j is -1."""
        return rng.integers(0, 2**self.bits, size=rows)

    def _rows(self, codes: NDArray[Any]) -> Split:
        minus = (codes[:, None] >> np.arange(self.bits)) & 1
        parity = minus[:, : self.k].sum(axis=1) % 2
        return Split(torch.from_numpy((1 - 2 * minus).astype(np.float32)), torch.from_numpy(parity))
