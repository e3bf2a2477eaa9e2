"""Bring your own arrays: classification from one NumPy archive."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    class_count,
    damaged,
    drawn,
    missing,
    sha256,
    split,
    standardised,
)

Arrays4 = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

KEYS = (("train_x", "train_y", "test_x", "test_y"), ("x", "y", "x_test", "y_test"))
"""Names of the arrays; the second set is that of MNIST-1D (Greydanus 2020, arXiv:2011.14439)."""


@register("arrays", family="arrays")
@dataclass(frozen=True, kw_only=True)
class Arrays(Task):
    """An npz with train_x, train_y, test_x, test_y (or x, y, x_test, y_test).

    Images are uint8 `[n, h, w]` or `[n, h, w, c]` and are standardised; vectors are numbers
    `[n, d]`, taken as they are; tokens are integers `[n, length]`, at least 0. Labels are
    integers 0 to C-1. All test rows are validation, 512 of them reference: drawn at
    random, the same rows in whatever order the file has them.

    Args:
        path: absolute, or relative to the data root.
        kind: `auto` takes uint8 of three or four axes for images, floats for vectors, and
            integers wider than uint8 for tokens.
    """

    path: str
    kind: Literal["auto", "image", "vector", "tokens"] = "auto"

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
        train_x, train_y, test_x, test_y = arrays
        kind = self._kind(train_x)
        do = f"mend the arrays of {file.name}"
        try:
            _same_rows(arrays)
            classes = class_count(train_y, test_y)
        except ValueError as error:
            raise damaged(file, str(error), expected="integer labels 0 to C-1, one per row", do=do) from error
        try:
            train, test, inputs = _inputs(kind, train_x, test_x)
        except ValueError as error:
            raise damaged(file, str(error), expected=EXPECTED[kind], do=_convert(train_x) or do) from error
        shown = drawn(test_x, test_y, REFERENCE_ROWS)
        reference = split(test[shown], test_y[shown])
        return Splits(split(train, train_y), split(test, test_y), reference, inputs, classes)

    def _kind(self, x: NDArray[Any]) -> str:
        if self.kind != "auto":
            return self.kind
        if x.dtype == np.uint8 and x.ndim in (3, 4):
            return "image"
        if np.issubdtype(x.dtype, np.floating) and x.ndim == 2:
            return "vector"
        if np.issubdtype(x.dtype, np.integer) and x.dtype != np.uint8 and x.ndim == 2:
            return "tokens"
        raise BadParameter(
            "the kind of input cannot be told",
            where=f"arrays[path={self.path}]",
            got=f"{x.dtype} of shape {list(x.shape)}",
            expected="uint8 [n,h,w] or [n,h,w,c], floats [n,d], or integers wider than uint8 [n,length]",
            do=_convert(x) or f"arrays[path={self.path},kind=image|vector|tokens]",
        )


EXPECTED = {
    "image": "uint8 [n,h,w] or [n,h,w,c] with 1 to 4 channels",
    "vector": "finite numbers [n,d]",
    "tokens": "integers [n,length], at least 0",
}


def _convert(x: NDArray[Any]) -> str:
    """What makes an input that we take of `x`, where it has the axes of images, but not their type or order."""
    if x.ndim not in (3, 4) or x.size == 0 or not np.issubdtype(x.dtype, np.number):
        return ""
    steps = []
    if x.ndim == 4 and x.shape[3] > 4 >= x.shape[1]:
        steps.append("x = x.transpose(0, 2, 3, 1)")
    if x.dtype != np.uint8:
        low, high = x.min(), x.max()
        levels = "x" if low >= 0 and 1 < high <= 255 else "x * 255"
        if low < 0 or high > 255:
            levels = "(x - x.min()) / (x.max() - x.min()) * 255"
        steps.append(f"x = np.rint({levels}).astype(np.uint8)")
    vectors = "vectors of all arrays: x.reshape(len(x), -1)"
    channels = x.ndim == 4 and min(x.shape[1], x.shape[3]) > 4
    if not steps or channels:
        return f"make {vectors}" if channels else ""
    return (
        f"make images of all arrays, with limits of the training rows: {'; '.join(steps)}. Or make {vectors}"
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


def _inputs(
    kind: str, train: NDArray[Any], test: NDArray[Any]
) -> tuple[torch.Tensor, torch.Tensor, InputSpec]:
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
    if train.ndim != 2 or train.shape[1] == 0:
        raise ValueError(got)
    if kind == "tokens":
        if not np.issubdtype(train.dtype, np.integer):
            raise ValueError(got)
        if min(train.min(), test.min()) < 0:
            raise ValueError(f"the token {min(train.min(), test.min())}")
        vocabulary = int(max(train.max(), test.max())) + 1
        a, b = (torch.from_numpy(x.astype(np.int64)) for x in (train, test))
        return a, b, InputSpec("tokens", (train.shape[1],), vocabulary=vocabulary)
    if not (np.issubdtype(train.dtype, np.integer) or np.issubdtype(train.dtype, np.floating)):
        raise ValueError(got)
    with np.errstate(over="ignore"):
        a, b = (torch.from_numpy(x.astype(np.float32)) for x in (train, test))
    for name, x in (("training", a), ("test", b)):
        bad = (~torch.isfinite(x)).sum().item()
        if bad:
            raise ValueError(f"{bad} of the {name} inputs are not finite in float32")
    return a, b, InputSpec("vector", (train.shape[1],))
