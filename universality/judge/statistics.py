"""Intervals and tests for few or dependent replicates.

Groups of runs that share a seed are not independent; each interval here says what it treats as the independent
replicate, and the level that it really has where that is not the nominal 95 % (`tests/judge/test_statistics.py`
simulates both). Cells that share an architecture or a task stand in `judge/crossed.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from universality.errors import MeasurementError
from universality.plugin.bounds import Scale

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate in its own unit; bounds are None where the replicates give none.

    `units` counts independent replicates; `sd` is the standard deviation per replicate on the
    scale that the interval was formed on, so that the standard error is sd / sqrt(units).
    """

    estimate: float
    low: float | None
    high: float | None
    units: int
    sd: float | None

    @property
    def se(self) -> float | None:
        return None if self.sd is None else self.sd / math.sqrt(self.units)


def replicates(units: Sequence[tuple[str, ...]]) -> tuple[frozenset[int], ...]:
    """The groups that each independent replicate touches.

    Units that occur in exactly the same groups carry no separate information and are one replicate:
    n disjoint pairs of seeds are n replicates, all pairs among n seeds are n as well.

    >>> len(replicates([("0", "1"), ("2", "3")])), len(replicates([("0", "1"), ("0", "2"), ("1", "2")]))
    (2, 3)
    """
    groups_of: dict[str, set[int]] = {}
    for index, names in enumerate(units):
        for name in names:
            groups_of.setdefault(name, set()).add(index)
    return tuple(sorted({frozenset(groups) for groups in groups_of.values()}, key=sorted))


def effective_trials(units: Sequence[tuple[str, ...]]) -> float:
    """The independent trials that groups are worth of which some share units.

    n^2 / sum_{g,h} r_gh over all ordered pairs of n groups, with r_gh = |g & h| / sqrt(|g| |h|), the correlation
    of sums of independent effects of their units. For groups that share nothing it is n, for k groups of each of S
    seeds S, for all pairs of S seeds S/2. Source: Kish 1965, the design effect. Cost: O(units).

    >>> effective_trials([("0",), ("0",), ("1",), ("1",)])
    2.0
    >>> effective_trials([("0", "1"), ("0", "2"), ("1", "2")])
    1.5
    """
    loads: dict[str, float] = {}
    for names in map(set, units):
        for name in names:
            loads[name] = loads.get(name, 0.0) + len(names) ** -0.5
    n = len(units)
    # Rounded, so that disjoint pairs are worth their number and not its last digit less.
    return round(n * n / sum(load * load for load in loads.values()), 9) if n else 0.0


def jackknife_interval(
    values: Sequence[float], units: Sequence[tuple[str, ...]], *, scale: Scale = "linear"
) -> Interval:
    """Mean over groups, with the interval from leaving out one replicate at a time.

    With theta the mean of all groups and theta_(-u) the mean of those that do not touch u of U replicates,
    variance = (U-1)/U sum_u (theta_(-u) - mean theta_(-.))^2 and bounds theta +- t_{U-1} sqrt(variance).
    For disjoint groups this is Student's interval exactly. For a U-statistic (all pairs of seeds)
    the variance is biased upwards, never downwards (Efron and Stein 1981). On the log scale the estimate
    is the geometric mean.

    Replicates without any spread have an interval without width. That is right for what is determined,
    and wrong for a proportion that sits at 0 or 1: claim a share of runs (`claims.Most`) instead.

    Coverage at a nominal 95 % with 3 to 5 replicates: .95 for normal values and for log-normal ones on the
    log scale; .97 to .99 for pairs with noise of their own, which the upward bias makes wide. As with
    Student's interval it falls short for values that are not normal: .92 to .93 for uniform, .89 for
    exponential ones, .81 to .86 for (z_i - z_j)^2 / 2 among 3 to 8 normal draws; what is missing lies on
    the side of the long tail.

    Bounds are None with fewer than two replicates, or where one of them touches every group.
    Cost: O(groups x replicates). Source: Tukey 1958; Arvesen 1969 for U-statistics.

    Raises `MeasurementError` for values that are not finite, or not positive on the log scale.

    >>> jackknife_interval([1.0, 2.0, 3.0], [("0",), ("1",), ("2",)]).high
    4.484...
    """
    x = on_scale(values, scale)
    if len(units) != len(x):
        raise MeasurementError("values and units differ in number", got=f"{len(x)} and {len(units)}")
    blocks = replicates(units)
    n = len(blocks)
    estimate = float(x.mean())
    membership = np.array([[i not in block for i in range(len(x))] for block in blocks], dtype=float)
    if n < 2 or (membership.sum(axis=1) == 0).any():
        return Interval(back(estimate, scale), None, None, n, None)
    if np.ptp(values) == 0:
        # Kept apart so that rounding cannot push an exact value over a bound of its claim.
        value = float(values[0])
        return Interval(value, value, value, n, 0.0)
    without = membership @ x / membership.sum(axis=1)
    variance = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    half = t_quantile(n - 1) * math.sqrt(variance)
    return Interval(
        back(estimate, scale),
        back(estimate - half, scale),
        back(estimate + half, scale),
        n,
        math.sqrt(variance * n),
    )


