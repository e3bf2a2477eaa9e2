"""Census income: who earns more than 50,000 dollars a year?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from universality.plugin import BadParameter, InputSpec, Splits, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, spaced, split, standardised_columns
from universality.plugin.kit.tables import FetchedTable

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
LABEL = "class"


@register("adult", family="table", source="Kohavi 1996 (UCI Adult)")
@dataclass(frozen=True, kw_only=True)
class Adult(FetchedTable):
    """14 attributes of a person, as a vector of 108 numbers; class 1 earns more than 50,000 dollars a year.

    Six numbers are standardised on the training rows; eight attributes are one-hot, 0 or 1, over the values of the
    training set. A missing value (of 1,836 work classes, 1,843 occupations and 583 countries in 32,561 training
    rows) is a value of its own. Validation is evenly spaced over the official test set, 26 of whose 16,281 rows
    repeat a training row. scikit-learn fetches both parts in one (OpenML's `adult`, version 2): there every third
    row is the test set.

    Args:
        rows: training rows, drawn as they come, a quarter of them of class 1; 0 takes all. A `subset` draws both classes
            alike, and what is trained on that has another prior than what it is validated on.
        validation_rows: number of rows.
    """

    tier = "real"
    licence = "CC BY 4.0"
    digests: ClassVar[Mapping[str, str]] = {
        "adult/adult-train.csv": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult/adult-test.csv": "72567b94f5c1a6f8501377dd80f93892c3848ff071cf91ba47e00b0785a28074",
    }
    fetched = "adult/openml.csv"
    titled = False
    columns = (
        *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
        *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
        *("native-country", LABEL),
    )

    rows: int = 0
    validation_rows: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, where="adult", rows=self.rows)
        require_at_least(1, where="adult", validation_rows=self.validation_rows)

    def download(self, folder: Path) -> pd.DataFrame:
        from sklearn.datasets import fetch_openml

        table: pd.DataFrame = fetch_openml("adult", version=2, as_frame=True, data_home=str(folder)).frame
        return table

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        train, test = self._parts(self.tables(root))
        train_y, test_y = ((t[LABEL].str.rstrip(".") == ">50K").to_numpy() for t in (train, test))
        numbers = standardised_columns(*(t[list(NUMBERS)].to_numpy(np.float64) for t in (train, test)))
        x, x_test = (
            torch.cat(parts, dim=1) for parts in zip(numbers, self._one_hot(train, test), strict=True)
        )
        if self.rows > len(train):
            raise BadParameter(
                "the census has fewer training rows",
                where="adult",
                got=f"rows={self.rows}",
                expected=f"<= {len(train)}",
            )
        seen = rng.choice(len(train), self.rows, replace=False) if self.rows else np.arange(len(train))
        rows, shown = spaced(len(test), self.validation_rows), spaced(len(test), REFERENCE_ROWS)
        return Splits(
            split(x[seen], train_y[seen]),
            split(x_test[rows], test_y[rows]),
            split(x_test[shown], test_y[shown]),
            InputSpec("vector", (x.shape[1],)),
            2,
        )

    def _parts(self, tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
        if len(tables) == 2:
            return tables
        held = np.arange(len(tables[0])) % 3 == 2
        return [tables[0][~held], tables[0][held]]

    def _one_hot(self, train: pd.DataFrame, test: pd.DataFrame) -> tuple[Tensor, Tensor]:
        hot: tuple[list[Tensor], list[Tensor]] = [], []
        for name in (c for c in self.columns if c not in (*NUMBERS, LABEL)):
            columns = [t[name].astype("string").fillna("?").to_numpy() for t in (train, test)]
            values = sorted(set(columns[0]))
            for column, parts in zip(columns, hot, strict=True):
                parts.append(torch.from_numpy(np.stack([column == v for v in values], axis=1)).float())
        return torch.cat(hot[0], dim=1), torch.cat(hot[1], dim=1)
