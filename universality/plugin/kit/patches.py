"""Cuts of an example into a sequence of equal pieces; none of them has parameters.

Axes: rows = examples, length = pieces, size = numbers in a piece.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn


def patch_side(side: int) -> int:
    """The divisor of `side` nearest, as a ratio, to a quarter of it (the smaller one of two).

    >>> [patch_side(side) for side in (8, 28, 32, 1, 13)]
    [2, 7, 8, 1, 1]
    """
    divisors = [d for d in range(1, side + 1) if side % d == 0]
    return min(divisors, key=lambda d: (abs(math.log(4 * d / side)), d))


class Patches(nn.Module):
    """Images `[rows, channels, height, width]` -> patches `[rows, length, channels * p * q]`, row by row.

    p and q follow `patch_side` for the height and the width, each on its own.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.patch = (patch_side(height), patch_side(width))
        self.length = (height // self.patch[0]) * (width // self.patch[1])
        self.size = channels * self.patch[0] * self.patch[1]

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows length size"]:
        p, q = self.patch
        rows, channels, height, width = x.shape
        # [n, c, H, p, W, q] -> [n, H, W, c, p, q]
        grid = x.reshape(rows, channels, height // p, p, width // q, q).permute(0, 2, 4, 1, 3, 5)
        return grid.reshape(rows, self.length, self.size)


class Rows(nn.Module):
    """Images `[rows, channels, height, width]` -> their pixel rows `[rows, height, channels * width]`."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.length = height
        self.size = channels * width

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows length size"]:
        return x.transpose(1, 2).flatten(2)


class Chunks(nn.Module):
    """Vectors `[rows, d]` -> chunks `[rows, length, size]` with size = ceil(sqrt(d)), as many as needed.

    The last chunk is filled up with zeros.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.size = math.isqrt(features - 1) + 1
        self.length = -(-features // self.size)

    def forward(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows length size"]:
        missing = self.length * self.size - x.shape[1]
        return nn.functional.pad(x, (0, missing)).reshape(-1, self.length, self.size)
