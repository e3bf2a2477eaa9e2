"""Charts find in a measurement what they draw; figures are named by what is declared; no output knows a phenomenon."""

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import universality
from tests.output.toy_charts import cell, results
from universality.output.charts import (
    TRAINING,
    Curve,
    Level,
    charts_of,
    charts_on_page,
    curves_of,
    drawable,
    edges,
    levels_of,
    sheets,
    theory_of,
)
from universality.plugin import registry
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.outcome import Outcome, Points
from universality.plugin.phenomenon import ControlId

LINES = Lines({"m": "m"}, "m")
CURVES = Curves({"loss": "loss"}, x="x", y="y", theory="law")
MATRICES = Matrices({"trained": ""}, "CKA")
LEVELS = Levels("value", {"null": ""}, "s", margin=0.5)


def points(**named: Points) -> Outcome:
    return Outcome(effect=1.0, points=named)


def test_claims_have_the_charts_of_the_plan_and_none_in_a_plan_of_before() -> None:
    record = cell([1.0])
    plan = results([record], {"ratio": [CURVES, MATRICES], "other": [LINES]}).plan
    assert charts_of(plan, record) == (CURVES, MATRICES)
    before = results([cell([1.0], claim_name="unknown")], {"ratio": [LINES]}).plan
    assert charts_of(before, cell([1.0], claim_name="unknown")) == ()


def test_the_page_shows_how_runs_were_trained_where_nothing_declared_does() -> None:
    record = cell([1.0])
    for declared, shown in (
        ([CURVES], (CURVES, TRAINING)),
        ([CURVES, LINES], (CURVES, LINES)),
        ([], (TRAINING,)),
    ):
        assert charts_on_page(results([record], {"ratio": declared}).plan, record) == shown


@pytest.mark.parametrize(
    ("charts", "names"),
    [
        ({"a": [LINES]}, ["edge"]),
        ({"a": [LINES], "b": [LINES]}, ["edge"]),
        ({"a": [LINES], "b": [Lines({"n": ""}, "m")]}, ["edge"]),
        ({"a": [LINES], "b": [Lines({"n": ""}, "n")]}, ["edge-a", "edge-b"]),
        ({"a": [CURVES, MATRICES], "b": [CURVES]}, ["edge-a-curves", "edge-a-matrices"]),
        (
            {"a": [LINES, Lines({"m": ""}, "log", log="y")], "b": [LEVELS]},
            ["edge-a-lines", "edge-a-lines-2", "edge-b"],
        ),
    ],
    ids=str,
)
def test_alike_charts_share_a_figure_with_a_name_that_stays(
    charts: dict[str, list[Chart]], names: list[str]
) -> None:
    records = [cell([1.0], claim_name=name) for name in charts]
    found = sheets(results(records, charts))
    assert [sheet.name for sheet in found] == names
    assert {claim for sheet in found for claim in sheet.charts} == set(charts)
    nothing_ran = [cell([], claim_name=name, not_applicable="no") for name in charts]
    assert [sheet.name for sheet in sheets(results(nothing_ran, charts))] == names


def test_names_of_figures_are_plain_names_of_files_and_differ() -> None:
    phenomena = ["../../etc/passwd", "../../etc/shadow", "heatmap", "Heatmap", "x" * 250, "x" * 260, "\u202e"]
    records = [cell([1.0], phenomenon=name) for name in phenomena]
    names = [sheet.name for sheet in sheets(results(records, {"ratio": [LINES]}))]
    assert len({name.lower() for name in names} | {"heatmap"}) == len(phenomena) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,70}", name) for name in names)


def test_controls_and_sweeps_have_no_figure() -> None:
    records = [
        cell([1.0], swept=True),
        cell([1.0], control=ControlId("positive", "c"), expects=("present",)),
    ]
    assert sheets(results(records, {"ratio": [LINES]})) == []


def test_curves_are_found_by_name_and_what_follows_a_colon() -> None:
    x = Points((1.0,), (2.0,))
    named = {"loss:b 10": x, "loss:b 9": x, "loss": x, "law": x, "losses": x}
    found = curves_of(CURVES, cell([None, points(**named)]))
    assert [(curve.group, curve.title) for curve in found] == [
        (1, title) for title in ("loss", "loss, b 9", "loss, b 10")
    ]
    assert curves_of(Dots("loss"), cell([points(**named)]))[0] == Curve(0, "", (1.0,), (2.0,))


