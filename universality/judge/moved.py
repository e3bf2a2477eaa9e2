"""How far a bound could move before a verdict changes. Cells are decided again; gates and criteria stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec.structs import replace

from universality.judge.decide import MEASURED, CellVerdict, decide_again, decided_groups
from universality.plugin.bounds import Bound, Most, Scale, Within, bounds_text
from universality.text import beside

End = Literal["lower", "upper"]


@dataclass(frozen=True, slots=True)
class Stays:
    """One bound of a claim, and the open interval of values of it, the others fixed, that leave a verdict as it is.

    An end is infinite where no value on that side changes the verdict.
    """

    end: End
    bound: float
    low: float
    high: float

    def margin(self, scale: Scale) -> float:
        """Distance from the bound to the nearer end of the interval; on the log scale a factor, 1 or more."""
        if scale == "linear":
            return min(self.bound - self.low, self.high - self.bound)
        return min(self.bound / self.low if self.low > 0 else math.inf, self.high / self.bound)

    def __str__(self) -> str:
        low, high = (beside(end, self.bound) if math.isfinite(end) else "" for end in (self.low, self.high))
        if low and high:
            return f"{self.end} bound from {low} to {high}"
        if not low and not high:
            return f"{self.end} bound anywhere"
        return f"{self.end} bound above {low}" if low else f"{self.end} bound below {high}"


def stays(verdict: CellVerdict) -> tuple[Stays, ...]:
    """For each finite bound of the claim of a measured cell, where it could lie without changing the cell's own verdict.

    A verdict changes only where a bound passes an effect or an end of the interval, so it is decided again once between
    each two of these, outwards until it changes. Empty for what no bound decides. Cost: a decision for each of them.
    """
    if verdict.raw not in MEASURED or not verdict.decidable:
        return ()
    claim, marks = verdict.record.claim, {g.effect for g in decided_groups(verdict.record)}
    marks |= {x for x in (verdict.low, verdict.high) if x is not None and isinstance(claim, Within)}
    lower, upper = claim.ends
    floor = 0.0 if claim.scale == "log" else -math.inf
    reach: Mapping[End, tuple[float, float]] = {
        "lower": (floor, upper),
        "upper": (max(floor, lower), math.inf),
    }

    def found(end: End, bound: float) -> Stays:
        def same(value: float) -> bool:
            return decide_again(verdict, _with(claim, end, value)).raw == verdict.raw

        first, last = reach[end]
        below = sorted((m for m in marks if first < m < bound), reverse=True)
        above = sorted(m for m in marks if bound < m < last)
        return Stays(end, bound, _change(below, first, -math.inf, same), _change(above, last, math.inf, same))

    bounds: Mapping[End, float] = {"lower": lower, "upper": upper}
    return tuple(found(end, bound) for end, bound in bounds.items() if floor < bound < math.inf)


def _change(marks: Sequence[float], last: float, never: float, same: Callable[[float], bool]) -> float:
    """The first mark behind which the verdict is another, or else `never`."""
    for mark, behind in pairwise([*marks, last]):
        beyond = mark + math.copysign(max(1.0, abs(mark)), never)
        if not same((mark + behind) / 2 if math.isfinite(behind) else beyond):
            return mark
    return never


def _with(claim: Bound, end: End, value: float) -> Bound:
    field = ("low" if end == "lower" else "high") if isinstance(claim, Within) else "at_least"
    return replace(claim, **{field: value})


def margin(ends: Sequence[Stays], scale: Scale) -> float | None:
    """How far the nearest bound could move before the verdict changes: a distance, on the log scale a factor."""
    return min((end.margin(scale) for end in ends), default=None)


@dataclass(frozen=True, slots=True)
class Moved:
    """What the measured cells of a claim would be under other bounds."""

    claim: Bound
    counts: Mapping[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[name]} {name}" for name in MEASURED if self.counts[name])
        return f"{told(self.claim)}: {counts or 'nothing measured'}"


def told(bound: Bound) -> str:
    """A bound that was moved, in three digits.

    >>> told(Within(low=0.956877, high=1.08164)), told(Most(at_least=10 / 3))
    ('0.957 to 1.08', '>= 3.33 in most runs')
    """
    text = bounds_text(*map(three_digits, bound.ends))
    return f"{text} in most runs" if isinstance(bound, Most) else text


def three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def under(claim: Bound, cells: Sequence[CellVerdict]) -> Moved:
    """The cells decided under another claim; controls are not asked again."""
    again = [decide_again(v, claim).raw for v in cells if v.verdict in MEASURED]
    return Moved(claim, {name: again.count(name) for name in MEASURED})


def scaled(claim: Bound, factor: float) -> Bound | None:
    """The claim made twice as strict (factor 2) or as lax (1/2); None where a single bound is 0.

    A single bound b is multiplied, a bound from above (or below, where negative) divided; above a floor f the same is done
    with b - f, and below a ceiling c with the odds b/(c - b), so that no bound leaves the range of the effect. A window becomes so many times narrower
    around its middle, on the claim's scale.

    >>> str(scaled(Within(low=0.5), 2)), str(scaled(Within(low=0.5, ceiling=1), 2)), str(scaled(Within(high=1.5, floor=1), 2))
    ('>= 1', '>= 0.666667', '<= 1.25')
    """
    low, high = claim.ends
    if math.isfinite(low) and math.isfinite(high):
        if claim.scale == "log" and low > 0:
            middle, half = math.sqrt(low * high), math.sqrt(high / low) ** (1 / factor)
            return replace(claim, low=middle / half, high=middle * half)
        middle, half = (low + high) / 2, (high - low) / 2 / factor
        return replace(claim, low=middle - half, high=middle + half)
    end: End = "lower" if math.isfinite(low) else "upper"
    bound = low if end == "lower" else high
    if bound == 0:
        return None
    times = factor if (bound > 0) == (end == "lower") else 1 / factor
    floor = claim.floor if isinstance(claim, Within) else msgspec.UNSET
    if not isinstance(floor, msgspec.UnsetType) and bound > floor:
        return _with(claim, end, floor + (bound - floor) * times)
    if isinstance(claim.ceiling, msgspec.UnsetType) or not 0 < bound < claim.ceiling:
        return _with(claim, end, bound * times)
    return _with(claim, end, claim.ceiling * bound * times / (claim.ceiling + bound * (times - 1)))
