"""Where a quantity settles after it has risen to a level: sharpness at the edge of stability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class Settling:
    """Steps at which a series crossed a level upwards, and what it and the loss did from then on.

    Attributes:
        start: first recorded step at or above the level with an earlier record below it; infinite without one.
        highest: the largest value after the first record below the level; -infinity without such a record.
        low, median, high: 10, 50 and 90 % quantile from `start` on.
        rising: share of single steps on which the loss rises.
        falling: mean loss of the last tenth over that of the first.
    """

    start: float
    highest: float
    low: float = math.nan
    median: float = math.nan
    high: float = math.nan
    rising: float = math.nan
    falling: float = math.nan


@measure
def settling(
    steps: Int[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    loss: Float[np.ndarray, " updates"],
    *,
    level: float,
) -> Settling:
    """How `values`, recorded at `steps`, settle behind their first upward crossing of `level`.

    Adaptive optimizers start above their stability threshold, fall and rise again: "the first time above" would
    be the initialisation. `loss` holds one number for each update; the window begins with that of step `start`.
    Raises nothing: without a crossing `start` is infinite. Source: the protocol of Cohen et al. 2021,
    arXiv:2103.00065, section 3.

    Cost: O(n + updates).

    >>> settling(np.array([0, 1, 2, 3]), np.array([9.0, 0.5, 1.0, 1.2]), np.ones(4), level=0.95).start
    2.0
    """
    below = np.flatnonzero(values < level)
    if not len(below):
        return Settling(math.inf, -math.inf)
    after = values[below[0] :]
    reached = np.flatnonzero(after >= level)
    if not len(reached):
        return Settling(math.inf, float(after.max()))
    first = below[0] + reached[0]
    start = int(steps[first])
    low, median, high = np.quantile(values[first:], [0.1, 0.5, 0.9])
    window = loss[start:]
    tenth = max(1, len(window) // 10)
    enough = len(window) > 1
    return Settling(
        float(start),
        float(after.max()),
        float(low),
        float(median),
        float(high),
        float(np.mean(np.diff(window) > 0)) if enough else math.nan,
        float(window[-tenth:].mean() / window[:tenth].mean()) if enough else math.nan,
    )