def distances(value: float, low: float, high: float, scale: Scale) -> list[float]:
    """From `value` to each of its bounds that the scale has, on that scale."""
    log = scale == "log"
    scaled = math.log if log else float
    bounds = [b for b in (low, high) if math.isfinite(b) and not (log and b <= 0)]
    return [abs(scaled(value) - scaled(b)) for b in bounds]


def seeds_to_decide(
    estimate: float, sd: float, low: float, high: float, *, scale: Scale = "linear", limit: int = 1000
) -> int | None:
    """The fewest replicates at which the interval around `estimate` would clear the nearer bound.

    Smallest n with t_{n-1} sd / sqrt(n) < min |estimate - bound|, taking estimate and `sd` (per
    replicate, on `scale`) as true; None where more than `limit` would be needed.
    """
    gap = min(distances(estimate, low, high, scale), default=0.0)
    clears = _reach(limit) * sd < gap
    return int(clears.argmax()) + 2 if clears.any() else None


@lru_cache(maxsize=8)
def _reach(limit: int) -> Floats:
    """t_{n-1} / sqrt(n) for n = 2 to `limit`."""
    n = np.arange(2, limit + 1)
    reach: Floats = special.stdtrit(n - 1, (1 + LEVEL) / 2) / np.sqrt(n)
    return reach


def clopper_pearson(
    successes: float, trials: float, *, side: Literal["two-sided", "lower", "upper"] = "two-sided"
) -> tuple[float, float]:
    """Exact binomial bounds; one-sided ones spend all of the 5 % on their side.

    low = Beta^-1(alpha; k, n-k+1), high = Beta^-1(1-alpha; k+1, n-k). Fractional counts are taken as they
    are (Korn and Graubard 1998). Never below its level, and above it for few trials: .98 to 1 in place of
    .95 for 3 or 5. Source: Clopper and Pearson 1934.

    >>> clopper_pearson(5, 5, side="lower")[0]  # 0.05^(1/5)
    0.549...
    """
    if not 0 <= successes <= trials or trials <= 0:
        raise MeasurementError("no such share", got=f"{successes:g} of {trials:g}")
    alpha = (1 - LEVEL) / (2 if side == "two-sided" else 1)
    failures = trials - successes
    low = high = None
    if side != "upper" and successes > 0:
        low = float(special.betaincinv(successes, failures + 1, alpha))
    if side != "lower" and failures > 0:
        high = float(special.betaincinv(successes + 1, failures, 1 - alpha))
    return (0.0 if low is None else low, 1.0 if high is None else high)


def clopper_pearson_p(successes: float, trials: float, *, side: Literal["lower", "upper"]) -> float:
    """The level at which the one-sided bound of `clopper_pearson` touches one half.

    For whole counts, P(K >= k) (`lower`) or P(K <= k) (`upper`) of a fair coin.

    >>> clopper_pearson_p(5, 5, side="lower")  # 2^-5
    0.03125
    """
    failures = trials - successes
    if side == "lower":
        return float(special.betainc(successes, failures + 1, 0.5)) if successes else 1.0
    return float(special.betainc(failures, successes + 1, 0.5)) if failures else 1.0


def t_quantile(degrees: float) -> float:
    """Standard errors from the middle of a 95 % interval to its bounds."""
    return float(special.stdtrit(degrees, (1 + LEVEL) / 2))


def student_tail(distance: float, se: float, degrees: int) -> float:
    """P(T > distance / se) for Student's t.

    Without spread, 2^-n for the n = degrees + 1 replicates that all lie on one side, as a sign test
    has it: equal values are discrete, and Student's t would call any distance certain.
    """
    if se > 0:
        return float(special.stdtr(degrees, -distance / se))
    return 0.5 ** (degrees + 1) if distance > 0 else 0.5


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Step-down corrected p-values: max over smaller ones of (m - rank) p; None counts as 1.

    Source: Holm 1979. Holds under any dependence.

    >>> holm([0.01, 0.04, None])
    [0.03, 0.08, 1.0]
    """
    p = [1.0 if value is None else value for value in p_values]
    corrected, worst = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = worst
    return corrected


def on_scale(values: Sequence[float], scale: Scale) -> Floats:
    """The values, their logarithms on a log scale. Raises `MeasurementError` for what has no meaning there."""
    positive = scale == "log"
    x = np.asarray(values, dtype=float)
    if len(x) == 0:
        raise MeasurementError("an estimate from no values")
    bad = x[~np.isfinite(x) | (positive & (x <= 0))]
    if len(bad):
        raise MeasurementError(
            "a value without meaning on this scale",
            got=f"{bad[0]:g}",
            expected="finite and positive" if positive else "finite",
        )
    return np.log(x) if positive else x


def back(value: float, scale: Scale) -> float:
    """A value on the scale in its own unit."""
    if scale == "linear":
        return value
    return math.exp(value) if value < 700 else math.inf
