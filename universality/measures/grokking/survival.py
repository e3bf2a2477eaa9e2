"""The median of times of which some are only known to be longer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from universality.errors import MeasurementError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Survival:
    """Kaplan-Meier median; None where fewer than half of the events were seen."""

    median: float | None
    low: float
    high: float


def kaplan_meier_median(
    values: Sequence[int | float], censored: Sequence[bool], *, level: float = 0.95, least: float = 0.0
) -> Survival:
    """Median of values of which the censored ones are lower bounds.

    median = min{t : S(t) <= 1/2} of the Kaplan-Meier curve, S compared up to its rounding; its bounds are where the
    log-log bounds of S cross 1/2 (Brookmeyer and Crowley 1982). `high` is infinite where the upper one does not within
    what was observed. All n values exceed the median with probability 2^-n: while that is above
    1 - level (n < 5 at 95 %) there is no lower bound but `least`, which all values exceed by nature; beyond, with nothing but censored
    values, it is their minimum.

    Coverage at a nominal 95 %: 1 for 3 values, whose interval has no end on either side; .93 to .96 for 5;
    .94 to .98 for 10 and 20, censored or not.

    Raises `MeasurementError` for values that are not finite, or not above `least`: 0 for times and ratios, -inf for what
    may have any sign.
    """
    x = np.asarray(values, dtype=float)
    if len(x) == 0:
        raise MeasurementError("an estimate from no values")
    bad = x[~(np.isfinite(x) & (x > least))]
    if len(bad):
        raise MeasurementError(
            "a value without meaning on this scale", got=f"{bad[0]:g}", expected=f"finite and above {least:g}"
        )
    late = np.asarray(censored, dtype=bool)
    few = 0.5 ** len(x) > 1 - level
    if late.all():
        return Survival(None, least if few else float(x.min()), math.inf)
    curve = stats.ecdf(stats.CensoredData(uncensored=x[~late], right=x[late])).sf
    with warnings.catch_warnings():
        # Greenwood's variance is 0/0 at S = 0 and S = 1; both are settled below.
        warnings.simplefilter("ignore", RuntimeWarning)
        bounds = curve.confidence_interval(confidence_level=level, method="log-log")
    lower = np.where(np.isnan(bounds.low.probabilities), curve.probabilities, bounds.low.probabilities)
    upper = np.where(np.isnan(bounds.high.probabilities), 1.0, bounds.high.probabilities)
    # A product of m factors (n - d) / n is off by less than 2 m eps of itself: 12 events of 24 give 0.5 + 1e-16.
    rounding = 2 * len(curve.quantiles) * np.finfo(float).eps
    median = _first(curve.quantiles, curve.probabilities <= 0.5 * (1 + rounding))
    low = least if few else _first(curve.quantiles, lower <= 0.5)
    high = _first(curve.quantiles, upper <= 0.5)
    return Survival(median, float(x.max()) if low is None else low, math.inf if high is None else high)


def _first(values: Floats, where: NDArray[np.bool_]) -> float | None:
    return float(values[where][0]) if where.any() else None
