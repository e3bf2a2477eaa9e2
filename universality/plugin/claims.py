"""What a phenomenon claims, as data: a number that can be missed.

Claims are stored beside every measurement, so that verdicts can be recomputed without the code
that measured. Their bounds are versioned constants of the phenomenon, fixed before looking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The effect lies in [low, high].

    Intervals are formed on `scale`; `log` suits ratios and quantities that span decades.
    One-sided claims leave a bound infinite.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    scale: Scale = "linear"

    def holds(self, effect: float) -> bool:
        return self.low <= effect <= self.high

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"<= {self.high:g}"
        if math.isinf(self.high):
            return f">= {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """The effect, a time ratio that may be censored, is at least `at_least`, in most runs.

    A cell is decided by the one-sided 95 % Clopper-Pearson bound of the share of runs that hold:
    above one half it is present, below one half absent.
    """

    at_least: float
    unit: str = ""
    scale: Scale = "log"

    def holds(self, effect: float) -> bool:
        return effect >= self.at_least

    def __str__(self) -> str:
        return f">= {self.at_least:g} in most runs"


Claim = Within | Most


def telling_digits(claim: Claim, effect: float, least: int) -> int:
    """Significant digits, `least` or more, with which an effect reads on its own side of the bounds.

    >>> telling_digits(Within(low=0.9, high=1.15), 0.89973, 2)
    4
    """
    holds, most = claim.holds(effect), 17  # 17 digits are the number itself
    return next((n for n in range(least, most) if claim.holds(float(f"{effect:.{n}g}")) == holds), most)


def claim_record(claim: Claim) -> dict[str, Any]:
    """JSON form; infinite bounds are left out."""
    record: dict[str, Any] = {"kind": "within" if isinstance(claim, Within) else "most"}
    names = ("low", "high") if isinstance(claim, Within) else ("at_least",)
    for name in names:
        value = getattr(claim, name)
        if math.isfinite(value):
            record[name] = value
    return {**record, "unit": claim.unit, "scale": claim.scale}


def claim_from_record(record: Mapping[str, Any]) -> Claim:
    fields = {key: value for key, value in record.items() if key != "kind"}
    return Within(**fields) if record["kind"] == "within" else Most(**fields)
