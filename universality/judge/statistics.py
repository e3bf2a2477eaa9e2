"""Intervals for few or dependent replicates.

Groups of runs that share a seed, and cells that share an architecture or a task, are not
independent; each interval here says what it treats as the independent replicate. Each also says the
level that it really has where that is not the nominal 95 %, and `tests/judge/test_statistics.py` simulates both.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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


@dataclass(frozen=True, slots=True)
class Prevalence:
    """A share of cells, and the number of independent cells that its interval is worth."""

    estimate: float
    low: float
    high: float
    effective: float


@dataclass(frozen=True, slots=True)
class Pooled:
    """Mean over cells with its interval, the spread between cells on the claim's scale, and the
    interval in which the true value of a further cell is expected."""

    estimate: float
    low: float | None
    high: float | None
    between_sd: float
    prediction_low: float | None
    prediction_high: float | None
    cells: int


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
    if np.ptp(values) == 0 and n >= 2:
        # Kept apart so that rounding cannot push an exact value over a bound of its claim.
        value = float(values[0])
        return Interval(value, value, value, n, 0.0)
    estimate = float(x.mean())
    membership = np.array([[i not in block for i in range(len(x))] for block in blocks], dtype=float)
    if n < 2 or (membership.sum(axis=1) == 0).any():
        return Interval(back(estimate, scale), None, None, n, None)
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
    n = np.arange(2, limit + 1)
    clears = stats.t.ppf((1 + LEVEL) / 2, n - 1) * sd / np.sqrt(n) < gap
    return int(n[clears][0]) if clears.any() else None


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
        low = float(stats.beta.ppf(alpha, successes, failures + 1))
    if side != "lower" and failures > 0:
        high = float(stats.beta.ppf(1 - alpha, successes + 1, failures))
    return (0.0 if low is None else low, 1.0 if high is None else high)


def clopper_pearson_p(successes: float, trials: float, *, side: Literal["lower", "upper"]) -> float:
    """The level at which the one-sided bound of `clopper_pearson` touches one half.

    For whole counts, P(K >= k) (`lower`) or P(K <= k) (`upper`) of a fair coin.

    >>> clopper_pearson_p(5, 5, side="lower")  # 2^-5
    0.03125
    """
    failures = trials - successes
    if side == "lower":
        return float(stats.beta.cdf(0.5, successes, failures + 1)) if successes else 1.0
    return float(stats.beta.sf(0.5, successes + 1, failures)) if failures else 1.0


def t_quantile(degrees: float) -> float:
    """Standard errors from the middle of a 95 % interval to its bounds."""
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees))


def student_tail(distance: float, se: float, degrees: int) -> float:
    """P(T > distance / se) for Student's t.

    Without spread, 2^-n for the n = degrees + 1 replicates that all lie on one side, as a sign test
    has it: equal values are discrete, and Student's t would call any distance certain.
    """
    if se > 0:
        return float(stats.t.sf(distance / se, degrees))
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


def crossed_variance(values: Sequence[float], rows: Sequence[Hashable], columns: Sequence[Hashable]) -> float:
    """Variance of the mean of cells that are correlated along rows and along columns.

    With e the residuals and S_R = sum over clusters r of (sum_{i in r} e_i)^2, the two-way estimate is
    (c_R S_R + c_C S_C - c_n S_n) / n^2 where c_G = G/(G-1) (Cameron, Gelbach and Miller 2011).
    It can be negative or smaller than a one-way estimate by chance alone, so the largest of the
    three is returned. NaN with fewer than two rows or columns.
    """
    x = np.asarray(values, dtype=float)
    residuals = x - x.mean()
    n = len(x)

    def one_way(labels: Sequence[Hashable]) -> float:
        sums: dict[Hashable, float] = {}
        for label, residual in zip(labels, residuals, strict=True):
            sums[label] = sums.get(label, 0.0) + float(residual)
        count = len(sums)
        return math.nan if count < 2 else count / (count - 1) * sum(s * s for s in sums.values())

    by_row, by_column, by_cell = one_way(rows), one_way(columns), one_way(range(n))
    if math.isnan(by_row) or math.isnan(by_column):
        return math.nan
    return max(by_row + by_column - by_cell, by_row, by_column) / n**2


def prevalence(
    present: Sequence[bool], architectures: Sequence[Hashable], tasks: Sequence[Hashable]
) -> Prevalence:
    """Share of cells with an interval that respects shared architectures and tasks.

    Clopper-Pearson at the effective size p(1-p)/V (t_{n-1}/t_df)^2 with V from `crossed_variance`
    and df = min(A, T) - 1 (Korn and Graubard 1998), held between min(A, T) and n. The lower limit is sharp: with
    variance components a, t, e the variance a/A + t/T + e/n never exceeds (a+t+e)/min(A, T). It is
    also what is used where V is zero or undefined: at 0 %, at 100 %, with one architecture or task.

    Coverage at a nominal 95 % is never below it and mostly above, since few architectures and tasks are few
    replicates: 1 for 2 x 2 and 3 x 2 cells, .98 to 1 for 6 x 4, .96 to 1 for 10 x 5.

    Raises `MeasurementError` without cells.
    """
    n = len(present)
    if n == 0:
        raise MeasurementError("a share of no cells", expected="at least one decided cell")
    share = sum(present) / n
    least = float(min(len(set(architectures)), len(set(tasks))))
    variance = crossed_variance([float(p) for p in present], architectures, tasks)
    effective = least
    if variance > 0:
        ratio = t_quantile(n - 1) / t_quantile(least - 1)
        effective = share * (1 - share) / variance * ratio**2
        effective = min(max(effective, least), float(n))
    low, high = clopper_pearson(share * effective, effective)
    return Prevalence(share, low, high, effective)


def pool(
    values: Sequence[float],
    variances: Sequence[float],
    architectures: Sequence[Hashable],
    tasks: Sequence[Hashable],
    *,
    scale: Scale = "linear",
) -> Pooled:
    """Random-effects mean over cells with equal weights.

    Inverse-variance weights would be formed from variances of three to five seeds and follow their
    noise; equal weights keep the mean unbiased (Bonett 2008). On `scale`, with y the values and v
    the squared standard errors: tau^2 = max(0, var(y) - mean(v)) (Hedges and Olkin 1985), standard error
    from `crossed_variance`, bounds with t_df, df = min(A, T) - 1; prediction bounds
    mean +- t_df sqrt(se^2 + tau^2). Bounds are None with one architecture or one task, which
    say nothing of others.

    Coverage at a nominal 95 %, with three seeds a cell: mean .99 to 1 for 2 x 2 and 3 x 2 cells, .95 to 1 for
    6 x 4, .93 to .99 for 10 x 5, the low end where tasks alone differ; next cell .98 to 1, .95 to .99, .95 to .99.

    Raises `MeasurementError` for no cells, or values without meaning on the scale.
    """
    x = on_scale(values, scale)
    estimate, n = float(x.mean()), len(x)
    between = 0.0 if n < 2 else max(0.0, float(x.var(ddof=1)) - float(np.mean(variances)))
    variance = crossed_variance(x.tolist(), architectures, tasks)
    if math.isnan(variance):
        return Pooled(back(estimate, scale), None, None, math.sqrt(between), None, None, n)
    degrees = min(len(set(architectures)), len(set(tasks))) - 1
    quantile = t_quantile(degrees)
    half, reach = quantile * math.sqrt(variance), quantile * math.sqrt(variance + between)
    return Pooled(
        back(estimate, scale),
        back(estimate - half, scale),
        back(estimate + half, scale),
        math.sqrt(between),
        back(estimate - reach, scale),
        back(estimate + reach, scale),
        n,
    )


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
