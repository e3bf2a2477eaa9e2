"""Curves and bars stand where the points of the outcomes are, beside what the theory predicts."""

import io
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.output.legible import LONG_NAMES, LONG_TASK, assert_legible, legend, note, panels
from tests.output.toy_charts import EDGE, cell, recorded, results, undecided
from universality.errors import MeasurementError
from universality.output.charts import sheets
from universality.output.figures.points import points
from universality.output.write import undrawn
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.outcome import Outcome, Points
from universality.store.cells import CellRecord

LOSS = Curves({"loss": "loss"}, x="width", y="loss at the end", log="xy", theory="law")
SWEEP = Points((4.0, 16.0, 64.0), (0.4, 0.2, 0.1))
LAW = Points((4.0, 64.0), (0.5, 0.125))


def outcome(effect: float = 1.0, **points: Points) -> Outcome:
    return Outcome(effect=effect, points=points)


def drawn(records: list[CellRecord], chart: Chart, **others: Chart) -> Figure:
    charts = {"ratio": [chart], **{name: [other] for name, other in others.items()}}
    of = results(records, charts)
    (sheet,) = sheets(of)
    return points(of, sheet)


def named(axes: Axes, kind: str) -> list[Any]:
    return [line for line in axes.lines if line.get_gid() == kind]


def xy(line: Any) -> list[tuple[float, float]]:
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))


def test_a_curve_for_each_group_and_the_theory_once() -> None:
    shuffled = Points((64.0, 4.0, 16.0), (0.11, 0.41, 0.21))
    figure = drawn([cell([outcome(loss=curve, law=LAW) for curve in (SWEEP, shuffled, SWEEP)])], LOSS)
    (axes,) = panels(figure)
    first, second, _ = named(axes, "points")
    assert xy(first) == [(4, 0.4), (16, 0.2), (64, 0.1)]
    assert xy(second) == [(4, 0.41), (16, 0.21), (64, 0.11)], "in the order of the sweep"
    (theory,) = named(axes, "theory")
    assert xy(theory) == [(4, 0.5), (64, 0.125)]
    assert theory.get_linestyle() == "--"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), figure.get_supylabel()) == ("width", "loss at the end")
    assert legend(figure) == ["loss", "theory"]
    assert axes.get_title() == "mlp\n✓ 1.00"


def test_names_after_a_colon_are_further_lines_with_a_colour_each() -> None:
    kinds = {f"loss:width {w}": Points((1.0, 2.0), (float(w), 1.0)) for w in (16, 4, 64)}
    other = {"lossless": SWEEP, "los": SWEEP}
    figure = drawn([cell([outcome(**kinds, **other), outcome(**kinds)])], LOSS)
    (axes,) = panels(figure)
    assert len(named(axes, "points")) == 6
    assert legend(figure) == [f"loss, width {w}" for w in (4, 16, 64)], "by number, and no other name"
    assert len({line.get_color() for line in named(axes, "points")}) == 3


def test_points_without_a_place_on_the_axes_are_left_out() -> None:
    broken = Points((0.0, 4.0, 16.0, 64.0, 256.0), (1.0, np.nan, 0.2, -1.0, 0.1))
    figure = drawn([cell([outcome(loss=broken), outcome(loss=Points((0.0,), (1.0,)))])], LOSS)
    (line,) = named(panels(figure)[0], "points")
    assert xy(line) == [(16, 0.2), (256, 0.1)]


def test_marks_are_open_where_a_gate_was_not_met() -> None:
    figure = drawn([cell([outcome(loss=SWEEP), undecided(1.0, points={"loss": SWEEP})])], LOSS)
    full, empty = named(panels(figure)[0], "points")
    assert full.get_markerfacecolor() == full.get_color()
    assert to_hex(empty.get_markerfacecolor()) == "#ffffff"


def test_an_axis_of_less_than_a_decade_has_ticks() -> None:
    close = Points((1.0, 2.0, 4.0), (0.31, 0.5, 0.62))
    figure = drawn([cell([outcome(loss=close)])], LOSS)
    (axes,) = panels(figure)
    FigureCanvasAgg(figure).draw()
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        inside = [t.label1.get_text() for t in axis.get_major_ticks() if ends[0] <= t.get_loc() <= ends[1]]
        assert len([text for text in inside if text]) >= 2


