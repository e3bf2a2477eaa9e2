"""What measuring one group of runs gives: an effect for each claim, with the checks it stands on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import Any, Self

import msgspec
from msgspec.structs import force_setattr

from universality.plugin.bounds import Bound, bounds_text, inside
from universality.text import beside


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number and the bounds that it must lie in, ends included.

    As a gate, unmet means that the run could not have shown the phenomenon; as a criterion, unmet counts
    against it. NaN meets nothing.

    >>> Check("training accuracy", 0.98, at_least=0.999).met
    False
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        for field in ("value", "at_least", "at_most"):
            if field == "value" or getattr(self, field) is not None:
                force_setattr(self, field, _number(f"{self.name}, {field}", getattr(self, field)))
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the check '{self.name}' has no bound, give it at_least or at_most")

    @property
    def bounds(self) -> tuple[float, float]:
        """The lower and the upper one, infinite where there is none."""
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most

    @property
    def met(self) -> bool:
        return inside(self.value, *self.bounds)

    @property
    def needs(self) -> str:
        """Its bounds, as a person writes them."""
        return bounds_text(*self.bounds)

    @property
    def shown(self) -> str:
        """Its value, with the digits that tell it from its bounds."""
        return beside(self.value, *self.bounds)


MAX_POINTS = 1000
"""Of one name: more than a figure can show."""


MAX_SIDE = 256
"""Rows, and columns, of one matrix."""


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A labelled matrix of at most `MAX_SIDE` rows and columns, for a figure."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.rows) or any(len(row) != len(self.columns) for row in self.values):
            raise ValueError("a matrix of another size than its labels")
        if max(len(self.rows), len(self.columns)) > MAX_SIDE:
            size = f"{len(self.rows)} x {len(self.columns)}"
            raise ValueError(f"a matrix of {size}, at most {MAX_SIDE} each way: thin it")
        force_setattr(self, "values", tuple(tuple(map(float, row)) for row in self.values))


class Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers against numbers, for a figure: a curve over a sweep, bins of a histogram, predictions and measurements."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        for axis in ("x", "y"):
            values = tuple(_number(f"points, {axis}", value) for value in getattr(self, axis))
            force_setattr(self, axis, values)
        if len(self.x) != len(self.y):
            raise ValueError(f"points with {len(self.x)} x and {len(self.y)} y")
        if len(self.x) > MAX_POINTS:
            raise ValueError(
                f"{len(self.x)} points of one name, at most {MAX_POINTS}: thin them or take bins"
            )

    @classmethod
    def of(cls, x: Mapping[Any, Any] | Iterable[Any], y: Iterable[Any] | None = None) -> Self:
        """From two sequences or arrays, or from a mapping of x to y, such as a reading of every run of a sweep.

        >>> Points.of({10.0: 0.3, 30.0: 0.1})
        Points(x=(10.0, 30.0), y=(0.3, 0.1))
        >>> Points.of([1, 2], [0.5, 0.25])
        Points(x=(1.0, 2.0), y=(0.5, 0.25))
        """
        if isinstance(x, Mapping):
            return cls(tuple(x), tuple(x.values()))
        if y is None:
            raise TypeError("points are a mapping of x to y, or x and y")
        return cls(tuple(x), tuple(y))


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One effect for one claim from one group of runs.

    Args:
        effect: the number that the claim bounds; None where a gate left nothing to measure.
        censored: the effect is a lower bound: what it times had not happened when the budget ended.
        label: the name of what was seen, in the phenomenon's own words.
        details: secondary numbers, for the reader.
        matrices: by name, for a chart.
        points: by name, for a chart.
    """

    effect: float | None
    gates: tuple[Check, ...] = ()
    criteria: tuple[Check, ...] = ()
    censored: bool = False
    label: str = ""
    details: Mapping[str, float] = {}
    matrices: Mapping[str, Matrix] = {}
    points: Mapping[str, Points] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.effect is not None:
            force_setattr(self, "effect", _number("an effect", self.effect))
        if not all(isinstance(check, Check) for check in (*self.gates, *self.criteria)):
            raise TypeError("gates and criteria are Checks")
        force_setattr(self, "details", {name: _number(name, value) for name, value in self.details.items()})
        # Unset where there are none: a measurement without points is stored as before there were any.
        force_setattr(self, "points", self.points or msgspec.UNSET)

    def decided(self) -> bool:
        return self.effect is not None and all(gate.met for gate in self.gates)

    def holds(self, claim: Bound) -> bool:
        return self.effect is not None and claim.holds(self.effect) and all(c.met for c in self.criteria)


def missing_signs(signs: Collection[str]) -> list[str]:
    """Of the two kinds of controls that validate a claim, those that are not among `signs`.

    >>> missing_signs({"positive"})
    ['negative']
    """
    return [sign for sign in ("positive", "negative") if sign not in signs]


def _number(name: str, value: object) -> float:
    """A number, of numpy or torch as well, as a float. Raises `TypeError` for anything else, truth values too."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise TypeError(f"{name} is a number, got {value!r}")
    return float(plain)
