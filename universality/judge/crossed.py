"""Estimates over cells, which share architectures and tasks: how prevalent a claim is, and its pooled effect.

`tests/judge/test_crossed.py` simulates the coverage that the docstrings state.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from universality.errors import MeasurementError
from universality.judge.statistics import Floats, back, clopper_pearson, on_scale, t_quantile
from universality.plugin.bounds import Scale

Indices = NDArray[np.intp]

SHARED = 0.3
"""Correlation of two verdicts of one architecture (of one task) that is assumed before there is evidence."""


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


@dataclass(frozen=True, slots=True)
class Cross:
    """Which cells share an architecture and which a task.

    Args:
        rows, columns: the index of each cell's architecture and task.
        row_load, column_load: sum_a n_a^2 / n and sum_t n_t^2 / n, the cells that share the row (the column) of a
            random cell, itself among them.
    """

    rows: Indices
    columns: Indices
    row_load: float
    column_load: float

    @classmethod
    def of(cls, architectures: Sequence[Hashable], tasks: Sequence[Hashable]) -> Cross:
        rows, columns = (_indices(labels) for labels in (architectures, tasks))
        loads = [float((np.bincount(index) ** 2).sum()) / len(index) for index in (rows, columns)]
        return cls(rows, columns, *loads)

    @property
    def shape(self) -> tuple[int, int]:
        """Architectures and tasks."""
        return int(self.rows.max()) + 1, int(self.columns.max()) + 1

    def components(self, x: Floats) -> tuple[float, float, float]:
        """Unbiased variances of rows, of columns and of what is left, for x [cells].

        With D the mean of (x_i - x_j)^2 / 2 over pairs of cells that share only a row (D_R), only a column (D_C), or
        neither (D_0): D_0 - D_R, D_0 - D_C and D_R + D_C - D_0. In a full cross these are the estimates of the
        analysis of variance. A factor of which no two cells share a level belongs to what is left. NaN where every
        pair shares something. Cost: O(cells).
        """
        both = np.unique(self.rows * self.shape[1] + self.columns, return_inverse=True)[1]
        groupings = (self.rows, self.columns, both, np.zeros(len(x), dtype=np.intp))
        (r, nr), (c, nc), (b, nb), (every, n) = (_squares(x, index) for index in groupings)
        if n - nr - nc + nb == 0:
            return math.nan, math.nan, math.nan
        neither = (every - r - c + b) / (n - nr - nc + nb)
        row = neither - (r - b) / (nr - nb) if nr > nb else 0.0
        column = neither - (c - b) / (nc - nb) if nc > nb else 0.0
        return row, column, neither - row - column

    def nonnegative(self, x: Floats) -> tuple[Cross, tuple[float, float, float]]:
        """The components, and the cross that they are of: one whose variance would be negative is left out of it.

        What is left is then estimated with its degrees of freedom too. Merely cut at 0, a chance negative value would
        stay in the rest as a surplus, twice the whole variance where few cells are crossed incompletely.
        """
        row, column, rest = self.components(x)
        if min(row, column) >= 0:
            return self, (row, column, max(0.0, rest))
        alone = np.arange(len(x))
        reduced = (
            replace(self, rows=alone, row_load=1.0)
            if row < column
            else replace(self, columns=alone, column_load=1.0)
        )
        return reduced.nonnegative(x)


def prevalence(
    present: Sequence[bool], architectures: Sequence[Hashable], tasks: Sequence[Hashable]
) -> Prevalence:
    """Share of cells, with an interval that respects shared architectures and tasks.

    Clopper-Pearson at the effective size n / (1 + (N_A - 1) r_A + (N_T - 1) r_T) (Kish 1965; Korn and Graubard
    1998), N the loads of `Cross`, r the intraclass correlations of the verdicts. These are estimated from
    `Cross.components`, and shrunk: r = w r_estimate + (1 - w) 0.3 with w = m / (m + 2 (A + T)), m the cells of the
    rarer verdict. Unanimous cells show no correlation, which is no evidence that there is none. A single
    architecture (or task) is taken as fully correlated: it is worth one cell. Monotone: a further present cell
    in place of an absent one lowers neither bound, as far as 14,000 random and ordered fillings of twelve layouts
    from 2 x 2 to 40 x 40 tell.

    Coverage at a nominal 95 %, least over shares of .1 to .98 and latent normal effects, of which architectures,
    tasks or both have up to .9 of the variance: .97 for 3 x 2 cells, .93 for 4 x 2, .96 for 4 x 4, .94 for 8 x 6, .93
    for 10 x 5, .95 for 16 x 16. It falls short where one factor decides nearly everything and has few levels: .90 for
    10 x 5 with .95 of the variance between tasks. Where correlations are small it is wide (coverage near 1).

    It is the prevalence of *verdicts* among decided cells, not of truths. Where each verdict is right 95 % of the
    time the true prevalence is (share - .05) / .9, cut at 0 and 1.

    Raises `MeasurementError` without cells.
    """
    n = len(present)
    if n == 0:
        raise MeasurementError("a share of no cells", expected="at least one decided cell")
    cross, k = Cross.of(architectures, tasks), sum(present)
    row, column, rest = cross.components(np.asarray(present, dtype=float))
    total = row + column + rest
    minority = min(k, n - k)
    weight = minority / (minority + 2 * sum(cross.shape))
    effect = 1.0
    for levels, load, part in zip(
        cross.shape, (cross.row_load, cross.column_load), (row, column), strict=True
    ):
        estimate = min(max(part / total, 0.0), 1.0) if total > 0 else 0.0
        correlation = 1.0 if levels == 1 else weight * estimate + (1 - weight) * SHARED
        effect += (load - 1) * correlation
    effective = max(n / effect, 1.0)
    low, high = clopper_pearson(k / n * effective, effective)
    return Prevalence(k / n, low, high, effective)


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
    noise; equal weights keep the mean unbiased (Bonett 2008). On `scale`, with s_A, s_T, s_E the variances of
    `Cross.nonnegative` and N its loads, the mean has the variance

        V = (Q_A + Q_T - s_E) / n,   Q_A = s_E + N_A s_A,   Q_T = s_E + N_T s_T,

    without the Q of a factor whose variance is 0. In a full cross Q_A, Q_T and s_E are mean squares with A - 1,
    T - 1 and n - A - T + 1 degrees of freedom, so V has, after Satterthwaite 1946, d = (n V)^2 / sum of squared
    terms over their degrees. Bounds are mean +- t_d sqrt(V), for a further cell of another architecture on another
    task mean +- t_d sqrt(V + tau^2), tau^2 = s_A + s_T + max(0, s_E - mean of `variances`, the squared standard
    errors). On the log scale the mean is geometric and no bound is negative. Bounds are None with one architecture
    or one task, which say nothing of others.

    Coverage at a nominal 95 %, least over architectures, tasks, both or neither having up to .9 of the variance, for
    the mean and for a further cell: .96, .96 for 2 x 2; .93, .94 for 3 x 2; .92, .93 for 4 x 2; .90, .92 for six cells
    of 4 x 2; .95 to .99 both for 4 x 4, 8 x 6, 10 x 5, 16 x 16. It falls short where two tasks decide nearly
    everything: their variance, of one degree of freedom, is then at times missed.

    Raises `MeasurementError` for no cells, or values without meaning on the scale.
    """
    x = on_scale(values, scale)
    cross, estimate, n = Cross.of(architectures, tasks), float(x.mean()), len(x)
    noise = float(np.mean(variances))
    if min(cross.shape) < 2:
        between = 0.0 if n < 2 else max(0.0, float(x.var(ddof=1)) - noise)
        return Pooled(back(estimate, scale), None, None, math.sqrt(between), None, None, n)
    cross, (row, column, rest) = cross.nonnegative(x)
    between = row + column + max(0.0, rest - noise)
    variance, degrees = _satterthwaite(cross, row, column, rest)
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


