"""Products of permutations: the smallest groups that are not commutative, and grokked like modular addition."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("permutations", family="algorithmic", source="Chughtai et al. 2023, arXiv:2302.03025")
@dataclass(frozen=True, kw_only=True)
class Permutations(Task):
    """Tokens (a, b) with class c = a b in S_n, c(i) = a(b(i)), for all (n!)^2 pairs.

    Elements are numbered in the lexicographic order of (a(0), ..., a(n - 1)), so that 0 is the identity. Training has
    `round(train_fraction (n!)^2)` pairs, drawn for each seed; all others are validation. S_5 was studied by Stander et
    al. 2024 (arXiv:2312.06581) too.

    Args:
        n: 3 to 5, of 36, 576 or 14,400 pairs.
        train_fraction: share of the pairs in the training set; 0.4 in the paper.
    """

    tier = "synthetic"

    n: int = 5
    train_fraction: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 3 <= self.n <= 5:
            raise BadParameter(
                "the group is trivial or too large to list",
                where="permutations",
                got=f"n={self.n}",
                expected="3 to 5",
            )
        if not 0 < self.train_fraction < 1:
            raise BadParameter(
                "train_fraction leaves a split empty",
                where="permutations",
                got=f"train_fraction={self.train_fraction}",
                expected="between 0 and 1, both excluded",
            )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        elements = np.array(list(permutations(range(self.n))))
        a, b = (grid.reshape(-1) for grid in np.mgrid[0 : len(elements), 0 : len(elements)])
        products = np.take_along_axis(elements[a], elements[b], axis=1)
        # Read as digits, elements are in rising order.
        digits = self.n ** np.arange(self.n)[::-1]
        c = np.searchsorted(elements @ digits, products @ digits)
        pairs = Split(torch.from_numpy(np.stack([a, b], axis=1)), torch.from_numpy(c))
        order = torch.from_numpy(rng.permutation(len(pairs)))
        size = round(self.train_fraction * len(pairs))
        shown = fixed_generator("permutations", self.n).permutation(len(pairs))[:REFERENCE_ROWS]
        return Splits(
            pairs.take(order[:size].sort().values),
            pairs.take(order[size:].sort().values),
            pairs.take(torch.from_numpy(np.sort(shown))),
            InputSpec("tokens", (2,), vocabulary=len(elements)),
            len(elements),
        )
