"""Where a quantity settles after it has risen to a level: sharpness at the edge of stability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class Settling:
    """When a series crossed a level upwards, and what it and the loss did in the last half of what followed.

    Attributes:
        start: first recorded step at or above the level with an earlier record below it; infinite without one.
        left: share of the steps that lie behind `start`; 0 without one.
        highest: the largest value after the first record below the level; -infinity without such a record.
        low, median, high: 10, 50 and 90 % quantile over the window.
        rising: share of single steps of the window on which the loss rises.
        falling: mean loss of the last tenth of all steps over that of the first tenth. Not from `start` on: at a
            constant rate an adaptive optimizer may have reached the floor of its loss by then.
    """

    start: float
    left: float
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
    be the initialisation. What follows a crossing begins with an overshoot (of four times the level in LSTMs), which
    is no part of where a series settles: the window is the last half, from (start + last step) / 2 on. `loss` holds
    one number for each update. Raises nothing: without a crossing `start` is infinite. Source: the protocol of Cohen
    et al. 2021, arXiv:2103.00065, section 3.

    Cost: O(n + updates).

    >>> settling(np.array([0, 1, 2, 3, 4]), np.array([9.0, 0.5, 4.0, 1.2, 1.0]), np.ones(4), level=0.95).median
    1.1
    """
    below = np.flatnonzero(values < level)
    if not len(below):
        return Settling(math.inf, 0.0, -math.inf)
    after = values[below[0] :]
    reached = np.flatnonzero(after >= level)
    if not len(reached):
        return Settling(math.inf, 0.0, float(after.max()))
    start, last = int(steps[below[0] + reached[0]]), int(steps[-1])
    middle = (start + last) / 2
    low, median, high = np.quantile(values[steps >= middle], [0.1, 0.5, 0.9])
    window, tenth = loss[math.ceil(middle) :], max(1, len(loss) // 10)
    return Settling(
        float(start),
        (last - start) / last,
        float(after.max()),
        float(low),
        float(median),
        float(high),
        float(np.mean(np.diff(window) > 0)) if len(window) > 1 else math.nan,
        float(loss[-tenth:].mean() / loss[:tenth].mean()),
    )
