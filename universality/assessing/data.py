"""Data of a notebook as the archive that the task `arrays` reads."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from universality.errors import BadParameter, UniversalityError, described
from universality.plugin.kit.raw_arrays import image_conversion
from universality.plugin.randomness import seeded
from universality.watching.rows import EXPECTED as PAIRS
from universality.watching.rows import take_rows

WHERE = "assess, data"
KEYS = ("train_x", "train_y", "test_x", "test_y")
EXPECTED = "(x, y, x_test, y_test), arrays or tensors, or (train, test), two loaders or data sets"

Arrays = Mapping[str, NDArray[Any]]


def arrays_of(data: Any, notes: list[str] | None = None) -> Arrays:
    """The arrays by the names of `KEYS`; where a loader draws other rows at each pass, a sentence is added to the notes.

    A loader or a data set is gone through once, random generators are as they were; its rows are put into an order of
    their own, so that a loader that shuffles gives the same data each time. Inside a pass the global generators start
    at a seed, for training and test rows another one: both would else begin where they stand now, and rows that are
    drawn would be the same ones in both.

    Raises:
        BadParameter: anything but what `EXPECTED` says.
    """
    parts = list(data) if isinstance(data, tuple | list) else []
    if len(parts) == 4:
        return {key: _array(part, key) for key, part in zip(KEYS, parts, strict=True)}
    if len(parts) != 2 or any(isinstance(part, Tensor | np.ndarray) for part in parts):
        single = len(parts) == 2
        raise BadParameter(
            "data without rows to test on" if single else "data of another form",
            where=WHERE,
            got="two arrays"
            if single
            else f"{type(data).__name__} of {len(parts)}"
            if parts
            else type(data).__name__,
            expected=EXPECTED,
            do="hold rows out: data=(x[:n], y[:n], x[n:], y[n:])",
        )
    arrays: dict[str, NDArray[Any]] = {}
    for seed, (name, part) in enumerate(zip(("train", "test"), parts, strict=True)):
        if isinstance(part, tuple | list) and len(part) == 2:
            pair = [_array(each, f"{name}_{axis}") for axis, each in zip("xy", part, strict=True)]
        else:
            with seeded(seed):
                pair = _rows(part, name, [] if notes is None else notes)
        arrays |= dict(zip((f"{name}_x", f"{name}_y"), pair, strict=True))
    return arrays


def _array(value: Any, key: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        return np.ascontiguousarray(value.numpy())
    array = np.asarray(value)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise BadParameter(
            "data that is no numbers",
            where=f"{WHERE}, {key}",
            got=f"{type(value).__name__} of {array.dtype}",
            expected=EXPECTED,
            do="encode texts and categories as whole numbers first",
        )
    return np.ascontiguousarray(array)


def _rows(part: Any, name: str, notes: list[str]) -> list[NDArray[Any]]:
    where = f"{WHERE}, {name}"
    loader = DataLoader(part, batch_size=256) if isinstance(part, Dataset) else part
    try:
        taken = take_rows(loader, sys.maxsize, torch.device("cpu"), where=where)
    except UniversalityError as error:
        if error.expected == PAIRS:
            error.expected = EXPECTED
        raise
    except Exception as error:
        raise BadParameter(
            "data that cannot be gone through",
            where=where,
            got=described(error),
            expected="batches (inputs, targets) of tensors",
            do="give the data set a transform that makes tensors of its rows",
        ) from error
    if taken.redrawn:
        notes.append(f"{name} rows: the loader {taken.redrawn}, and every run has them")
    x, y = taken.split.inputs.numpy(), taken.split.targets.numpy()
    digests = [hashlib.sha256(a.tobytes() + b.tobytes()).digest() for a, b in zip(x, y, strict=True)]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return [x[order], y[order]]


def kind_of(arrays: Arrays) -> str:
    """The kind to ask of `arrays` where the user named none: `auto`, but for images of floating-point numbers.

    Raises:
        BadParameter: floating-point numbers that may be images or sequences, or images with channels last.
    """
    x = arrays["train_x"]
    if not np.issubdtype(x.dtype, np.floating) or x.ndim not in (3, 4):
        return "auto"
    first_or_last = x.ndim == 4 and x.shape[1] > 4 >= x.shape[3]
    if x.ndim == 4 and not first_or_last:
        return "float_image"
    raise BadParameter(
        "whether channels come first or last cannot be told"
        if first_or_last
        else "whether rows are sequences or images cannot be told",
        where=WHERE,
        got=f"{x.dtype} of shape {list(x.shape)}",
        expected="images [n,channels,h,w], sequences [n,length,channels]",
        do='x.transpose(0, 3, 1, 2) of all inputs; if they come first, kind="float_image"'
        if first_or_last
        else f'kind="sequence", or images: x[:, None]. Or bytes: {image_conversion(x)}',
    )


def archive(arrays: Arrays) -> bytes:
    """An npz of the arrays; equal arrays make equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
