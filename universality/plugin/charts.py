"""How what a claim measured is drawn, as data: declared by the claim, stored in the plan, drawn by figures and page.

Nothing that draws knows a phenomenon by name. `log` names the axes that are logarithmic. What cannot be drawn (a text
too long, too many lines, limits in the wrong order, zero on a logarithmic axis) raises ValueError, in a plugin and in a
plan that somebody else wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from universality.text import is_printable

Log = Literal["", "x", "y", "xy"]

MAX_LABEL = 120
"""Characters of a title or of the label of an axis."""
MAX_NAME = 200
"""Characters of the name of a series, a detail, points or a matrix."""
MAX_NAMES = 12
"""Series, kinds of points, nulls or matrices of one chart."""
MAX_CHARTS = 8
"""Of one claim."""

Titles = Mapping[str, str] | Annotated[tuple[tuple[str, str], ...], Meta(max_length=MAX_NAMES)]
"""Titles by name, in the order in which they are drawn; a mapping when written, pairs once made: keys are sorted on
the disk."""


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lines"):
    """Series over steps, a line for each run.

    Args:
        series: titles by name of the series, e.g. `{"accuracy.train": "training"}`.
        label: of the values.
        band: the claim bounds these very values: its bounds are a band, and each group's effect a mark at the end.
        level: a value that lines are compared with; `level_title` names it.
        low, high: where the axis of values starts and ends; lines beyond are cut, and the figure says so.
    """

    series: Titles
    label: str
    band: bool = False
    log: Log = ""
    level: float | None = None
    level_title: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _check(self, titles=("series",), numbers=("level", "low", "high"))
        _check_limits(self.low, self.high)
        if "y" in self.log and any(v is not None and v <= 0 for v in (self.level, self.low, self.high)):
            raise ValueError("a logarithmic axis has no level or limit at or below 0")


class Curves(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="curves"):
    """Points of the outcome against a swept parameter, a line for each name and group.

    Args:
        points: titles by name of `Outcome.points`; a name followed by anything after a colon ("loss:width 4") is
            one more line of the same kind.
        x, y: what the axes show.
        theory: the name of the points that the theory predicts, drawn as one dashed line; "" where there is none.
    """

    points: Titles
    x: str
    y: str
    log: Log = ""
    theory: str = ""

    def __post_init__(self) -> None:
        _check(self, titles=("points",), names=("theory",))


class Dots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dots"):
    """Predicted against measured: points whose x is the theory's number and whose y is ours, on the line y = x.

    Args:
        ratio: the claim bounds y over x, so that its bounds are a band around the line. Not written where it is not given:
            plans of before it are read.
    """

    points: str
    x: str = "predicted"
    y: str = "measured"
    log: Literal["", "xy"] = ""
    ratio: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _check(self, names=("points",))


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bars"):
    """A histogram: points whose x are the middles of the bins and whose y are their heights."""

    points: str
    x: str
    y: str = "count"
    log: Log = ""

    def __post_init__(self) -> None:
        _check(self, names=("points",))


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="levels"):
    """Details of the outcome on one axis, a row for each group: what was measured, against what it must exceed.

    Args:
        value: the detail that the claim is about.
        nulls: titles by name of the details that it is compared with.
        label: of the axis.
        margin: how far above the largest null the value must lie.
        title: of the value.
    """

    value: str
    nulls: Titles
    label: str
    margin: float = 0.0
    title: str = "measured"

    def __post_init__(self) -> None:
        _check(self, titles=("nulls",), names=("value",), numbers=("margin",))


class Matrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="matrices"):
    """The matrices of the outcome, side by side.

    Args:
        names: titles by name of `Outcome.matrices`, in the order in which they are shown.
        label: of the colours.
        low, high: values at the ends of the colours.
        rows, columns: what these are, for a note.
    """

    names: Titles
    label: str
    low: float = 0.0
    high: float = 1.0
    rows: str = ""
    columns: str = ""

    def __post_init__(self) -> None:
        _check(self, titles=("names",), numbers=("low", "high"))
        _check_limits(self.low, self.high)


Chart = Lines | Curves | Dots | Bars | Levels | Matrices

Charts = Annotated[tuple[Chart, ...], Meta(min_length=1, max_length=MAX_CHARTS)]
"""Of one claim, the most telling first."""


def series_of(chart: Chart) -> tuple[str, ...]:
    """The series that a chart draws."""
    return tuple(dict(chart.series)) if isinstance(chart, Lines) else ()


def names_of(chart: Chart) -> tuple[str, ...]:
    """The series, points, details or matrices that a chart draws, without what it compares them with."""
    match chart:
        case Lines():
            return series_of(chart)
        case Curves():
            return tuple(name for name in dict(chart.points) if name != chart.theory)
        case Levels():
            return (chart.value,)
        case Matrices():
            return tuple(dict(chart.names))
        case _:
            return (chart.points,)


def texts_of(chart: Chart) -> tuple[str, ...]:
    """Everything of a chart that is shown: titles, labels, and the names that stand for a title that is empty."""
    fields = (getattr(chart, field) for field in chart.__struct_fields__)
    return tuple(
        text
        for value in fields
        for text in (
            (value,) if isinstance(value, str) else chain(*value) if isinstance(value, tuple) else ()
        )
    )


def _check(
    chart: msgspec.Struct,
    titles: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
) -> None:
    """Bounds of every text and number, which then have the one form that the disk has."""
    for field in titles:
        value: Any = getattr(chart, field)
        pairs = tuple(value.items()) if isinstance(value, Mapping) else tuple(map(tuple, value))
        if not 1 <= len(pairs) <= MAX_NAMES or len(dict(pairs)) < len(pairs):
            raise ValueError(f"a chart has 1 to {MAX_NAMES} different {field}, got {len(pairs)}")
        for name, title in pairs:
            _check_text(f"a name in {field}", name, MAX_NAME)
            _check_text(f"a title in {field}", title, MAX_LABEL)
        force_setattr(chart, field, pairs)
    for field in chart.__struct_fields__:
        if isinstance(text := getattr(chart, field), str):
            _check_text(field, text, MAX_NAME if field in names else MAX_LABEL)
    for field in numbers:
        if (number := getattr(chart, field)) is not None:
            if not math.isfinite(number):
                raise ValueError(f"{field} is a finite number, got {number}")
            force_setattr(chart, field, float(number))


def _check_text(what: str, text: object, most: int) -> None:
    if not isinstance(text, str) or len(text) > most or not is_printable(text):
        kind = f"a text of at most {most} characters in one line, all of which can be seen"
        raise ValueError(f"{what} of a chart is {kind}, got {str(text)[:40]!r}")


def _check_limits(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and not low < high:
        raise ValueError(f"an axis goes from low to high, got {low:g} to {high:g}")
