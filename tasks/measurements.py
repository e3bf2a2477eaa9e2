"""Tables of measurements that scikit-learn carries inside its package: real data without a network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.plugin import InputSpec, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, split, standardised_columns


@dataclass(frozen=True, kw_only=True)
class _Measurements(Task):
    """Every third row of each class, in the order of the file, is validation; all of it is reference."""

    tier = "small real"
    licence = "CC BY 4.0"

    @abstractmethod
    def rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Numbers `[n, d]` and classes `[n]`."""

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        numbers, labels = self.rows()
        turn = np.zeros(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            turn[labels == label] = np.arange((labels == label).sum())
        held = turn % 3 == 2
        train, validation = standardised_columns(numbers[~held], numbers[held])
        return Splits(
            split(train, labels[~held]),
            split(validation, labels[held]),
            split(validation[:REFERENCE_ROWS], labels[held][:REFERENCE_ROWS]),
            InputSpec("vector", (numbers.shape[1],)),
            len(np.unique(labels)),
        )


@register("wine", family="table", source="Aeberhard and Forina 1991 (scikit-learn load_wine)")
@dataclass(frozen=True, kw_only=True)
class Wine(_Measurements):
    """13 chemical measurements of 178 wines of three growers, standardised on the training rows."""

    def rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        from sklearn.datasets import load_wine

        x, y = load_wine(return_X_y=True)
        return x, y


@register("breast_cancer", family="table", source="Wolberg et al. 1995 (scikit-learn load_breast_cancer)")
@dataclass(frozen=True, kw_only=True)
class BreastCancer(_Measurements):
    """30 measurements of cells of 569 tumours, standardised on the training rows; class 1 is benign."""

    def rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        return x, y
