"""Bring your own arrays: classification or regression from one NumPy archive."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.plugin import BadParameter, DataUnavailable, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    class_count,
    damaged,
    drawn,
    missing,
    refuse_constant,
    sha256,
    standardised,
    standardised_columns,
)
from universality.plugin.kit.raw_arrays import (
    are_whole,
    finite_numbers,
    has_channels_at_either_end,
    image_conversion,
    shared_rows,
)

Arrays4 = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

KEYS = (("train_x", "train_y", "test_x", "test_y"), ("x", "y", "x_test", "y_test"))
"""Names of the arrays; the second set is that of MNIST-1D (Greydanus 2020, arXiv:2011.14439)."""
EXPECTED = {
    "image": "uint8 [n,h,w] or [n,h,w,c] with 1 to 4 channels",
    "float_image": "finite numbers [n,channels,h,w], no channel of which is constant",
    "vector": "finite numbers [n,d], no column of which is constant",
    "sequence": "finite numbers [n,length,channels], no channel of which is constant",
    "tokens": "integers [n,length], at least 0",
}
UNSHARE = "known = {row.tobytes() for row in train_x}; new = [row.tobytes() not in known for row in test_x]; test_x, test_y = test_x[new], test_y[new]"
VARYING = "varies = (train_x != train_x[:1]).reshape(-1, train_x.shape[-1]).any(axis=0); train_x, test_x = train_x[..., varies], test_x[..., varies]"


@register("arrays", family="arrays")
@dataclass(frozen=True, kw_only=True)
class Arrays(Task):
    """An npz with train_x, train_y, test_x, test_y (or x, y, x_test, y_test).

    Images are uint8 `[n, h, w]` or `[n, h, w, c]` and are standardised; vectors are numbers `[n, d]`, sequences
    numbers `[n, length, channels]` and images of floats numbers `[n, channels, h, w]`, taken as they are unless
    `standardise`; tokens are integers `[n, length]`, at least 0. Labels are integers 0 to C-1; targets to regress on are numbers `[n]` or `[n, outputs]`. All test rows are
    validation, 512 of them reference: drawn at random, the same rows in whatever order the file has them.

    Args:
        path: absolute, or relative to the data root.
        kind: `auto` takes uint8 of three or four axes for images, floats `[n, d]` for vectors, and
            integers wider than uint8 for tokens; `sequence` and `float_image` must be named.
        targets: `auto` takes integers for classes and floats for numbers.
        standardise: columns of vectors, channels of sequences and of `float_image`, and numbers to regress on, by
            (x - mean) / std of the training rows.
        shared_rows: take test rows whose inputs are those of a training row.
    """

    path: str
    kind: Literal["auto", "image", "float_image", "vector", "tokens", "sequence"] = "auto"
    targets: Literal["auto", "classes", "numbers"] = "auto"
    standardise: bool = False
    shared_rows: bool = False

    def content(self, root: Path) -> str:
        # The reference is part of it: of runs that were compared on the first test rows the file's digest was all.
        return hashlib.sha256(f"{sha256(root / self.path)}, reference drawn".encode()).hexdigest()

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        file = root / self.path
        do = "give arrays[path=...] a NumPy archive: absolute, or relative to --data-root"
        if not file.is_file():
            raise missing(file, root=root, do=do)
        try:
            arrays = _arrays(file)
        except Exception as error:  # zipfile, zlib, EOF, pickle: what a damaged archive raises varies
            raise damaged(
                file, error, expected="an npz archive with " + " or ".join(map(str, KEYS)), do=do
            ) from error
        return self._splits(file, arrays)

    def _splits(self, file: Path, arrays: Arrays4) -> Splits:
        train_x, train_y, test_x, test_y = arrays
        kind, do = self._kind(train_x), f"mend the arrays of {file.name}"
        try:
            _same_rows(arrays)
            train_t, test_t, outputs = self._targets(train_y, test_y)
        except ValueError as error:
            expected = "integer labels 0 to C-1, one per row, or finite numbers [n] or [n,outputs]"
            raise damaged(file, str(error), expected=expected, do=do) from error
        try:
            train, test, inputs = self._inputs(kind, train_x, test_x)
        except ValueError as error:
            if "constant" in str(error):
                do = VARYING if kind != "float_image" else "leave the channel out of all arrays"
            else:
                do = image_conversion(train_x) or do
            raise damaged(file, str(error), expected=EXPECTED[kind], do=do) from error
        self._refuse_shared(file, train_x, test_x)
        shown = torch.from_numpy(drawn(test_x, test_y, REFERENCE_ROWS))
        validation = Split(test, test_t)
        return Splits(Split(train, train_t), validation, validation.take(shown), inputs, outputs)

    def _kind(self, x: NDArray[Any]) -> str:
        where = f"arrays[path={self.path}]"
        if self.kind != "auto":
            return self.kind
        if x.dtype == np.uint8 and has_channels_at_either_end(x):
            raise BadParameter(
                "whether channels come first or last cannot be told",
                where=where,
                got=f"{x.dtype} of shape {list(x.shape)}",
                expected="channels last, uint8 [n,h,w,c]",
                do=f"if they come last, arrays[path={self.path},kind=image]; else x = x.transpose(0, 2, 3, 1) first",
            )
        if x.dtype == np.uint8 and x.ndim in (3, 4):
            return "image"
        if np.issubdtype(x.dtype, np.floating) and x.ndim == 2:
            return "vector"
        if np.issubdtype(x.dtype, np.integer) and x.dtype != np.uint8 and x.ndim == 2:
            return "tokens"
        told = f"arrays[path={self.path},kind=image|vector|tokens|sequence]"
        as_they_are = (
            f". Or take steps with channels: arrays[path={self.path},kind=sequence]" if x.ndim == 3 else ""
        )
        if x.ndim == 4 and np.issubdtype(x.dtype, np.floating):
            as_they_are = (
                f". Or take them as they are, channels first: arrays[path={self.path},kind=float_image]"
            )
        raise BadParameter(
            "the kind of input cannot be told",
            where=where,
            got=f"{x.dtype} of shape {list(x.shape)}",
            expected="uint8 [n,h,w] or [n,h,w,c], floats [n,d], or integers wider than uint8 [n,length]",
            do=image_conversion(x) + as_they_are if image_conversion(x) else told,
        )

    def _targets(self, train: NDArray[Any], test: NDArray[Any]) -> tuple[Tensor, Tensor, int]:
        """Classes int64 `[n]` or numbers float32 `[n, outputs]`, and how many. Raises `ValueError`."""
        floating = np.issubdtype(train.dtype, np.floating)
        if self.targets == "auto" and floating and are_whole(train):
            raise BadParameter(
                "whether targets are classes or numbers cannot be told",
                where=f"arrays[path={self.path}]",
                got=f"whole numbers alone, of type {train.dtype}",
                expected="integers for classes, floats for numbers to regress on",
                do=f"classes: y.astype(np.int64); numbers: arrays[path={self.path},targets=numbers]",
            )
        if self.targets == "classes" or not (floating or self.targets == "numbers"):
            classes = class_count(train, test)
            return torch.from_numpy(train.astype(np.int64)), torch.from_numpy(test.astype(np.int64)), classes
        if train.ndim not in (1, 2) or train.shape[1:] != test.shape[1:] or train.size == 0:
            raise ValueError(
                f"training targets of shape {list(train.shape)}, test targets {list(test.shape)}"
            )
        train, test = (y.reshape(len(y), -1) for y in (train, test))
        numbers = finite_numbers(train, test, "targets")
        refuse_constant(train)
        if self.standardise:
            numbers = standardised_columns(train, test)  # type: ignore[assignment]
        return *numbers, train.shape[1]

    def _inputs(self, kind: str, train: NDArray[Any], test: NDArray[Any]) -> tuple[Tensor, Tensor, InputSpec]:
        got = f"{train.dtype} of shape {list(train.shape)}"
        if kind == "image":
            if (
                train.dtype != np.uint8
                or train.ndim not in (3, 4)
                or (train.ndim == 4 and not 1 <= train.shape[3] <= 4)
            ):
                raise ValueError(got)
            a, b = standardised(train, test)
            return a, b, InputSpec("image", tuple(a.shape[1:]))
        if train.ndim != {"sequence": 3, "float_image": 4}.get(kind, 2) or 0 in train.shape:
            raise ValueError(got)
        if kind == "tokens":
            return self._tokens(train, test, got)
        if kind == "float_image":
            train, test = (x.transpose(0, 2, 3, 1) for x in (train, test))
        a, b = finite_numbers(train, test, "inputs")
        columns = [x.reshape(-1, x.shape[-1]) for x in (train, test)]
        refuse_constant(columns[0])
        if self.standardise:
            a, b = (x.reshape(y.shape) for x, y in zip(standardised_columns(*columns), (a, b), strict=True))
        if kind == "float_image":
            a, b = (x.permute(0, 3, 1, 2).contiguous() for x in (a, b))
            return a, b, InputSpec("image", tuple(a.shape[1:]))
        return a, b, InputSpec("sequence" if kind == "sequence" else "vector", tuple(a.shape[1:]))

    def _tokens(self, train: NDArray[Any], test: NDArray[Any], got: str) -> tuple[Tensor, Tensor, InputSpec]:
        if not np.issubdtype(train.dtype, np.integer):
            raise ValueError(got)
        if min(train.min(), test.min()) < 0:
            raise ValueError(f"the token {min(train.min(), test.min())}")
        vocabulary = int(max(train.max(), test.max())) + 1
        a, b = (torch.from_numpy(x.astype(np.int64)) for x in (train, test))
        return a, b, InputSpec("tokens", (train.shape[1],), vocabulary=vocabulary)

    def _refuse_shared(self, file: Path, train: NDArray[Any], test: NDArray[Any]) -> None:
        if self.shared_rows or not (pairs := shared_rows(train, test)):
            return
        test_row, train_row = pairs[0]
        raise DataUnavailable(
            "rows stand in both splits: what is memorised would count as generalised",
            where=str(file),
            got=f"{len(pairs)} of {len(test)} test rows, the first is {test_row}, equal to training row {train_row}",
            expected="test rows that no training row has the inputs of",
            do=f"leave them out: {UNSHARE}. Or take them: arrays[path={self.path},shared_rows=true]",
        )


def _arrays(file: Path) -> Arrays4:
    # Opened here: np.load leaves its own handle open where the archive is damaged.
    with file.open("rb") as opened:
        archive: Any = np.load(opened, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        for a, b, c, d in KEYS:
            if {a, b, c, d} <= set(archive.files):
                return archive[a], archive[b], archive[c], archive[d]
        raise ValueError(f"an archive with {', '.join(archive.files)}")


def _same_rows(arrays: Arrays4) -> None:
    train_x, train_y, test_x, test_y = arrays
    for name, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if x.shape[:1] != y.shape[:1]:
            raise ValueError(f"{name} inputs of shape {list(x.shape)} with labels of shape {list(y.shape)}")
    if train_x.shape[1:] != test_x.shape[1:] or train_x.dtype != test_x.dtype:
        raise ValueError(
            f"training inputs are {train_x.dtype} {list(train_x.shape)}, "
            f"test inputs {test_x.dtype} {list(test_x.shape)}"
        )
