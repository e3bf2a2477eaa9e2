"""Dots on a theory's line: every cell of a claim in one picture, on one scale, and nothing of others that could run."""

from __future__ import annotations

import math
from typing import Literal
from xml.etree import ElementTree

import matplotlib.path
import pytest
from msgspec import structs

from tests.output.displays.test_orchard import marks, middle
from tests.output.toy_charts import cell, results, undecided
from universality.judge.resultset import ResultSet
from universality.output.displays.collection import Displays, family_keys, files
from universality.output.displays.theory import SIDE, theory_lines
from universality.output.page.render import frame
from universality.plugin.bounds import Within
from universality.plugin.charts import Dots, Lines
from universality.plugin.controls import ControlId
from universality.plugin.outcome import Outcome, Points


def outcome(*pairs: tuple[float, float]) -> Outcome:
    return Outcome(effect=1.0, points={"p": Points(*zip(*pairs, strict=True))})


def drawn(of: ResultSet) -> ElementTree.Element:
    (line,) = theory_lines(of)
    return ElementTree.fromstring(str(line.drawing.inline))


DOTS = {"ratio": [Lines({"loss": ""}, "loss"), Dots("p", "2/lr", "sharpness", log="xy")]}


def test_a_number_that_agrees_lies_on_the_line_and_decades_apart_are_told_apart() -> None:
    cells = [
        cell([outcome((1.0, 1.0), (10.0, 10.0)), outcome((100.0, 1.0))]),
        cell([outcome((100.0, 100.0))], task="mnist"),
    ]
    svg = drawn(results(cells, DOTS))
    (line,) = [each for each in svg.iter() if each.get("class") == "null"]
    start, end = line.attrib["d"].removeprefix("M").split("L")
    (left, bottom), (right, top) = (map(float, place.split()) for place in (start, end))
    assert right - left == bottom - top == SIDE
    one, ten, below, hundred = map(middle, marks(svg))
    for x, y in (one, ten, hundred):
        assert x - left == pytest.approx(bottom - y, abs=0.2)
    assert ten[0] - one[0] == pytest.approx(hundred[0] - ten[0], abs=0.2)
    assert (below[0], below[1]) == (hundred[0], one[1])
    assert theory_lines(results(cells, DOTS))[0].cells == 2


def test_families_have_colours_and_undecided_groups_are_hollow() -> None:
    half = undecided(1.0, points={"p": Points((2.0,), (3.0,))})
    five = [outcome((1.0, 1.0)), half, *[Outcome(effect=1.0)] * 4]
    cells = [cell(five), cell([half], architecture="cnn[width=8]")]
    (line,) = theory_lines(results(cells, DOTS))
    assert line.families == ("mlp", "cnn")
    svg = ElementTree.fromstring(str(line.drawing.inline))
    assert [each.get("class") for each in marks(svg)] == ["mark f0", "mark f0 ring", "mark f1 ring"]
    titles = [each.text for each in svg.iter("title")]
    assert titles == ["mlp, digits: present", "cnn[width=8], digits: inconclusive"]
    assert (line.cells, line.decided) == (2, 1)
    assert [name for _, name in family_keys([line])] == ["mlp", "cnn"]
    assert [each.text for each in svg.iter("text")][-2:] == ["2/lr", "sharpness"]


def test_the_band_is_where_a_dot_is_inside_the_claim() -> None:
    """EDGE is .9 to 1.15, and a claim whose bounds are not beside 1 has no band."""
    cells = [cell([outcome((1.0, 0.91), (10.0, 9.1), (10.0, 8.9), (100.0, 114.0), (100.0, 116.0))])]
    assert "band" not in {each.get("class") for each in drawn(results(cells, DOTS)).iter()}
    dots = {"ratio": [Dots("p", log="xy", ratio=True)]}
    svg = drawn(results(cells, dots))
    (band,) = [each for each in svg.iter() if each.get("class") == "band"]
    outline = matplotlib.path.Path(
        [tuple(map(float, p.split())) for p in band.attrib["d"].strip("Mz").split("L")]
    )
    assert [outline.contains_point(middle(mark)) for mark in marks(svg)] == [True, True, False, True, False]
    above = [cell([outcome((1.0, 1.0))], claim=Within(low=2.0, unit="ratio"))]
    assert "band" not in {each.get("class") for each in drawn(results(above, dots)).iter()}


def test_only_claims_that_predict_and_cells_that_are_no_controls_have_a_picture() -> None:
    cells = [cell([outcome((1.0, 2.0))]), cell([Outcome(effect=1.0)], task="mnist")]
    assert theory_lines(results(cells, {"ratio": [Lines({"loss": ""}, "loss")]})) == []
    assert [line.cells for line in theory_lines(results(cells, DOTS))] == [1]
    alone = [cell([outcome((1.0, 2.0))], control=ControlId("positive", "exact"), expects=("present",))]
    assert theory_lines(results(alone, DOTS)) == []


def test_numbers_without_a_place_on_a_logarithmic_axis_are_left_out() -> None:
    pairs = (0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (2.0, 2.0)
    assert len(marks(drawn(results([cell([outcome(*pairs)])], DOTS)))) == 1


@pytest.mark.parametrize(
    "pairs", [((1e-300, 1e300),), ((1e-290, 1e10), (1.0, 1.0)), ((5e-324, 1.0),)], ids=str
)
@pytest.mark.parametrize("log", ["", "xy"])
def test_any_finite_numbers_can_be_drawn(
    pairs: tuple[tuple[float, float], ...], log: Literal["", "xy"]
) -> None:
    svg = drawn(results([cell([outcome(*pairs)])], {"ratio": [Dots("p", log=log)]}))
    assert len(marks(svg)) == len(pairs)
    assert all(math.isfinite(number) for mark in marks(svg) for number in middle(mark))


def test_what_a_failed_control_voids_has_no_dots() -> None:
    control = cell([outcome((1.0, 9.0))] * 3, control=ControlId("positive", "exact"), expects=("present",))
    failed = structs.replace(
        control, groups=tuple(structs.replace(g, outcome=Outcome(effect=9.0)) for g in control.groups)
    )
    cells = [cell([outcome((1.0, 1.0))] * 3, task="mnist")]
    assert len(theory_lines(results(cells, DOTS))) == 1
    assert theory_lines(results([*cells, failed], DOTS)) == []


def test_the_page_and_a_file_show_it_and_nothing_of_others_runs() -> None:
    hostile = "<script>alert(1)</script>"
    of = results([cell([outcome((1.0, 1.0))], architecture=hostile)], {"ratio": [Dots("p", hostile)]})
    written = dict(files(of, Displays.of(of)))
    page = frame(of, "", 0)
    for text in (written["theory-edge"], page):
        assert "<script>alert" not in text
    assert 'href="#theory"' in page
    assert "On the theory's line" in page
    assert 'href="#theory"' not in frame(results([cell([1.0])], {}), "", 0)
