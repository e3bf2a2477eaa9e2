"""Arithmetic modulo a prime, the task on which grokking was found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("modular", family="algorithmic", source="Power et al. 2022, arXiv:2201.02177")
@dataclass(frozen=True, kw_only=True)
class Modular(Task):
    """Tokens (a, b) with class c = a op b mod p, for all pairs of residues; division has b != 0.

    Division means the c with b c = a (mod p). Addition and multiplication are commutative: with
    `leak_free` both orders of a pair fall on the same side of the split, so that no validation
    row is a training row with its operands swapped. Sizes do not depend on the seed:
    `round(train_fraction * n)` of the n pairs, taken separately among the p pairs (a, a) and the
    p (p-1) / 2 unordered pairs where both orders stay together.

    Args:
        operation: add, subtract, multiply or divide.
        p: a prime, the number of residues, tokens and classes.
        train_fraction: share of the pairs in the training set, between 0 and 1.
        leak_free: keep the two orders of a commutative pair together.
    """

    tier = "synthetic"

    operation: Literal["add", "subtract", "multiply", "divide"] = "add"
    p: int = 97
    train_fraction: float = 0.5
    leak_free: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.operation not in ("add", "subtract", "multiply", "divide"):
            raise BadParameter(
                "unknown operation",
                where="modular",
                got=self.operation,
                expected="add, subtract, multiply or divide",
            )
        if self.p < 2 or any(self.p % d == 0 for d in range(2, int(self.p**0.5) + 1)):
            raise BadParameter(
                "p is not a prime", where="modular", got=f"p={self.p}", expected="a prime, e.g. 97"
            )
        if not 0 < self.train_fraction < 1:
            raise BadParameter(
                "train_fraction leaves a split empty",
                where="modular",
                got=f"train_fraction={self.train_fraction}",
                expected="between 0 and 1, both excluded",
            )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        first = 1 if self.operation == "divide" else 0
        a, b = (grid.reshape(-1) for grid in np.mgrid[0 : self.p, first : self.p])
        everything = Split(torch.from_numpy(np.stack([a, b], axis=1)), torch.from_numpy(self._result(a, b)))
        if self.leak_free and self.operation in ("add", "multiply"):
            # A pair and its mirror image share one key; the diagonal is drawn apart because its
            # pairs are their own mirror image, which would make the sizes random.
            key = np.minimum(a, b) * self.p + np.maximum(a, b)
            groups = [np.unique(key[a == b]), np.unique(key[a != b])]
        else:
            key = np.arange(len(a))
            groups = [key]
        chosen = np.concatenate([rng.permutation(g)[: round(self.train_fraction * len(g))] for g in groups])
        train = torch.from_numpy(np.isin(key, chosen))
        shown = fixed_generator("modular", self.p, first).permutation(len(a))[:REFERENCE_ROWS]
        return Splits(
            everything.take(train),
            everything.take(~train),
            everything.take(torch.from_numpy(np.sort(shown))),
            InputSpec("tokens", (2,), vocabulary=self.p),
            self.p,
        )

    def _result(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.operation == "add":
            c = a + b
        elif self.operation == "subtract":
            c = a - b
        elif self.operation == "multiply":
            c = a * b
        else:
            inverse = np.array([0] + [pow(value, -1, self.p) for value in range(1, self.p)])
            c = a * inverse[b]
        return np.asarray(c % self.p, dtype=np.int64)
