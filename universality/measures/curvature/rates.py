"""What settles at several learning rates: whether it follows a threshold that is inverse to the rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from universality.measures.curvature.settling import Settling


@dataclass(frozen=True, slots=True)
class AcrossRates:
    """Where quantity / threshold settles, at the rates at which it reached the threshold in time.

    Attributes:
        values: median by divisor (largest rate / rate), of these rates alone, from the largest to the smallest.
        smallest: what happened at the smallest of them; a series that never crossed without any.
        slope: d log value / d log divisor by least squares. 0 where the quantity follows the threshold, -1 where it
            is the same at every rate. NaN with fewer than two rates or a value that is not positive.
        nearer: how much of its way into the bounds the value has made by the last step to a smaller rate, over what
            is left: 0 where it lies inside, and at 1 or more another such step leads inside. NaN below two rates.
    """

    values: Mapping[float, float]
    smallest: Settling
    slope: float
    nearer: float


def across_rates(found: Mapping[float, Settling], *, low: float, high: float, left: float) -> AcrossRates:
    """Compare what settled at several rates, by divisor, with the bounds [low, high] of the smallest.

    At a large rate the value may lie off the threshold because of the rate (overshoots, several unstable directions);
    at one rate alone it may lie on it by chance. A rate counts where at least the share `left` of its steps lies
    behind the crossing. Raises nothing: where too few count, numbers are NaN. Source: Cohen et al. 2021,
    arXiv:2103.00065, section 3, where one network is trained at several rates.

    Cost: none; a few comparisons of each rate.

    >>> at = {k: Settling(1.0, 0.9, 1.5, median=m) for k, m in {1.0: 1.3, 2.0: 1.2}.items()}
    >>> compared = across_rates(at, low=0.9, high=1.15, left=0.3)
    >>> round(compared.slope, 3), round(compared.nearer, 3)
    (-0.115, 2.0)
    """
    counted = sorted(divisor for divisor, settled in found.items() if settled.left >= left)
    values = {divisor: found[divisor].median for divisor in counted}
    smallest = found[counted[-1]] if counted else Settling(math.inf, 0.0, -math.inf)
    if len(counted) < 2:
        return AcrossRates(values, smallest, math.nan, math.nan)
    slope = math.nan
    if min(values.values()) > 0:
        slope = float(np.polyfit(np.log(counted), np.log(list(values.values())), 1)[0])
    before, now = (values[divisor] for divisor in counted[-2:])
    outside = max(low - now, now - high)
    nearer = 0.0 if outside <= 0 else (before - now if now > high else now - before) / outside
    return AcrossRates(values, smallest, slope, nearer)
