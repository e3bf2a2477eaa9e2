"""How what a claim measured is drawn, as data: declared by the claim, stored in the plan, drawn by figures and page.

Nothing that draws knows a phenomenon by name. `log` names the axes that are logarithmic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec.structs import force_setattr

Log = Literal["", "x", "y", "xy"]


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lines"):
    """Series over steps, a line for each run.

    Args:
        series: titles by name of the series, e.g. `{"accuracy.train": "training"}`.
        label: of the values.
        band: the claim bounds these very values: its bounds are a band, and each group's effect a mark at the end.
        level: a value that lines are compared with; `level_title` names it.
        low, high: where the axis of values starts and ends; lines beyond are cut, and the figure says so.
    """

    series: Mapping[str, str]
    label: str
    band: bool = False
    log: Log = ""
    level: float | None = None
    level_title: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _floats(self, "level", "low", "high")


class Curves(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="curves"):
    """Points of the outcome against a swept parameter, a line for each name and group.

    Args:
        points: titles by name of `Outcome.points`; a name followed by anything after a colon ("loss:width 4") is
            one more line of the same kind.
        x, y: what the axes show.
        theory: the name of the points that the theory predicts, drawn as one dashed line; "" where there is none.
    """

    points: Mapping[str, str]
    x: str
    y: str
    log: Log = ""
    theory: str = ""


class Dots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dots"):
    """Predicted against measured: points whose x is the theory's number and whose y is ours, on the line y = x."""

    points: str
    x: str = "predicted"
    y: str = "measured"
    log: Log = ""


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bars"):
    """A histogram: points whose x are the middles of the bins and whose y are their heights."""

    points: str
    x: str
    y: str = "count"
    log: Log = ""


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="levels"):
    """Details of the outcome on one axis, a row for each group: what was measured, against what it must exceed.

    Args:
        value: the detail that the claim is about.
        nulls: titles by name of the details that it is compared with.
        label: of the axis.
        margin: how far above the largest null the value must lie.
    """

    value: str
    nulls: Mapping[str, str]
    label: str
    margin: float = 0.0

    def __post_init__(self) -> None:
        _floats(self, "margin")


class Matrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="matrices"):
    """The matrices of the outcome, side by side.

    Args:
        names: titles by name of `Outcome.matrices`, in the order in which they are shown.
        label: of the colours.
        low, high: values at the ends of the colours.
    """

    names: Mapping[str, str]
    label: str
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _floats(self, "low", "high")


Chart = Lines | Curves | Dots | Bars | Levels | Matrices


def series_of(chart: Chart) -> tuple[str, ...]:
    """The series that a chart draws."""
    return tuple(chart.series) if isinstance(chart, Lines) else ()


def _floats(chart: msgspec.Struct, *names: str) -> None:
    # One form on the disk, whether a number was written as 1 or as 1.0.
    for name in names:
        if (value := getattr(chart, name)) is not None:
            force_setattr(chart, name, float(value))
