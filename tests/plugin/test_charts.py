"""Charts survive the disk in the order in which they were written, and what cannot be drawn is refused."""

import math
from typing import Any

import msgspec
import pytest

from universality.plugin.charts import (
    MAX_CHARTS,
    MAX_LABEL,
    MAX_NAME,
    MAX_NAMES,
    Bars,
    Chart,
    Curves,
    Dots,
    Levels,
    Lines,
    Matrices,
    series_of,
)
from universality.plugin.outcome import MAX_POINTS, Points
from universality.plugin.phenomenon import About
from universality.store.files import decode_json, encode_record

CHARTS: list[Chart] = [
    Lines({"z.last": "b", "a.first": "a"}, "y", band=True, log="x", level=1, low=0, high=2),
    Curves({"loss": "loss", "law": "law"}, x="x", y="y", log="xy", theory="law"),
    Dots("predicted", log="xy"),
    Bars("gaps", x="spacing"),
    Levels("trained", {"z": "z", "a": "a"}, "CKA", margin=1),
    Matrices({"z": "z", "a": "a"}, "CKA", low=-1, rows="layers"),
]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: type(chart).__name__)
def test_a_chart_comes_back_from_the_disk_as_it_was(chart: Chart) -> None:
    """Keys are sorted there; the order in which a chart draws is kept, and 1 and 1.0 are one form."""
    data = encode_record(chart)
    again = msgspec.convert(decode_json(data), Chart)
    assert again == chart
    assert encode_record(again) == data
    assert {chart: 0}[again] == 0


def test_titles_keep_their_order() -> None:
    again = msgspec.convert(decode_json(encode_record(CHARTS[0])), Lines)
    assert series_of(again) == ("z.last", "a.first")
    assert series_of(CHARTS[1]) == ()


BAD: dict[str, Any] = {
    "no series": lambda: Lines({}, "y"),
    "too many series": lambda: Lines({f"s{i}": "" for i in range(MAX_NAMES + 1)}, "y"),
    "a long label": lambda: Lines({"s": ""}, "y" * (MAX_LABEL + 1)),
    "a long title": lambda: Levels("v", {"n": "t" * (MAX_LABEL + 1)}, "y"),
    "a long name": lambda: Dots("p" * (MAX_NAME + 1)),
    "a title that is none": lambda: Curves({"s": 1}, x="x", y="y"),  # type: ignore[dict-item]
    "an infinite level": lambda: Lines({"s": ""}, "y", level=math.inf),
    "a margin that is no number": lambda: Levels("v", {"n": ""}, "y", margin=math.nan),
    "limits in the wrong order": lambda: Lines({"s": ""}, "y", low=2, high=1),
    "no width of colours": lambda: Matrices({"m": ""}, "y", low=1, high=1),
    "zero on a logarithmic axis": lambda: Lines({"s": ""}, "y", low=0, log="y"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"chart|finite|axis"):
        BAD[name]()


def test_a_plan_of_others_may_not_have_more() -> None:
    about = {"title": "t", "strand": "laws", "sense": "form", "source": "", "claims": {"c": "c"}}
    one = msgspec.to_builtins(Dots("p"))
    assert "ratio" not in one, "plans of before there was a ratio come back as the same bytes"
    assert msgspec.convert({**about, "charts": {"c": [one]}}, About).charts == {"c": (Dots("p"),)}
    for charts in (
        [one] * (MAX_CHARTS + 1),
        [],
        [{**one, "x": "x" * (MAX_LABEL + 1)}],
        [{**one, "style": "red"}],
        [{**one, "kind": "pie"}],
        [{**one, "log": "z"}],
        [{**msgspec.to_builtins(Lines({"s": ""}, "y")), "series": [["s", ""], ["s", ""]]}],
        [{**msgspec.to_builtins(Lines({"s": ""}, "y")), "level": True}],
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**about, "charts": {"c": charts}}, About)


def test_points_are_as_many_as_can_be_seen() -> None:
    many = tuple(map(float, range(MAX_POINTS + 1)))
    assert len(Points(many[1:], many[1:]).x) == MAX_POINTS
    with pytest.raises(ValueError, match=f"at most {MAX_POINTS}"):
        Points(many, many)