def test_claims_of_one_chart_share_a_figure_and_equal_points_are_drawn_once() -> None:
    records = [cell([outcome(loss=SWEEP)]), cell([outcome(loss=SWEEP)], claim_name="twice")]
    (axes,) = panels(figure := drawn(records, LOSS, twice=LOSS))
    assert len(named(axes, "points")) == 1
    moved = [records[0], cell([outcome(loss=LAW)], claim_name="twice")]
    (axes,) = panels(figure := drawn(moved, LOSS, twice=LOSS))
    first, second = named(axes, "points")
    assert first.get_color() != second.get_color()
    assert legend(figure) == ["ratio, loss", "twice, loss"]


def test_titles_that_one_claim_has_alone_stand_without_its_name() -> None:
    parts = Curves({"loss:all": "all", "loss:part": "its part"}, x="width", y="loss")
    records = [
        cell([outcome(**{"loss:all": SWEEP})]),
        cell([outcome(**{"loss:part": LAW})], claim_name="twice"),
    ]
    assert legend(drawn(records, parts, twice=parts)) == ["all", "its part"]


def test_the_value_of_a_parameter_stands_behind_its_name() -> None:
    kinds = {f"loss:{w}": Points((1.0, 2.0), (w, 1.0)) for w in (4, 16)}
    assert legend(drawn([cell([outcome(**kinds)])], Curves({"loss": "width"}, "step", "loss"))) == [
        "width 4",
        "width 16",
    ]


def test_a_verdict_is_under_its_name_also_in_the_panel_of_one_claim_alone() -> None:
    runs = [outcome(loss=SWEEP)] * 3
    records = [cell(runs), cell(runs, claim_name="second"), cell(runs, claim_name="second", task="other")]
    titles = [axes.get_title().splitlines()[1:] for axes in panels(drawn(records, LOSS, second=LOSS))]
    assert titles == [["ratio ✓ 1.00", "second ✓ 1.00"], ["second ✓ 1.00"]]


def test_verdicts_of_claims_stand_below_each_other() -> None:
    names = ["ratio", "second", "third"]
    records = [cell([outcome(loss=SWEEP)], claim_name=name) for name in names]
    (axes,) = panels(figure := drawn(records, LOSS, second=LOSS, third=LOSS))
    lines = axes.get_title().splitlines()[-3:]
    assert [line.split()[0] for line in lines] == names
    (alone,) = panels(small := drawn(records[:1], LOSS))
    assert len(alone.get_title().splitlines()) == len(axes.get_title().splitlines()) - 2
    assert figure.get_figheight() > small.get_figheight()


def test_the_marks_of_verdicts_over_panels_have_a_key_of_those_that_occur() -> None:
    records = [cell([outcome(e, loss=SWEEP)] * 3, task=f"t{e}") for e in (1.0, 7.0)]
    assert (
        note(drawn(records, LOSS))
        .replace("\n", " ")
        .endswith("over a panel, verdict and effect: ✓ present, ✗ absent")
    )
    assert_legible(drawn(records, LOSS))


@pytest.mark.parametrize(("y", "drawn_at"), [("ratio", [0.9, 1.15]), ("loss at the end", [])])
def test_the_claimed_bounds_are_lines_where_the_axis_is_the_effect(y: str, drawn_at: list[float]) -> None:
    assert EDGE.unit == "ratio"
    figure = drawn([cell([outcome(loss=SWEEP)])], Curves({"loss": "loss"}, x="width", y=y))
    (axes,) = panels(figure)
    lines = named(axes, "bound")
    assert [line.get_ydata()[0] for line in lines] == drawn_at
    assert ("bound of its claim" in legend(figure)) is bool(drawn_at)
    low, high = axes.get_ylim()
    assert all(low < bound < high for bound in drawn_at), "though no curve reaches them"


