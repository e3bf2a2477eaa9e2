"""The random hierarchy model: classes made of features, which are made of features, by random rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, fixed_generator


@register("random_hierarchy", family="hierarchical", source="Cagnetta et al. 2023, arXiv:2307.02129")
@dataclass(frozen=True, kw_only=True)
class RandomHierarchy(Task):
    """d = s^L tokens: a class, replaced L times symbol by symbol by one of the m s-tuples that stand for it.

    At each level the rules give every symbol (every class at the top) m tuples of v symbols, all different and
    drawn at random: no tuple stands for two symbols, so that the class can be read off. A datum draws its class and
    then one of the m synonyms wherever a symbol is replaced, all uniformly: P_max = n_c m^((d - 1) / (s - 1)) data. Deep
    networks need about n_c m^L of them, shallow ones a number exponential in d. Rows are different from one another;
    rules, validation and reference are the same for every seed.

    Args:
        classes: n_c.
        features: v, the vocabulary of every level.
        synonyms: m, at most v^(s - 1).
        size: s, of a tuple.
        levels: L.
        grammar: which draw of the rules.
    """

    tier = "synthetic"

    classes: int = 8
    features: int = 8
    synonyms: int = 4
    size: int = 2
    levels: int = 3
    grammar: int = 0
    train_rows: int = 2000
    validation_rows: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, where=self.name, classes=self.classes, features=self.features, size=self.size)
        require_at_least(1, where=self.name, synonyms=self.synonyms, levels=self.levels)
        require_at_least(1, where=self.name, train_rows=self.train_rows, validation_rows=self.validation_rows)
        require_at_least(0, where=self.name, grammar=self.grammar)
        symbols = max(self.classes, self.features if self.levels > 1 else 0)
        if symbols * self.synonyms > self.features**self.size:
            raise BadParameter(
                "too few tuples for every symbol to have its own",
                where=self.name,
                got=f"{symbols} symbols of {self.synonyms} synonyms",
                expected=f"at most features^size = {self.features**self.size} tuples",
            )
        rows = self.train_rows + self.validation_rows
        if not 2 * rows <= self.data < 2**62:
            raise BadParameter(
                "the grammar has too few data, or more than can be numbered",
                where=self.name,
                got=f"{self.data} = classes synonyms^{self._nodes}",
                expected=f">= {2 * rows} = 2 (train_rows + validation_rows), < 2^62",
            )

    @property
    def data(self) -> int:
        """P_max, the number of different data."""
        count: int = self.classes * self.synonyms**self._nodes
        return count

    @property
    def _nodes(self) -> int:
        length: int = self.size**self.levels
        return (length - 1) // (self.size - 1)

    def rules(self) -> list[NDArray[np.int64]]:
        """Tuples `[symbols, synonyms, size]` of each level, from the classes down."""
        fixed = fixed_generator(
            self.name, "rules", self.classes, self.features, self.synonyms, self.size, self.grammar
        )
        levels = []
        for level in range(self.levels):
            symbols = self.features if level else self.classes
            codes = fixed.permutation(self.features**self.size)[: symbols * self.synonyms]
            digits = codes[:, None] // self.features ** np.arange(self.size)[::-1] % self.features
            levels.append(digits.reshape(symbols, self.synonyms, self.size))
        return levels

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        fixed = fixed_generator(self.name, "held out", self.data)
        held = self._draw(fixed, self.validation_rows, np.empty(0, np.int64))
        validation, train = self.made(held), self.made(self._draw(rng, self.train_rows, held))
        reference = validation.take(torch.arange(min(len(held), REFERENCE_ROWS)))
        inputs = InputSpec("tokens", (self.size**self.levels,), vocabulary=self.features)
        return Splits(train, validation, reference, inputs, self.classes)

    def made(self, numbers: NDArray[np.int64]) -> Split:
        """The data of these numbers, 0 to P_max - 1: the class, then the synonym at every node, as digits."""
        labels, rest = numbers % self.classes, numbers // self.classes
        symbols = labels[:, None]
        for tuples in self.rules():
            chosen = rest[:, None] // self.synonyms ** np.arange(symbols.shape[1]) % self.synonyms
            rest = rest // self.synonyms ** symbols.shape[1]
            symbols = tuples[symbols, chosen].reshape(len(numbers), -1)
        return Split(torch.from_numpy(symbols), torch.from_numpy(labels))

    def _draw(self, rng: np.random.Generator, rows: int, taken: NDArray[np.int64]) -> NDArray[np.int64]:
        """Different numbers, none of them taken. Ends: at most half of all are wanted or taken."""
        numbers = np.empty(0, np.int64)
        while len(numbers) < rows:
            more = rng.integers(self.data, size=rows)
            numbers = np.concatenate([numbers, more[~np.isin(more, taken)]])
            numbers = numbers[np.sort(np.unique(numbers, return_index=True)[1])]
        return numbers[:rows]
