"""Sets of the UCR archive of time series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_tasks import load, refusal, save_series, task
from universality.errors import DataUnavailable
from universality.plugin.architecture import InputSpec


def test_series_of_the_archive_keep_its_split_and_have_labels_from_zero(tmp_path: Path) -> None:
    save_series(tmp_path)
    splits = load("ucr[dataset=Toy]", tmp_path)
    assert (len(splits.train), len(splits.validation), splits.outputs) == (12, 8, 2)
    assert splits.inputs == InputSpec("sequence", (5, 1))
    assert splits.train.targets.tolist() == [int(i % 3 > 0) for i in range(12)]
    assert splits.validation.targets.tolist() == [int(i % 3 > 0) for i in range(12, 20)]
    numbers = np.random.default_rng(0).normal(3, 2, size=(20, 5)).round(6)
    expected = (numbers - numbers[:12].mean()) / numbers[:12].std()
    np.testing.assert_allclose(
        torch.cat([splits.train.inputs, splits.validation.inputs])[..., 0], expected, 1e-5
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"TRAIN": ""}, "EmptyDataError"),
        ({"TRAIN": "1\t2\tx\n"}, "numbers, separated by tabs"),
        ({"TRAIN": "1\t2\t3\n2\t4\n"}, "1 of them with gaps"),
        ({"TRAIN": "1.5\t2\t3\n"}, "rows of a whole label"),
        ({"TRAIN": "1\t3\t3\n2\t3\t3\n", "TEST": "1\t2\t3\n"}, "one number throughout"),
        ({"TEST": "7\t2\t3\n"}, "2 numbers a row and labels 7"),
        ({"TEST": "8\t1\t2\t3\t4\t5\n"}, "5 numbers a row and labels 8"),
    ],
)
def test_files_that_are_no_set_of_the_archive_are_refused(
    parts: dict[str, str], text: str, tmp_path: Path
) -> None:
    save_series(tmp_path, **parts)
    assert text in refusal("ucr[dataset=Toy]", tmp_path)


def test_an_archive_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    assert "no UCRArchive_2018/Toy/Toy_TRAIN.tsv, UCRArchive_2018/Toy/Toy_TEST.tsv" in refusal(
        "ucr[dataset=Toy]", tmp_path
    )
    with pytest.raises(DataUnavailable, match="unpack the UCR archive"):
        task("ucr[dataset=Toy]").fetch(tmp_path)
