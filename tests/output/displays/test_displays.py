"""Displays as files and in the page: they carry what they need, nothing of others runs, and areas are shares."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.judge import test_phases
from tests.judge.test_leaderboard import ABSENT, OPEN, PRESENT, grid, record, result_set
from tests.judge.toy_cells import plan_of, set_of
from universality.audit.files import _ACTIVE
from universality.judge.boundary import boundaries
from universality.judge.controls import judge
from universality.judge.gaps import GapMap
from universality.judge.ideogram import of_sets
from universality.judge.resultset import ResultSet
from universality.output.displays import gaps, ideogram, multiverse, sweeps
from universality.output.displays.collection import Displays, files, sweep_panels
from universality.output.displays.svg import Drawing, fitted, sheet, wrapped
from universality.output.page.render import frame
from universality.output.palette import MARKS
from universality.output.phrases import effect_text
from universality.plugin.spec import Component

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\" onload=alert(1) 'x"


@pytest.fixture(scope="module")
def results() -> ResultSet:
    more = [record(HOSTILE, "task9", OPEN), record("net8", HOSTILE, ABSENT), record("net7", state="missing")]
    return result_set("a", [*grid(3, 2, absent=1), *more])


def boxes(body: str) -> list[tuple[str, float, float]]:
    """Class, upper end and height of every box of a body."""
    found = re.findall(r'<path class="([^"]+)" d="M[-\d.e]+ ([-\d.e]+)h[-\d.e]+v([-\d.e]+)h[-\d.e]+z"', body)
    return [(kind, float(y), float(height)) for kind, y, height in found]


def test_files_stand_alone_and_nothing_of_others_runs(results: ResultSet) -> None:
    written = dict(files(results, Displays.of(results)))
    assert list(written) == ["evidence_gaps", "orchard-toy", "multiverse"]
    for name, text in written.items():
        svg = ElementTree.fromstring(text)
        assert svg.tag == f"{SVG}svg"
        assert not _ACTIVE.search(text.encode()), name
        assert "var(" not in text
        assert "prefers-color-scheme:dark" in text
        assert not list(svg.iter(f"{SVG}script"))
        outer = float(svg.attrib["width"]), float(svg.attrib["height"])
        for inner in svg.findall(f"{SVG}svg"):
            place = {key: float(inner.attrib[key]) for key in ("x", "y", "width", "height")}
            assert place["x"] + place["width"] <= outer[0]
            assert place["y"] + place["height"] <= outer[1]


def test_the_same_set_gives_the_same_files(results: ResultSet) -> None:
    again = list(files(results, Displays.of(results)))
    assert again == list(files(results, Displays.of(results)))


def test_a_place_is_filled_in_shares_of_what_applies_there() -> None:
    known = Counter({"present": 2, "absent": 1, "untested": 1, "not applicable": 3})
    of = GapMap("", ("mlp",), ("digits", "xor"), {("mlp", "digits"): known})  # type: ignore[dict-item]
    drawn = {kind: (y, height) for kind, y, height in boxes(gaps.small_map(of).body)}
    whole = gaps.SMALL[1] - 1.5
    assert drawn["g-present"] == pytest.approx((1 + whole / 2, whole / 2), abs=0.01)
    assert drawn["g-absent"] == pytest.approx((1, whole / 4), abs=0.01)
    assert "g-untested" not in drawn
    assert gaps.told(of) == (
        "Tested in 1 of 1 places that were asked; claims there: 2 present, 1 absent, 1 untested, 3 not applicable"
    )


def test_a_place_where_nothing_applies_is_grey() -> None:
    of = GapMap("", ("mlp",), ("digits",), {("mlp", "digits"): Counter({"not applicable": 2})})
    assert [kind for kind, *_ in boxes(gaps.small_map(of).body)] == ["g-not-applicable"]


def test_the_large_map_names_its_lines_and_has_room_for_them() -> None:
    lines = tuple(f"network{i}" for i in range(5)), ("digits", "a_task_with_a_long_name")
    drawing = gaps.large_map(GapMap("", *lines, {}))
    svg = ElementTree.fromstring(str(drawing.inline))
    texts = [text.text or "" for text in svg.iter("text")]
    assert texts[0] == "digits"
    assert set(lines[0]) <= set(texts)
    assert all(0 <= float(text.attrib["y"]) <= drawing.height for text in svg.iter("text"))


def test_bars_of_a_strip_are_shares_of_cells_and_the_frozen_one_is_framed(results: ResultSet) -> None:
    (of,) = Displays.of(results).multiverses
    body = multiverse.strips(of).body
    assert "while the bound is between" in re.sub("<[^>]+>", " ", multiverse.with_reach(of).body)
    strip = body[: body.index("half as strict")]
    assert body.count('class="frozen"') == len(multiverse.drawn(of))
    heights = Counter[str]()
    for kind, _, height in boxes(strip):
        heights[kind] += height  # type: ignore[assignment]
    counts = sum((Counter(each) for m in multiverse.drawn(of) for each in m.counts), Counter())
    for verdict in ("present", "absent"):
        share = counts[verdict] / of.cells * multiverse.STRIP
        assert heights[f"t-{verdict}"] == pytest.approx(share, abs=0.1)


def test_texts_are_cut_and_broken_to_their_room() -> None:
    assert fitted("abc", 100, 10) == "abc"
    assert len(fitted("a" * 100, 60, 10)) == 10
    assert wrapped("one two three four", 60, 10) == ["one two", "three four"]
    text = sheet("Title", "a note " * 30, [("caption", Drawing(50, 20, "", "label"))])
    assert text.count('class="note"') > 2
    long = sheet(
        "Modes of deep linear networks: theory and measurement", "", [("", Drawing(50, 20, "", "label"))]
    )
    lines = re.findall(r'class="heading"[^>]*>([^<]*)<', long)
    assert " ".join(lines) == "Modes of deep linear networks: theory and measurement"
    assert len(lines) == 2


def test_a_sweep_is_drawn_with_its_change_between_the_values_that_differ() -> None:
    tasks = [Component("t", (("rows", n),), f"t[rows={n}]") for n in (5, 50, 500)]
    net = Component("mlp", (), "mlp")
    values = zip(tasks, (PRESENT, OPEN, ABSENT), strict=True)
    records = [record("mlp", str(task), effect) for task, effect in values]
    (end,) = boundaries(judge(records), plan_of(components=[(net, task) for task in tasks]))
    drawing = sweeps.course(end)
    assert drawing is not None
    svg = ElementTree.fromstring(str(drawing.inline))
    dots = [(c.attrib["class"], float(c.attrib["cx"]), float(c.attrib["cy"])) for c in svg.iter("circle")]
    assert [kind for kind, *_ in dots] == ["t-present", "hollow", "t-absent"]
    assert dots[0][2] > dots[1][2] > dots[2][2], "a larger effect lies higher"
    ((_, x, width),) = [
        (kind, float(x), float(w))
        for kind, x, w in re.findall(r'class="(zone)" d="M([\d.]+) [\d.]+h([\d.]+)', drawing.body)
    ]
    assert (x, x + width) == pytest.approx((dots[0][1], dots[2][1]), abs=0.2)


GRID = [(scale, rows) for scale in (1.0, 10.0, 30.0) for rows in (1, 2, 5, 8) if (scale, rows) != (10.0, 2)]


def test_two_swept_parameters_are_a_map_with_the_lowest_values_at_the_lower_left() -> None:
    (phase,) = test_phases.found(GRID)
    undecided = replace(phase.cells[1.0, 1.0], verdict="inconclusive")
    across, down = ("t", "rows", phase.across[2]), ("mlp", HOSTILE, phase.down[2])
    of = replace(phase, across=across, down=down, cells={**phase.cells, (1.0, 1.0): undecided})
    drawing = sweeps.phase_map(of)
    svg = ElementTree.fromstring(str(drawing.inline))
    assert "<script" not in drawing.body
    tiles: dict[tuple[float, float], tuple[str, str]] = {}
    for tile in svg.iter("path"):
        x, y = map(float, re.findall(r"M([\d.]+) ([\d.]+)h", tile.attrib["d"])[0])
        tiles[x, y] = tile.attrib["class"], tile.findtext("title", "")
    lines, rows = (sorted({place[axis] for place in tiles}) for axis in (0, 1))
    assert (len(lines), len(rows), len(tiles)) == (4, 3, 12), "a tile for each pair of values"
    kinds = [[tiles[x, y][0] for x in lines] for y in rows]
    assert kinds == [
        ["t-absent", "t-absent", "t-absent", "t-absent"],
        ["t-present", "place", "t-absent", "t-absent"],
        ["t-inconclusive", "t-present", "t-present", "t-present"],
    ]
    told = tiles[lines[2], rows[0]][1]
    assert told.startswith("rows 5, ")
    assert f" 30: absent {effect_text(of.cells[5.0, 30.0])}" in told
    assert tiles[lines[1], rows[1]][1] == "", "nothing was asked there"

    texts = [(float(t.attrib["x"]), float(t.attrib["y"]), t.text or "") for t in svg.iter("text")]
    marks = {(x, y): t for x, y, t in texts if t in MARKS.values()}
    width, height = lines[1] - lines[0], rows[1] - rows[0]
    found = {}
    for (x, y), (kind, _) in tiles.items():
        inside = [t for (a, b), t in marks.items() if x < a < x + width and y < b < y + height]
        found[kind, *inside] = True
    assert set(found) == {("place",), *((f"t-{v}", MARKS[v]) for v in ("present", "absent", "inconclusive"))}
    assert len(marks) == 11
    values = {(round((x - lines[0]) // width), t) for x, y, t in texts if y > rows[2] + height}
    assert values == {(0, "1"), (1, "2"), (2, "5"), (3, "8")}
    assert [t for x, y, t in sorted(texts, key=lambda each: each[1]) if x < lines[0] and t.isdigit()] == [
        "30", "10", "1",
    ]  # fmt: skip
    assert all(0 <= y <= drawing.height for _, y, _ in texts)
    assert "absent at 5, 30" in drawing.label


def test_a_phase_map_stands_in_the_page_and_in_its_file_of_sweeps() -> None:
    records, components = test_phases.crossed(GRID)
    bare = set_of(records)
    plan = plan_of(records, components=components)
    of = replace(bare, plan=plan)
    (phase,) = of.phases
    drawn = sweeps.phase_map(phase)
    assert drawn.body in dict(files(of, Displays.of(of)))["sweeps"]
    html = frame(of, "", 0)
    section = html.partition('<section id="boundaries"')[2].partition("</section>")[0]
    assert section.count(drawn.body) == 1
    assert "Over two: a tile for each cell" in section
    assert f"; {phase.beside}" in section
    assert 'href="#boundaries"' in html
    assert drawn.body not in frame(bare, "", 0), "without the components of runs nobody knows what was swept"


def test_courses_that_differ_in_what_else_is_fixed_say_what_that_is() -> None:
    records, components = test_phases.crossed(GRID)
    of = replace(set_of(records), plan=plan_of(records, components=components))
    captions = [caption for caption, _ in sweep_panels(of)]
    assert len(captions) > 2
    assert len(set(captions)) == len(captions)


def test_an_ideogram_has_a_line_for_each_set_and_says_how_they_agree() -> None:
    sets = [
        result_set(HOSTILE, [record("mlp", "xor", 1.0)]),
        result_set("b", [record("mlp", "xor", 1.0)]),
    ]
    (of,) = of_sets(sets)
    drawing = ideogram.ideogram(of)
    svg = ElementTree.fromstring(str(drawing.inline))
    assert len(list(svg.iter("circle"))) == 2
    # A copy does not differ; S is of the one cell that both have.
    assert "S = 0.0 of 1" in "".join(svg.itertext())
    assert "<script" not in drawing.body