def test_the_one_curve_of_all_runs_together_is_drawn_once() -> None:
    apart = cell([points(loss=Points((1.0,), (2.0,)))] * 3)
    assert [curve.group for curve in curves_of(CURVES, apart)] == [0, 1, 2]
    runs = {"s0 / run": "a", "s1 / run": "b"}
    together = replace(apart, groups=tuple(replace(group, runs=runs) for group in apart.groups))
    assert [curve.group for curve in curves_of(CURVES, together)] == [0]


def test_theories_that_are_not_among_the_measured_points_are_one_line() -> None:
    one, other = Points((1.0, 2.0), (1.0, 2.0)), Points((1.0, 2.0), (3.0, 2.0))
    record = cell([points(law=one), points(law=other), points(law=Points((5.0,), (5.0,)))])
    assert theory_of(CURVES, record) == Curve(0, "theory", (1.0, 2.0), (2.0, 2.0)), "the mean where x agree"
    titled = Curves({"loss": "loss", "law": "a law"}, x="x", y="y", theory="law")
    theory = theory_of(titled, record)
    assert theory is not None
    assert theory.title == "a law"
    assert curves_of(titled, record) == []
    assert theory_of(CURVES, cell([points(loss=one)])) is None


def test_levels_need_every_null_to_know_what_must_be_exceeded() -> None:
    whole, part = {"value": 2.0, "null": 1.0}, {"value": 2.0, "null": math.nan}
    record = cell([Outcome(effect=1.0, details=d) for d in (whole, part, {"other": 1.0})])
    assert levels_of(LEVELS, record) == [Level(0, 2.0, (1.0,), 1.5), Level(1, 2.0, (None,), None)]


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers), max_size=20), st.sampled_from(["", "x", "y", "xy"]))
def test_what_is_drawable_has_a_place_on_the_axes(pairs: list[tuple[float, float]], log: str) -> None:
    x, y = drawable(Points(tuple(x for x, _ in pairs), tuple(y for _, y in pairs)), log)
    assert list(x) == sorted(x)
    assert set(zip(x, y, strict=True)) <= set(pairs)
    for axis, values in (("x", x), ("y", y)):
        assert all(math.isfinite(v) and (v > 0 or axis not in log) for v in values)


@given(st.lists(st.floats(1e-150, 1e150), min_size=1, max_size=20, unique=True), st.booleans())
def test_bins_hold_their_middles(middles: list[float], log: bool) -> None:
    found = edges(sorted(middles), log)
    assert len(found) == len(middles) + 1
    assert all(math.isfinite(edge) and (edge > 0 or not log) for edge in found)
    for low, middle, high in zip(found, sorted(middles), found[1:], strict=False):
        assert low <= middle * (1 + 1e-9)
        assert middle <= high * (1 + 1e-9)


def test_a_single_bin_has_a_width() -> None:
    assert edges((2.0,), False) == [1.5, 2.5]
    assert curves_of(Bars("h", x="x"), cell([points(h=Points((2.0,), (3.0,)))])) == [
        Curve(0, "", (2.0,), (3.0,))
    ]


PACKAGE = Path(universality.__file__).parent


def code_of(folder: str) -> Iterator[tuple[str, str]]:
    """Every piece of code or text that a program of ours holds, without docstrings and imports."""
    for path in sorted((PACKAGE / folder).rglob("*")):
        if path.suffix in (".js", ".html", ".css"):
            yield path.name, path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            nodes = list(ast.walk(tree))
            strings = {
                id(n.value) for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
            }
            for node in nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in strings:
                    yield path.name, node.value
                if isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef | ast.ClassDef):
                    yield path.name, getattr(node, "name", getattr(node, "id", getattr(node, "attr", "")))


@pytest.mark.parametrize("folder", ["output", "judge", "plan", "store", "commands", "train"])
def test_nothing_but_its_own_file_knows_a_phenomenon_by_name(folder: str) -> None:
    names = [name for name in registry.names("phenomenon") if not name.startswith("toy")]
    assert len(names) >= 4
    known = [
        (file, text) for file, text in code_of(folder) for name in names if re.search(rf"\b{name}\b", text)
    ]
    assert known == []
