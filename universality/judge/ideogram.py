"""What several result sets measured of one number, side by side, drawn as the Particle Data Group does (Navas et al. 2024,
doi:10.1103/PhysRevD.110.030001, section 5.2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from universality.judge.compare import difference
from universality.judge.decide import MEASURED, CellVerdict
from universality.judge.leaderboard import Board
from universality.judge.resultset import ResultSet
from universality.judge.statistics import Floats, on_scale
from universality.judge.summary import Tally, claims_a_number
from universality.plugin.bounds import Scale

REACH = 1.959964
"""Standard deviations of a normal distribution from its middle to the ends of 95 %."""
LEAST_P = 1e-16
"""Of a difference; beyond it a tail has no digits."""


@dataclass(frozen=True, slots=True)
class Average:
    """Of values x_i with errors s_i: sum(w x) / sum(w) with w = 1/s^2, and its error times max(1, S).

    The error is 1/sqrt(sum(w)) of sets without a common cell, and sum(w s) / sum(w) of others, as if they said the same:
    another measurement of the same cells tells nothing of other cells.

    Args:
        scale_factor: S of `replication`; None where no cell is in two sets.
        shared: differences behind it.
    """

    mean: float
    error: float
    scale_factor: float | None = None
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one set measured, as a Gaussian on the claim's scale with the same 95 % interval. `cells`: those behind it."""

    label: str
    value: float
    error: float
    cells: int


@dataclass(frozen=True, slots=True)
class Ideogram:
    """The sets' pooled effects of one claim, on its scale; `left_out`: labels of sets without an error."""

    row: Tally
    parts: tuple[Part, ...]
    average: Average
    left_out: tuple[str, ...]

    def density(self, x: Floats) -> Floats:
        """The sum of the Gaussians, each of an area 1/s_i, as the Particle Data Group draws it.

        A mean of one value is less telling than where the sum has its peaks, one or several.
        """
        total: Floats = np.zeros_like(x)
        for part in self.parts:
            total += np.exp(-0.5 * ((x - part.value) / part.error) ** 2) / part.error**2
        return total


def average(
    values: Sequence[float], errors: Sequence[float], differences: Sequence[float | None] = ()
) -> Average:
    """See `Average`.

    Args:
        differences: p-values of `replication`.

    Raises `ValueError` for no values, and for an error that is not positive.

    >>> average([0.0, 1.0, 5.0], [1.0, 1.0, 2.0])  # w = 1, 1, 1/4
    Average(mean=1.0, error=0.666..., scale_factor=None, shared=0)
    """
    if not values or not all(error > 0 for error in errors):
        raise ValueError(f"an average of {len(values)} values needs positive errors, got {list(errors)}")
    weights = [error**-2 for error in errors]
    total, factor = sum(weights), replication(differences)
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    alike = sum(w * s for w, s in zip(weights, errors, strict=True)) / total
    error = 1 / math.sqrt(total) if factor is None else alike
    return Average(mean, max(1.0, factor or 0.0) * error, factor, len(differences))


def replication(differences: Sequence[float | None]) -> float | None:
    """S = sqrt(mean z^2) over the differences of one cell between two sets, with z the normal deviate that has the two-sided
    p of Welch's test (`compare.difference`), of differences of the same runs that of the paired one: about 1 where sets
    differ as their seeds do, whatever their number, greater where they differ by more, 0 where one is a copy of the other.

    Of two values with known errors it is sqrt(chi^2 / (n - 1)). None of no differences.

    Args:
        differences: their p; None of values without spread that differ, whose p has no end.
    """
    if not differences:
        return None
    p = np.clip([LEAST_P if each is None else each for each in differences], LEAST_P, 1.0)
    return float(np.sqrt(np.mean(stats.norm.isf(p / 2) ** 2)))


def of_board(board: Board) -> list[Ideogram]:
    """Of every claim of a number that two sets or more have measured, in the order of the leaderboard."""
    sets = {results.label: results for results in board.sets}
    found = []
    for row in board.rows:
        contributing = [(sets[s.label], s.row) for s in row.sets if s.pooled]
        if drawing := _ideogram(row, contributing, row.variant):
            found.append(drawing)
    return found


def of_sets(sets: Sequence[ResultSet]) -> list[Ideogram]:
    """The same of sets that were judged by one claim, such as the two of a comparison, in the order of the first."""
    found = []
    for row in sets[0].rows:
        contributing = [
            (results, other)
            for results in sets
            for other in results.rows
            if (other.phenomenon, other.claim_name, other.claim)
            == (row.phenomenon, row.claim_name, row.claim)
        ]
        if not row.about.calibration and (drawing := _ideogram(row, contributing)):
            found.append(drawing)
    return found


def _ideogram(
    row: Tally, contributing: Sequence[tuple[ResultSet, Tally]], variant: str | None = None
) -> Ideogram | None:
    if not claims_a_number(row.claim, row.about):
        return None
    parts, left_out, members = [], [], []
    for results, mine in contributing:
        cells = [
            v
            for v in results.by_claim[row.phenomenon, row.claim_name]
            if v.counted and v.verdict in MEASURED and variant in (None, v.record.variant)
        ]
        part = _part(results.label, mine, cells)
        if part:
            parts.append(part)
            members.append({(v.record.architecture, v.record.task): v for v in cells})
        elif cells:
            left_out.append(results.label)
    if len(parts) < 2:
        return None
    found = [
        difference(one[cell].record, other[cell].record)
        for one, other in combinations(members, 2)
        for cell in one.keys() & other.keys()
    ]
    apart = [each.p for each in found if each]
    mean = average([part.value for part in parts], [part.error for part in parts], apart)
    return Ideogram(row, tuple(parts), mean, tuple(left_out))


def _part(label: str, row: Tally, cells: Sequence[CellVerdict]) -> Part | None:
    """The pooled effect of a set with its error; of a set of one cell that cell's. None where there is no error.

    An interval of a few seeds or cells is wider than that of a Gaussian with their spread: the Gaussian here has the
    interval, and not the spread.
    """
    pooled, scale = row.pooled, row.claim.scale
    if pooled and pooled.low is not None and pooled.high is not None:
        return _gaussian(label, pooled.estimate, pooled.low, pooled.high, pooled.cells, scale)
    known = [v for v in cells if v.effect is not None and v.low is not None and v.high is not None]
    if len(known) != 1 or len(cells) != 1:
        return None
    (v,) = known
    assert v.effect is not None
    assert v.low is not None
    assert v.high is not None
    return _gaussian(label, v.effect, v.low, v.high, 1, scale)


def _gaussian(label: str, value: float, low: float, high: float, cells: int, scale: Scale) -> Part | None:
    if not (math.isfinite(high) and low < high) or (scale == "log" and low <= 0):
        return None
    x, start, end = map(float, on_scale([value, low, high], scale))
    return Part(label, x, (end - start) / 2 / REACH, cells)
