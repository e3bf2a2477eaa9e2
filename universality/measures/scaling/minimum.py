"""Where a noisy curve has its minimum: the best learning rate, or decay, of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class Minimum:
    """A parabola's vertex; `beyond`: points on the side of it that has fewer, 0 where it is no minimum."""

    at: float
    curvature: float
    beyond: int


@measure
def smooth_minimum(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, scale: float = 1.0) -> Minimum:
    """Vertex of the parabola with the least sum of w_i (y_i - a x_i^2 - b x_i - c)^2, w_i = (1 + (y_i - min y) / scale)^-4.

    Every point counts, and the less the farther it lies above the least, so that the vertex moves continuously with y,
    where the smallest of the points jumps by whole steps of the grid, and a parabola through it and its neighbours with it.
    It is exact for a parabola; a curve that is steeper on one side shifts it, by the same amount in curves of one shape.

    Args:
        scale: how far above the least y a point still counts much.

    Cost: O(n).

    Raises:
        MeasurementError: fewer than 4 points, numbers that are not finite, x that repeat.

    Source: local weighted polynomials, Cleveland 1979 (JASA 74).

    >>> smooth_minimum(np.arange(6.0), 3 * (np.arange(6.0) - 2.2) ** 2).beyond
    3
    """
    if len(x) < 4 or len(np.unique(x)) < len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MeasurementError(
            "no curve to find the minimum of",
            where="smooth_minimum",
            got=f"{len(x)} points, {len(np.unique(x))} different x",
            expected="4 or more finite points, each x once",
        )
    middle = float(np.mean(x))
    a, b, _ = np.polyfit(x - middle, y, 2, w=(1 + (y - y.min()) / scale) ** -2.0)
    if a <= 0:
        return Minimum(math.nan, float(a), 0)
    at = middle - b / (2 * a)
    return Minimum(float(at), float(a), int(min((x < at).sum(), (x > at).sum())))
