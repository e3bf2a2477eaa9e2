"""Tables: their numbers against their files, what is missing in them, and files that cannot be taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from universality.errors import BadParameter, DataUnavailable
from universality.plugin import registry
from universality.plugin.kit.data import sha256, standardised_columns
from universality.plugin.task import Splits

REAL = Path(os.environ.get("UNIVERSALITY_DATA", "/nowhere"))

PEOPLE = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, United-States, <=50K\n"
    "50, ?, 83311, Masters, 13, Divorced, ?, Husband, Black, Male, 0, 1, 13, ?, >50K\n"
    "38, Private, 215646, HS-grad, 9, Divorced, Sales, Husband, White, Female, 5, 0, 40, Cuba, <=50K\n\n"
)
TESTED = "20, Without-pay, 83311, Masters, 11, Divorced, ?, Husband, Black, Male, 0, 1, 20, Cuba, >50K.\n"
HOUSES = pd.DataFrame(
    {
        "longitude": np.linspace(-124, -114, 40),
        "latitude": np.linspace(32, 42, 40),
        "housing_median_age": np.arange(40.0) + 1,
        "total_rooms": np.arange(40.0) * 7 + 900,
        "total_bedrooms": [np.nan if i == 4 else 90.0 + 3 * i for i in range(40)],
        "population": np.arange(40.0)[::-1] * 11 + 300,
        "households": np.arange(40.0) ** 2 + 80,
        "median_income": np.linspace(1, 9, 40),
        "median_house_value": np.linspace(5e5, 1e5, 40),
        "ocean_proximity": "NEAR BAY",
    }
)


def task(name: str) -> Any:
    return registry.resolve("task", name)


def load(name: str, root: Path) -> Splits:
    splits: Splits = task(name).load(np.random.default_rng(0), root)
    return splits


def pin(name: str, root: Path, monkeypatch: pytest.MonkeyPatch, *texts: str) -> list[Path]:
    """Files of these texts in place of the official ones, with their digests."""
    files = [root / path for path in task(name).digests]
    for file, text in zip(files, texts, strict=True):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    digests = {path: sha256(file) for path, file in zip(task(name).digests, files, strict=True)}
    monkeypatch.setattr(type(task(name)), "digests", digests)
    return files


# Columns


def test_columns_are_standardised_by_their_training_rows_in_double_precision() -> None:
    train = np.random.default_rng(0).normal([1e6, -3], [1e-3, 50], (200, 2))
    scaled, other = standardised_columns(train, train[:5] + np.array([0, 50]))
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2), atol=1e-6, rtol=0)
    expected = scaled[:5] + torch.tensor([0, 50 / train[:, 1].std()])
    torch.testing.assert_close(other, expected.float(), atol=1e-5, rtol=0)


def test_constant_columns_are_named() -> None:
    train = np.ones((4, 12)) * 0.1
    train[:, 3] = range(4)
    with pytest.raises(
        ValueError, match=r"11 columns are constant over the training rows: 0, 1, 2, 4, 5, 6, 7, 8, \.\.\."
    ):
        standardised_columns(train)


# scikit-learn's own


@pytest.mark.parametrize(
    ("name", "sizes"), [("wine", (120, 58, 13, 3)), ("breast_cancer", (380, 189, 30, 2))]
)
def test_measurements_are_those_of_scikit_learn(name: str, sizes: tuple[int, ...]) -> None:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    splits = load(name, Path("/nowhere"))
    assert (len(splits.train), len(splits.validation), splits.inputs.size, splits.outputs) == sizes
    train = np.array([(y[:i] == y[i]).sum() % 3 != 2 for i in range(len(y))])
    for split, rows in ((splits.train, train), (splits.validation, ~train)):
        back = split.inputs.numpy().astype(np.float64) * x[train].std(0) + x[train].mean(0)
        np.testing.assert_allclose(back, x[rows], rtol=1e-4, atol=1e-3)
        assert split.targets.tolist() == y[rows].tolist()


# adult


def test_a_person_is_six_numbers_and_eight_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin("adult", tmp_path, monkeypatch, PEOPLE, TESTED)
    splits = load("adult", tmp_path)
    # Values of the training set: ? Private State-gov, Bachelors HS-grad Masters, Divorced Never-married, ? Adm-clerical
    # Sales, Husband Not-in-family, Black White, Female Male, ? Cuba United-States
    assert splits.train.inputs.shape == (3, 6 + 3 + 3 + 2 + 3 + 2 + 2 + 2 + 3)
    assert splits.train.inputs[1, 6:].tolist() == [1, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0]
    # A value that no training row has is none of them.
    assert splits.validation.inputs[0, 6:].tolist() == [
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        0,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
    ]
    age = np.array([39, 50, 38])
    assert splits.train.inputs[:, 0].tolist() == pytest.approx((age - age.mean()) / age.std())
    assert float(splits.validation.inputs[0, 0]) == pytest.approx((20 - age.mean()) / age.std())
    assert (splits.train.targets.tolist(), splits.validation.targets.tolist()) == ([0, 1, 0], [1])
    assert task("adult").content(tmp_path) == ""


def test_people_are_drawn_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin("adult", tmp_path, monkeypatch, PEOPLE, TESTED)
    everyone, drawn = load("adult", tmp_path), load("adult[rows=2]", tmp_path)
    rows = [row.tolist() for row in everyone.train.inputs]
    found = [rows.index(row.tolist()) for row in drawn.train.inputs]
    assert len(set(found)) == 2
    assert drawn.train.targets.tolist() == everyone.train.targets[found].tolist()
    assert torch.equal(drawn.validation.inputs, everyone.validation.inputs)
    with pytest.raises(BadParameter, match=r"fewer training rows(.|\n)*rows=4(.|\n)*<= 3"):
        load("adult[rows=4]", tmp_path)


def test_adult_as_scikit_learn_fetches_it_is_one_table_with_its_own_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn import datasets
    from sklearn.utils import Bunch

    columns = list(task("adult").columns)
    rows = [
        [cell.strip().removesuffix(".") for cell in row.split(",")]
        for row in (PEOPLE + TESTED).split("\n")
        if row
    ]
    frame = pd.DataFrame([*rows, *rows], columns=columns).replace("?", np.nan)
    monkeypatch.setattr(datasets, "fetch_openml", lambda *_, **__: Bunch(frame=frame))
    task("adult").fetch(tmp_path)
    splits = load("adult", tmp_path)
    assert (splits.train.targets.tolist(), splits.validation.targets.tolist()) == ([0, 1, 1, 0, 0, 1], [0, 1])
    assert len(task("adult").content(tmp_path)) == 64

    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(datasets, "fetch_openml", offline)
    task("adult").fetch(tmp_path)
    with pytest.raises(DataUnavailable, match="adult could not be downloaded") as caught:
        task("adult").fetch(tmp_path / "other")
    assert "adult/adult-train.csv, adult/adult-test.csv under the data root" in str(caught.value)


@pytest.mark.skipif(not (REAL / "adult").is_dir(), reason="no adult")
def test_the_official_adult_has_its_counts() -> None:
    splits = load("adult", REAL)
    assert (len(splits.train), len(splits.validation), splits.inputs.size, splits.outputs) == (
        32_561,
        2000,
        108,
        2,
    )
    assert splits.train.targets.bincount().tolist() == [24_720, 7841]
    assert int(splits.train.inputs[:, 6].sum()) == 1836  # missing work classes
    assert (splits.train.inputs[:, 6:].sum(1) == 8).all()


# California housing


def test_houses_are_eight_standardised_numbers_and_rows_with_gaps_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin("california_housing", tmp_path, monkeypatch, HOUSES.to_csv(index=False))
    splits = load("california_housing", tmp_path)
    kept = HOUSES.dropna()
    train = np.arange(39) % 10 != 9
    assert (len(splits.train), len(splits.validation), splits.outputs) == (36, 3, 1)
    rooms, value = np.log(kept["total_rooms"].to_numpy()), kept["median_house_value"].to_numpy()
    for split, rows in ((splits.train, train), (splits.validation, ~train)):
        expected = (rooms[rows] - rooms[train].mean()) / rooms[train].std()
        np.testing.assert_allclose(split.inputs[:, 4], expected, atol=1e-5)
        expected = (value[rows] - value[train].mean()) / value[train].std()
        np.testing.assert_allclose(split.targets[:, 0], expected, atol=1e-5)


def test_what_scikit_learn_divided_is_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import datasets
    from sklearn.utils import Bunch

    whole = HOUSES.assign(total_bedrooms=HOUSES["total_bedrooms"].fillna(102.0))
    frame = pd.DataFrame(
        {
            "MedInc": whole["median_income"],
            "HouseAge": whole["housing_median_age"],
            "AveRooms": whole["total_rooms"] / whole["households"],
            "AveBedrms": whole["total_bedrooms"] / whole["households"],
            "Population": whole["population"],
            "AveOccup": whole["population"] / whole["households"],
            "Latitude": whole["latitude"],
            "Longitude": whole["longitude"],
            "MedHouseVal": whole["median_house_value"] / 100_000,
        }
    )
    monkeypatch.setattr(datasets, "fetch_california_housing", lambda **_: Bunch(frame=frame))
    task("california_housing").fetch(tmp_path)
    (table,) = task("california_housing").tables(tmp_path)
    pd.testing.assert_frame_equal(
        table[list(table)], whole[list(table)].assign(median_house_value=whole["median_house_value"].round())
    )
    assert len(load("california_housing", tmp_path).train) == 36


@pytest.mark.skipif(not (REAL / "california_housing").is_dir(), reason="no california_housing")
def test_the_official_houses_have_their_counts() -> None:
    splits = load("california_housing", REAL)
    assert (len(splits.train) + len(splits.validation), splits.inputs.size) == (20_640 - 207, 8)
    top = splits.train.targets.max()
    assert int((splits.train.targets == top).sum() + (splits.validation.targets == top).sum()) == 958


# Files that cannot be taken


@pytest.mark.parametrize(
    ("name", "file"),
    [("adult", "adult/adult-test.csv"), ("california_housing", "california_housing/housing.csv")],
)
def test_a_table_that_is_absent_or_cut_short_is_named(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert task(name).content(tmp_path) == ""
    with pytest.raises(DataUnavailable) as caught:
        load(name, tmp_path)
    assert file in str(caught.value).splitlines()[0]
    assert str(caught.value).endswith(f"universality data fetch {name} --data-root {tmp_path}")
    texts = [PEOPLE, TESTED] if name == "adult" else [HOUSES.to_csv()]
    pin(name, tmp_path, monkeypatch, *texts)
    (tmp_path / file).write_text(texts[-1][:-10])
    with pytest.raises(DataUnavailable, match="cannot be read") as caught:
        load(name, tmp_path)
    assert str(tmp_path / file) in str(caught.value)
    assert "expected: sha256" in str(caught.value)


def test_a_fetched_table_of_other_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "openml.csv").write_text("age,class\n3,4\n")
    with pytest.raises(DataUnavailable, match="cannot be read") as caught:
        load("adult", tmp_path)
    assert "a csv with the columns age, workclass" in str(caught.value)
