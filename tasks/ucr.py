"""Sets of the UCR archive of time series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, damaged, missing, sha256, split

FOLDER = "UCRArchive_2018"


@register("ucr", family="series", source="Dau et al. 2019, arXiv:1810.07758 (UCR archive)")
@dataclass(frozen=True, kw_only=True)
class UCR(Task):
    """Series of one channel and equal lengths, `ucr[dataset=GunPoint]`, in the split of the archive.

    Files are those of the archive, `UCRArchive_2018/GunPoint/GunPoint_TRAIN.tsv` and `..._TEST.tsv` below the data root,
    a row for each series with its label first; labels become 0, 1, ... in rising order. All numbers are shifted and
    scaled alike, to mean 0 and variance 1 of the training rows. The test rows are validation, the first 512 of them
    reference. Sets whose series differ in length, or have gaps, are refused.

    Args:
        dataset: a folder of the archive.
    """

    tier = "real"
    licence = "no single one: see the README of each set"

    dataset: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset.isidentifier():
            raise BadParameter(
                "a set of the archive is called by the name of its folder",
                where="ucr",
                got=f"dataset={self.dataset}",
                expected="letters, digits and _, such as GunPoint",
            )

    def content(self, root: Path) -> str:
        return sha256(*self._files(root))

    def fetch(self, root: Path) -> None:
        """The archive is unpacked by hand: its zip has a password, which its page tells. Raises `DataUnavailable` where
        the files are not there."""
        self._files(root)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        (train, known), (test, asked) = (self._rows(file) for file in self._files(root))
        classes = np.unique(known)
        if train.shape[1] != test.shape[1] or not np.isin(asked, classes).all():
            file = self._files(root)[1]
            got = f"{test.shape[1]} numbers a row and labels {', '.join(map(str, np.unique(asked)))}"
            expected = f"{train.shape[1]} numbers and labels {', '.join(map(str, classes))}, as in training"
            raise damaged(file, got, expected=expected, do=self._remedy())
        if not train.std():
            raise damaged(self._files(root)[0], "one number throughout", do=self._remedy())
        train, test = ((x - train.mean()) / train.std() for x in (train, test))
        series = (
            torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).unsqueeze(2) for x in (train, test)
        )
        labels = (np.searchsorted(classes, y) for y in (known, asked))
        fitted, validation = (split(x, y) for x, y in zip(series, labels, strict=True))
        reference = validation.take(torch.arange(min(len(validation), REFERENCE_ROWS)))
        spec = InputSpec("sequence", (train.shape[1], 1))
        return Splits(fitted, validation, reference, spec, len(classes))

    def _rows(self, file: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Series and labels of a file."""
        try:
            table = pd.read_csv(file, sep="\t", header=None, dtype=np.float64).to_numpy()
        except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise damaged(file, error, expected="numbers, separated by tabs", do=self._remedy()) from error
        numbers, labels = table[:, 1:], table[:, 0]
        if not numbers.size or not np.isfinite(table).all() or (labels != labels.round()).any():
            got = f"{len(table)} rows, {int((~np.isfinite(table)).any(1).sum())} of them with gaps"
            expected = "rows of a whole label and as many numbers in each"
            raise damaged(
                file, got, expected=expected, do="take a set whose series are equally long and whole"
            )
        return numbers, labels.astype(np.int64)

    def _files(self, root: Path) -> list[Path]:
        folder = root / FOLDER / self.dataset
        files = [folder / f"{self.dataset}_{part}.tsv" for part in ("TRAIN", "TEST")]
        if absent := [file for file in files if not file.is_file()]:
            raise missing(absent, root=root, do=self._remedy())
        return files

    def _remedy(self) -> str:
        return f"unpack the UCR archive (www.cs.ucr.edu/~eamonn/time_series_data_2018) as {FOLDER} below the data root"