def _satterthwaite(cross: Cross, row: float, column: float, rest: float) -> tuple[float, float]:
    """The variance of a mean over the cells of a cross, and its degrees of freedom."""
    n = len(cross.rows)
    squares, left = [], n - 1
    for part, load, levels in zip(
        (row, column), (cross.row_load, cross.column_load), cross.shape, strict=True
    ):
        if part > 0:
            squares.append((rest + load * part, levels - 1))
        if load > 1:
            left -= levels - 1
    squares.append(((1 - len(squares)) * rest, max(1, left)))
    total = sum(square for square, _ in squares)
    if total == 0:
        return 0.0, 1.0
    # Shares of the variance, so that fourth powers of large effects cannot overflow.
    return total / n, 1 / sum((square / total) ** 2 / degrees for square, degrees in squares)


def _indices(labels: Sequence[Hashable]) -> Indices:
    places = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([places[label] for label in labels], dtype=np.intp)


def _squares(x: Floats, index: Indices) -> tuple[float, int]:
    """Sum of (x_i - x_j)^2 / 2 over ordered pairs of different cells with one index, and the number of pairs."""
    counts = np.bincount(index)
    centred = x - x.mean()
    sums, squares = np.bincount(index, centred), np.bincount(index, centred**2)
    return float((counts * squares - sums**2).sum()), int((counts * (counts - 1)).sum())
