"""Orchard plots: every measured cell in its place on the axis, and nothing of others that could run."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.judge.test_leaderboard import ABSENT, CLAIM, OPEN, PRESENT, grid, record, result_set
from universality.judge.resultset import ResultSet
from universality.output.displays.markers import SHAPES, colour_of, marker
from universality.output.displays.orchard import LEFT, NOTE, RIGHT, Orchard, orchards
from universality.output.displays.svg import sheet
from universality.output.palette import BLACK, FAMILIES, contrast
from universality.plugin.bounds import Most, Within


def plot(results: ResultSet) -> tuple[Orchard, ElementTree.Element]:
    (found,) = orchards(results)
    return found, ElementTree.fromstring(str(found.drawing.inline))


def places(svg: ElementTree.Element) -> dict[str, float]:
    """Of the markers, by the network and task in their titles."""
    found = {}
    for mark in marks(svg):
        title = mark.find("title")
        assert title is not None
        assert title.text
        found[title.text.partition(":")[0]] = middle(mark)[0]
    return found


def marks(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in svg.iter() if "mark" in each.get("class", "").split()]


def middle(mark: ElementTree.Element) -> tuple[float, float]:
    if mark.tag == "circle":
        return float(mark.attrib["cx"]), float(mark.attrib["cy"])
    numbers = list(map(float, re.findall(r"-?[\d.]+", mark.attrib["d"])))
    return tuple((max(axis) + min(axis)) / 2 for axis in (numbers[::2], numbers[1::2]))  # type: ignore[return-value]


def test_each_measured_cell_is_a_dot_where_its_effect_lies() -> None:
    records = [*grid(2, 2, absent=1), record("net9", "task9", OPEN), record("net8", "task8", state="failed")]
    found, svg = plot(result_set("a", records))
    at = places(svg)
    assert found.cells == len(at) == 5
    band = next(svg.iter("rect")).attrib
    low, high = float(band["x"]), float(band["x"]) + float(band["width"])
    assert low < at["net1, task1"] < high < at["net0, task0"] < RIGHT
    # The axis is linear: effects are 1, 2 and 1.1, the bounds .9 and 1.1.
    unit = at["net0, task0"] - at["net1, task1"]
    assert at["net9, task9"] - at["net1, task1"] == pytest.approx(0.1 * unit, abs=0.2)
    assert (high - low) == pytest.approx(0.2 * unit, abs=0.2)
    rings = [mark for mark in marks(svg) if "ring" in mark.attrib["class"]]
    assert len(rings) == 1


def test_dots_do_not_cover_each_other_while_there_is_room() -> None:
    _, svg = plot(result_set("a", [record("net", f"task{i}") for i in range(6)]))
    dots = [tuple(float(c.attrib[key]) for key in ("cx", "cy", "r")) for c in svg.iter("circle")]
    assert len(dots) == 6
    for i, (x, y, r) in enumerate(dots):
        assert all(math.hypot(x - a, y - b) >= r + c - 0.1 for a, b, c in dots[:i])


def test_controls_point_up_and_down_and_stand_at_an_end_where_they_lie_beyond() -> None:
    _, svg = plot(result_set("a", grid(2, 2)))
    shapes = [p.attrib["d"] for p in svg.iter("path") if p.attrib["class"] == "control"]
    starts = [float(re.findall(r"[\d.]+", d)[0]) for d in shapes]
    assert len(shapes) == 2
    assert starts[1] == RIGHT  # the negative one, of effect 2
    assert LEFT < starts[0] < RIGHT
    assert ["l4 8h" in shapes[0], "l4 -8h" in shapes[1]] == [True, True]


@pytest.mark.parametrize(
    ("claim", "low"), [(Within(high=1.5, scale="log"), LEFT), (Most(at_least=0.5), None)]
)
def test_one_sided_bands_end_at_an_end_of_the_axis(claim: Within | Most, low: float | None) -> None:
    records = [record(f"net{i}", effect=PRESENT, claim=claim, seeds=5) for i in range(3)]
    results = result_set("a", [*records, record("net3", effect=-1.0, claim=claim)])
    found, svg = plot(results)
    band = next(svg.iter("rect")).attrib
    if low is not None:
        assert float(band["x"]) == low
    else:
        assert float(band["x"]) + float(band["width"]) == pytest.approx(RIGHT, abs=0.1)
    assert found.cells == 3  # a negative effect has no place on a log scale


@pytest.mark.parametrize("unit", ["debiased CKA above the largest null", "CKA"])
def test_the_null_is_a_line_at_zero_where_effects_are_measured_above_it(unit: str) -> None:
    claim = Within(low=0.9, high=1.1, unit=unit)
    records = [record(f"net{i}", effect=PRESENT, claim=claim) for i in range(3)]
    found, svg = plot(result_set("a", [*records, record("net3", effect=2.0, claim=claim)]))
    lines = [path.attrib["d"] for path in svg.iter("path") if path.get("class") == "null"]
    named = [float(text.attrib["x"]) for text in svg.iter("text") if text.text == "null"]
    if unit == "CKA":
        assert lines == named == []
        return
    (line,) = lines
    x = float(re.findall(r"M([\d.]+) ", line)[0])
    at = places(svg)
    unit_width = at["net3, digits"] - at["net0, digits"]
    assert x == pytest.approx(at["net0, digits"] - unit_width, abs=0.3), "effects are 1 and 2"
    assert named == [pytest.approx(x, abs=0.1)]
    assert x > LEFT
    assert ".null{" in orchard_file(found).replace(" ", "")


def orchard_file(of: Orchard) -> str:
    return sheet("", NOTE, [("", of.drawing)])


def test_few_cells_have_no_plot() -> None:
    assert orchards(result_set("a", grid(2, 1))) == []


def test_names_of_others_stay_text() -> None:
    hostile = '<script>alert(1)</script>"'
    records = [record(hostile, f"task{i}", claim=CLAIM) for i in range(2)] + [record("net", effect=ABSENT)]
    found, svg = plot(result_set("a", records))
    assert "<script" not in str(found.drawing.inline)
    assert not list(svg.iter("script"))


def test_families_differ_in_colour_and_shape_until_one_repeats() -> None:
    looks = [(colour_of(i), SHAPES[i % len(SHAPES)]) for i in range(len(SHAPES) * len(FAMILIES))]
    assert len(set(looks)) == len(looks) == 84
    # Neighbours differ in both: either channel alone tells them apart.
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))
    assert len({colour for colour, _ in looks[:12]}) == 12


SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
}  # fmt: skip
"""Of linear RGB (Machado et al. 2009)."""


def cielab(colour: str, sight: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    seen = to_xyz @ np.clip(np.array(SIGHT[sight]) @ linear, 0, 1) / to_xyz.sum(1)
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colours_of_twelve_families_are_far_apart_for_every_eye(sight: str) -> None:
    seen = [cielab(colour, sight) for colour in FAMILIES]

    def least(step: int) -> float:
        return min(float(np.linalg.norm(a - b)) for a, b in zip(seen, seen[step:], strict=False))

    # A difference of about 2 is just seen; SKY and BLUE are 25 apart.
    assert min(least(step) for step in range(1, len(FAMILIES))) > 14
    assert least(1) > 26
    assert least(len(SHAPES)) > 26, "those of one shape"


def test_the_colours_of_families_are_seen_on_white_and_on_dark_paper() -> None:
    for colour in FAMILIES:
        assert colour == BLACK or min(contrast(colour, paper) for paper in ("#ffffff", "#15171a")) > 2


@pytest.mark.parametrize("family", range(len(SHAPES)))
def test_a_marker_lies_around_its_place_whatever_its_shape(family: int) -> None:
    mark = ElementTree.fromstring(marker(family, 100, 50, 5))
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", mark.get("d", ""))]
    x, y = (numbers[::2], numbers[1::2]) if numbers else ([95.0, 105.0], [45.0, 55.0])
    assert (min(x) + max(x)) / 2 == pytest.approx(100, abs=0.1)
    assert 42 < min(y) < 46
    assert 54 <= max(y) < 58
