"""Questions to arrays that somebody else made, before anything is trained on them: each answer says what to do.

Axes: n = rows, d = numbers in a row or in a step.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def shared_rows(train: NDArray[Any], test: NDArray[Any]) -> list[tuple[int, int]]:
    """Pairs of row numbers (test, training) with equal inputs, bit for bit; of each test row the last such pair.

    Cost: a digest of every row.

    >>> shared_rows(np.array([[1, 2], [3, 4]]), np.array([[3, 4], [5, 6]]))
    [(0, 1)]
    """
    digests = [
        [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(x)]
        for x in (train, test)
    ]
    known = {digest: row for row, digest in enumerate(digests[0])}
    return [(row, known[digest]) for row, digest in enumerate(digests[1]) if digest in known]


def has_channels_at_either_end(x: NDArray[Any]) -> bool:
    """Whether images `[n, ., ., .]` may be channels first or last: one to four numbers stand at both places.

    >>> [has_channels_at_either_end(np.zeros(shape)) for shape in ((9, 3, 4, 3), (9, 3, 32, 32), (9, 28, 28))]
    [True, False, False]
    """
    return x.ndim == 4 and 1 <= x.shape[1] <= 4 and 1 <= x.shape[3] <= 4


def image_conversion(x: NDArray[Any]) -> str:
    """What makes images uint8 `[n, h, w, c]` of `x`, where it has the axes of images, but not their type or order."""
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


def finite_numbers(train: NDArray[Any], test: NDArray[Any], what: str) -> tuple[Tensor, Tensor]:
    """Float32 of integers or floating-point numbers; raises `ValueError` where one has no finite float32."""
    tensors = []
    for name, x in (("training", train), ("test", test)):
        if not (np.issubdtype(x.dtype, np.integer) or np.issubdtype(x.dtype, np.floating)):
            raise ValueError(f"{name} {what} are {x.dtype} of shape {list(x.shape)}")
        with np.errstate(over="ignore"):
            tensors.append(torch.from_numpy(x.astype(np.float32)))
        if bad := int((~torch.isfinite(tensors[-1])).sum()):
            raise ValueError(f"{bad} of the {name} {what} are not finite in float32")
    return tensors[0], tensors[1]


def are_whole(targets: NDArray[Any]) -> bool:
    """Whether floating-point targets are whole numbers alone, as labels are that a program wrote as floats."""
    return np.issubdtype(targets.dtype, np.floating) and bool((targets == np.rint(targets)).all())