def test_bars_reach_half_way_to_their_neighbours() -> None:
    histogram = Points((1.0, 2.0, 4.0), (5.0, 3.0, 1.0))
    figure = drawn([cell([outcome(h=histogram), outcome(h=histogram)])], Bars("h", x="loss"))
    (axes,) = panels(figure)
    outline, *_ = [patch for patch in axes.patches if patch.get_gid() == "points"]
    values, edges, _ = outline.get_data()  # type: ignore[attr-defined]
    assert list(edges) == [0.5, 1.5, 3.0, 5.0]
    assert list(values) == [5.0, 3.0, 1.0]
    assert axes.get_ylim()[0] <= 0 < 5 < axes.get_ylim()[1]
    assert len([patch for patch in axes.patches if patch.get_gid() == "points"]) == 2


@pytest.mark.parametrize("chart", [LOSS, Bars("loss", x="x", log="xy")], ids=str)
def test_many_long_names_stay_legible(chart: Curves | Bars) -> None:
    records = [cell([outcome(loss=SWEEP, law=LAW)], architecture=name) for name in LONG_NAMES]
    records += [cell([outcome(loss=SWEEP)], architecture=LONG_NAMES[0], task=LONG_TASK)]
    assert_legible(drawn(records, chart))


@pytest.mark.parametrize("chart", [LOSS, Bars("loss", x="x", log="x")], ids=str)
def test_any_finite_numbers_can_be_drawn(chart: Curves | Bars) -> None:
    for numbers in ((1e150,), (1e-150, 1e150), (5.0, 5.0), (-1e150, 1e150)):
        wild = Points(numbers, numbers)
        if any(x > 0 for x in numbers):
            FigureCanvasAgg(drawn([cell([outcome(loss=wild)])], chart)).draw()


def test_a_figure_of_no_points_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no data"):
        drawn([cell([outcome(other=SWEEP), None, 2.0])], LOSS)


def test_a_chart_of_which_nothing_was_measured_is_said() -> None:
    some = [cell([outcome(loss=SWEEP)] * 3), cell([1.0] * 3, task="other")]
    assert undrawn(results(some, {"ratio": [LOSS]}), {}) == []
    lacking = [cell([outcome(lost=SWEEP, law=LAW)] * 3)]
    assert undrawn(results(lacking, {"ratio": [LOSS]}), {}) == [
        "edge.ratio: no outcome has what its chart draws, loss"
    ]
    charts = [
        Levels("trained", {"null": "null"}, "CKA"),
        Matrices({"m": "m"}, "CKA"),
        Dots("d"),
        Bars("b", "x"),
    ]
    assert [line.rpartition(" ")[2] for line in undrawn(results(lacking, {"ratio": charts}), {})] == [
        "trained", "m", "d", "b",
    ]  # fmt: skip
    unmeasured = [cell([Outcome(effect=None)] * 3)]
    assert undrawn(results(unmeasured, {"ratio": [LOSS]}), {}) == []


def test_a_series_that_no_known_run_has_is_said() -> None:
    cells, lines = [cell([1.0] * 3)], Lines({"accuracy.trian": ""}, "accuracy")
    of = results(cells, {"ratio": [lines]})
    assert undrawn(of, {}) == []  # of runs that are not here nothing is known
    assert undrawn(of, recorded(cells, "accuracy.train")) == [
        "edge.ratio: no run has what its chart draws, accuracy.trian"
    ]
    assert undrawn(of, recorded(cells, "accuracy.trian")) == []


def test_marks_of_a_long_curve_stand_apart_and_those_of_a_short_one_at_every_point() -> None:
    x = tuple(map(float, range(1, 401)))
    figure = drawn([cell([outcome(loss=Points(x, tuple(1 / value for value in x)))])], LOSS)
    short = drawn([cell([outcome(loss=SWEEP)])], LOSS)
    buffers = [io.BytesIO(), io.BytesIO()]
    for each, buffer in zip((figure, short), buffers, strict=True):
        each.savefig(buffer, format="svg")
    long_marks, short_marks = (
        len(re.findall(r"<use [^>]*fill: #0072b2", b.getvalue().decode())) for b in buffers
    )
    assert 5 <= long_marks - 1 <= 25, "one of them is the legend's"
    assert short_marks - 1 == len(SWEEP.x)
