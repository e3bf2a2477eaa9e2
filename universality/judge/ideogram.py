"""What several result sets measured of one number, side by side: a weighted mean with the scale factor of the Particle Data
Group (Navas et al. 2024, doi:10.1103/PhysRevD.110.030001, section 5.2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from universality.judge.decide import MEASURED, CellVerdict
from universality.judge.leaderboard import Board
from universality.judge.resultset import ResultSet
from universality.judge.statistics import Floats, on_scale
from universality.judge.summary import Tally, claims_a_number
from universality.plugin.bounds import Scale

REACH = 1.959964
"""Standard deviations of a normal distribution from its middle to the ends of 95 %."""


@dataclass(frozen=True, slots=True)
class Average:
    """Of n values x_i with errors s_i: sum(w x) / sum(w) with w = 1/s^2, and the error 1/sqrt(sum(w)) times max(1, S).

    S = sqrt(chi^2 / (n - 1)), chi^2 = sum(w (x - mean)^2): about 1 where the values differ as their errors say, greater
    where they differ by more. Of one value there is no S, and 1 is taken.
    """

    mean: float
    error: float
    scale_factor: float


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


def average(values: Sequence[float], errors: Sequence[float]) -> Average:
    """See `Average`. Unlike the Particle Data Group's, S is of every value, however large its error.

    Raises `ValueError` for no values, and for an error that is not positive.

    >>> average([0.0, 1.0, 5.0], [1.0, 1.0, 2.0])  # w = 1, 1, 1/4; chi^2 = 1 + 0 + 4
    Average(mean=1.0, error=1.054..., scale_factor=1.581...)
    """
    if not values or not all(error > 0 for error in errors):
        raise ValueError(f"an average of {len(values)} values needs positive errors, got {list(errors)}")
    weights = [error**-2 for error in errors]
    total = sum(weights)
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    chi2 = sum(w * (x - mean) ** 2 for w, x in zip(weights, values, strict=True))
    factor = math.sqrt(chi2 / (len(values) - 1)) if len(values) > 1 else 1.0
    return Average(mean, max(1.0, factor) / math.sqrt(total), factor)


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
    parts, left_out = [], []
    for results, mine in contributing:
        cells = [
            v
            for v in results.by_claim[row.phenomenon, row.claim_name]
            if v.counted and v.verdict in MEASURED and variant in (None, v.record.variant)
        ]
        part = _part(results.label, mine, cells)
        if part:
            parts.append(part)
        elif cells:
            left_out.append(results.label)
    if len(parts) < 2:
        return None
    mean = average([part.value for part in parts], [part.error for part in parts])
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
