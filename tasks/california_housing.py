"""What houses cost, by district: regression on a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from universality.plugin import InputSpec, Split, Splits, register
from universality.plugin.kit.data import REFERENCE_ROWS, spaced, standardised_columns
from universality.plugin.kit.tables import FetchedTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTS = ("total_rooms", "total_bedrooms", "population", "households")
TARGET = "median_house_value"


@register("california_housing", family="table", source="Pace and Barry 1997 (1990 census of California)")
@dataclass(frozen=True, kw_only=True)
class CaliforniaHousing(FetchedTable):
    """Eight numbers of a district; the target is the median value of its houses, capped at 500,001 dollars.

    Longitude, latitude, age and income, and the logarithms of the numbers of rooms, bedrooms, people and
    households, whose tails are long. All of them and the target are standardised on the training rows. The 207
    rows without a number of bedrooms are left out, and so is the text `ocean_proximity`, which Géron 2017 added.
    Every tenth row is validation. scikit-learn fetches the table without missing values: 20,640 rows in place of
    20,433.
    """

    tier = "real"
    licence = "Apache-2.0"
    digests: ClassVar[Mapping[str, str]] = {
        "california_housing/housing.csv": "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e"
    }
    fetched = "california_housing/scikit-learn.csv"
    titled = True
    columns = ("longitude", "latitude", "housing_median_age", "median_income", *COUNTS, TARGET)

    def download(self, folder: Path) -> pd.DataFrame:
        from sklearn.datasets import fetch_california_housing

        table = fetch_california_housing(data_home=str(folder), as_frame=True).frame
        # It divides whole numbers by one another; a quotient times its divisor is whole again.
        households = (table["Population"] / table["AveOccup"]).round()
        return pd.DataFrame(
            {
                "longitude": table["Longitude"],
                "latitude": table["Latitude"],
                "housing_median_age": table["HouseAge"],
                "median_income": table["MedInc"],
                "total_rooms": (table["AveRooms"] * households).round(),
                "total_bedrooms": (table["AveBedrms"] * households).round(),
                "population": table["Population"],
                "households": households,
                TARGET: (table["MedHouseVal"] * 100_000).round(),
            }
        )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        (table,) = self.tables(root)
        table = table.dropna()
        table = table.assign(**{name: np.log(table[name]) for name in COUNTS})
        held = np.arange(len(table)) % 10 == 9
        x, x_held = self._halves(table.drop(columns=TARGET).to_numpy(np.float64), held)
        y, y_held = self._halves(table[[TARGET]].to_numpy(np.float64), held)
        inputs, targets = standardised_columns(x, x_held), standardised_columns(y, y_held)
        validation = Split(inputs[1], targets[1])
        shown = spaced(len(validation), REFERENCE_ROWS)
        reference = Split(inputs[1][shown], targets[1][shown])
        return Splits(Split(inputs[0], targets[0]), validation, reference, InputSpec("vector", (8,)), 1)

    def _halves(
        self, numbers: NDArray[np.float64], held: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return numbers[~held], numbers[held]
