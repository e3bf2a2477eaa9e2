"""The slope of a law in log-log, with its interval and its bend.

sizes: rows. seeds: columns, one per replicate of the whole sweep; a column may share its seed across
sizes, so its entries may be correlated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy import stats
from torch import Tensor

from universality.measures.ambient import measure
from universality.measures.scaling.fits import logs, repeated_columns
from universality.measures.scaling.forms import Floats

BEND = 0.25
"""A slope may change by this much over its range and still be called one slope."""


@dataclass(frozen=True, slots=True)
class LogSlope:
    """d ln y / d ln x with its interval; `bend` is the change of the local slope over the range."""

    slope: float
    low: float | None
    high: float | None
    level: float
    local: tuple[float, ...]
    bend: float
    bend_low: float | None
    bend_high: float | None
    decades: float
    supported: bool
    reason: str


@measure
def log_slope(x: Real[Tensor, " sizes"], y: Float[Tensor, "sizes seeds"], *, level: float = 0.95) -> LogSlope:
    """Least-squares slope of ln y against ln x.

    The slope is linear in y, so that of the geometric means is the mean of the seeds' slopes b_s,
    and b +- t_{S-1} sd(b_s) / sqrt(S) is exact for normal b_s, however a seed's entries are
    correlated across sizes: the seed is the cluster. With one seed the residuals have to serve,
    with t_{k-2}: exact for independent errors of equal log variance. Theil-Sen is not used: it has no
    clusters, and its distribution-free 95 % interval from five sizes is the whole range of pairwise slopes.

    `bend` = 2 q (max ln x - min ln x), with q the coefficient of the square in a parabola, has its
    interval by the same method. Not supported, with a reason: under a decade of x, or a bend that is
    significant and above 0.25, where no single slope describes the data; two columns that are
    equal up to a factor and rounding, which are one replicate and leave no interval.

    Cost: O(sizes seeds), and sorting the seeds.

    Raises:
        MeasurementError: no real tensors, fewer than 3 sizes (4 with one seed), sizes that repeat, values
            that are not finite and positive, or shapes that do not match.

    Source: Student 1908 for the interval; clusters: Liang and Zeger 1986.

    >>> import torch
    >>> x = torch.tensor([1.0, 10.0, 100.0])
    >>> fit = log_slope(x, torch.stack([3 * x**-0.99, 4 * x**-1.01], dim=1))
    >>> round(fit.slope, 4), round(fit.high, 3), fit.supported  # -1 + t_1 0.01, t_1 = 12.706
    (-1.0, -0.873, True)
    """
    u, Y = logs(x, y, 4 if getattr(y, "shape", ())[1:] == (1,) else 3, "log_slope", level)
    straight, square = np.polyfit(u - u.mean(), Y, 1)[0], np.polyfit(u - u.mean(), Y, 2)[0]
    reach = float(u[-1] - u[0])
    low, high = _mean_interval(u, Y, straight, 1, level)
    slope, bend = float(straight.mean()), float(square.mean()) * 2 * reach
    edges = [bound * 2 * reach for bound in _mean_interval(u, Y, square, 2, level)]
    local = tuple((np.diff(Y.mean(1)) / np.diff(u)).tolist())
    decades, reason, repeated = reach / math.log(10), "", repeated_columns(Y, y.dtype)
    if decades < 1 - 1e-9:
        reason = f"{decades:.2f} decades of x are too few for a slope"
    elif edges[0] * edges[1] > 0 and abs(bend) > BEND:
        reason = f"the slope changes by {bend:.2f} over the range"
    if repeated:
        reason = f"{reason}; {repeated}" if reason else repeated
        return LogSlope(slope, None, None, level, local, bend, None, None, decades, False, reason)
    return LogSlope(slope, low, high, level, local, bend, edges[0], edges[1], decades, not reason, reason)


def _mean_interval(u: Floats, Y: Floats, per_seed: Floats, degree: int, level: float) -> tuple[float, float]:
    """Student's interval of the mean of a leading polynomial coefficient over seeds (or from residuals)."""
    k, S = Y.shape
    x = u - u.mean()
    if S > 1:
        df, error = S - 1, float(per_seed.std(ddof=1)) / math.sqrt(S)
    else:
        df = k - degree - 1
        design = np.vander(x, degree + 1)
        left = Y[:, 0] - design @ np.polyfit(x, Y[:, 0], degree)
        inverse = np.linalg.inv(design.T @ design)[0, 0]
        error = math.sqrt(float(left @ left) / df * float(inverse)) if df else math.inf
    half = float(stats.t.ppf((1 + level) / 2, max(df, 1))) * error
    return float(per_seed.mean()) - half, float(per_seed.mean()) + half
