"""What a phenomenon claims, as data: a number that can be missed.

Claims are stored beside every measurement, so that verdicts can be recomputed without the code
that measured. Their bounds are versioned constants of the phenomenon, fixed before looking.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
from msgspec.structs import force_setattr

Scale = Literal["linear", "log"]


class Within(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="within"
):
    """The effect lies in [low, high].

    Intervals are formed on `scale`; `log` suits ratios and quantities that span decades.
    One-sided claims leave a bound infinite. `floor` is the least that the effect can be, 1 for a maximum over the first
    value, `ceiling` the most, 1 for shares.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    scale: Scale = "linear"
    floor: float | msgspec.UnsetType = msgspec.UNSET
    ceiling: float | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        # One form on the disk, whether a bound was written as 1 or as 1.0.
        force_setattr(self, "low", float(self.low))
        force_setattr(self, "high", float(self.high))

    @property
    def ends(self) -> tuple[float, float]:
        """Where effects that hold begin and end."""
        return self.low, self.high

    def holds(self, effect: float) -> bool:
        return inside(effect, *self.ends)

    def __str__(self) -> str:
        return bounds_text(self.low, self.high)


class Most(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="most"
):
    """The effect is at least `at_least` in most runs.

    A cell is decided by the one-sided 95 % Clopper-Pearson bound of the share of runs that hold:
    above one half it is present, below one half absent. That suits effects of which a mean tells little: times that may
    be censored, and shares that are all or nothing. `ceiling` is the most that the effect can be, 1 for shares.
    """

    at_least: float
    unit: str = ""
    scale: Scale = "log"
    ceiling: float | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        force_setattr(self, "at_least", float(self.at_least))

    @property
    def ends(self) -> tuple[float, float]:
        """Where effects that hold begin and end."""
        return self.at_least, math.inf

    def holds(self, effect: float) -> bool:
        return inside(effect, *self.ends)

    def __str__(self) -> str:
        return f"{bounds_text(self.at_least, math.inf)} in most runs"


Bound = Within | Most

ROUNDING = 1e-9
"""Relative to a bound: what arithmetic may take from a number that lies on it, as from a rank correlation of 4/5."""


def inside(value: float, low: float, high: float) -> bool:
    """Whether a number lies in [low, high], up to rounding.

    >>> inside(0.7999999999999999, 0.8, math.inf), inside(0.799, 0.8, math.inf)
    (True, False)
    """
    return low - ROUNDING * abs(low) <= value <= high + ROUNDING * abs(high)


def bounds_text(low: float, high: float) -> str:
    """Bounds as a person writes them, at least one of them finite.

    >>> bounds_text(0.9, 1.15), bounds_text(-math.inf, 0.05**0.5), bounds_text(2, math.inf)
    ('0.9 to 1.15', '<= 0.223607', '>= 2')
    """
    if math.isinf(low):
        return f"<= {high:g}"
    return f">= {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"


def unfit(claim: Bound) -> str:
    """Why a claim cannot be missed or met; empty for one that can be both."""
    if isinstance(claim, Most):
        return "" if math.isfinite(claim.at_least) else "no finite bound"
    if math.isnan(claim.low) or math.isnan(claim.high):
        return "a bound that is no number"
    if math.isinf(claim.low) and math.isinf(claim.high):
        return "no finite bound"
    if claim.low > claim.high:
        return "the lower bound lies above the upper"
    if claim.scale == "log" and claim.high <= 0:
        return "no positive number lies inside"
    return ""
