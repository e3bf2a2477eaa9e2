"""Lines carry the series, the bounds of the claims and the effect of each group, where the data have them."""

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from msgspec.structs import replace

from tests.output.legible import LONG_NAMES, LONG_TASK, assert_legible, legend, note, panels, tasks
from tests.output.toy_charts import EDGE, cell, recorded, results, undecided
from universality.errors import MeasurementError
from universality.output.charts import sheets
from universality.output.figures import style
from universality.output.figures.lines import lines
from universality.plugin.bounds import Within
from universality.plugin.charts import Lines
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord

RATIO = Lines(
    {"sharpness.ratio": ""},
    "sharpness / threshold",
    band=True,
    level=1,
    level_title="threshold",
    low=0,
    high=2.5,
)
ACCURACIES = Lines({"accuracy.train": "training", "accuracy.validation": "validation"}, "accuracy", log="x")


def drawn(records: list[CellRecord], charts: Any, titles: Any = None, runs: Any = None) -> Figure:
    """The only figure of these cells; its runs recorded all that the charts are of."""
    (sheet,) = sheets(of := results(records, charts, titles))
    names = [name for each in charts.values() for chart in each for name, _ in chart.series]
    return lines(of, sheet, recorded(records, *names) if runs is None else runs)


def runs_of(axes: Axes) -> list[Any]:
    return [line for line in axes.lines if line.get_gid() == "run"]


def marks_of(axes: Axes) -> list[Any]:
    return [line for line in axes.lines if line.get_gid() == "effect"]


def test_runs_level_and_band_are_drawn_where_they_are() -> None:
    records = [cell([1.0, 1.01]), cell([2.0], architecture="cnn")]
    figure = drawn(records, {"ratio": [RATIO]}, {"ratio": "gradient descent"})
    first, second = panels(figure)
    assert (second.get_xlabel(), figure.get_supylabel()) == ("step", "sharpness / threshold")
    assert [first.get_title(), second.get_title()] == ["mlp", "cnn"]
    assert tasks(figure) == ["digits"]
    (run, _) = runs_of(first)
    assert list(run.get_ydata()) == pytest.approx([1, 1 / 2, 1 / 11, 1 / 101, 1 / 1001])
    (level,) = [line for line in first.lines if line.get_label() == "threshold"]
    assert list(level.get_ydata()) == [1.0, 1.0]
    (band,) = first.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.9, 1.15))  # type: ignore[attr-defined]
    texts = ["gradient descent (ratio)", "threshold", "claim: 0.9 to 1.15"]
    assert legend(figure) == [*texts, "effect of a group (open: a gate was not met)"]
    assert first.get_ylim() == (0, 2.5)


def test_each_group_has_its_effect_at_the_end_open_where_undecided() -> None:
    figure = drawn([cell([1.0, undecided(1.2), 7.0, None])], {"ratio": [RATIO]})
    marks = marks_of(panels(figure)[0])
    assert [float(mark.get_ydata()[0]) for mark in marks] == [1.0, 1.2, 2.5]
    assert [mark.get_marker() for mark in marks] == ["<", "<", "^"], "one lies beyond the axis"
    assert marks[0].get_markerfacecolor() == marks[0].get_color()
    assert to_hex(marks[1].get_markerfacecolor()) == "#ffffff"
    assert all(mark.get_xdata()[0] > 1 for mark in marks), "right of the axes"


def test_charts_of_other_values_than_the_claims_have_no_band_and_no_effect() -> None:
    figure = drawn([cell([1.0])], {"ratio": [ACCURACIES]})
    (axes,) = panels(figure)
    assert marks_of(axes) == []
    assert list(axes.patches) == []
    assert legend(figure) == ["training", "validation"]


def test_an_axis_that_is_cut_says_so() -> None:
    records = [cell([1.0])]
    within, beyond = (
        drawn(records, {"ratio": [RATIO]}, runs=recorded(records, "sharpness.ratio", factor=factor))
        for factor in (1, 10)
    )
    assert note(within) == "one line per run"
    assert note(beyond) == "one line per run; the vertical axis is cut at 2.5"


def test_spikes_are_cut_where_a_chart_has_no_limits() -> None:
    (record,) = records = [cell([1.0])]
    values = np.full(200, 1.0)
    values[7] = 1e9
    spiky = {run: {"m": Series(np.arange(200), values)} for g in record.groups for run in g.runs.values()}
    figure = drawn(records, {"ratio": [Lines({"m": ""}, "m")]}, runs=spiky)
    assert panels(figure)[0].get_ylim()[1] == pytest.approx(1.25)
    assert "the vertical axis is cut at 1.25" in note(figure)


def test_claims_about_other_runs_have_a_colour_each_in_one_figure() -> None:
    records = [cell([1.0, 1.0]), cell([1.1, 1.1], claim_name="adam")]
    titles = {"ratio": "gradient descent", "adam": "Adam"}
    figure = drawn(records, {"ratio": [RATIO], "adam": [RATIO]}, titles)
    (axes,) = panels(figure)
    colours = [line.get_color() for line in runs_of(axes)]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert [mark.get_color() for mark in marks_of(axes)] == colours
    assert len(axes.patches) == 1, "equal bands are one"
    assert legend(figure)[:2] == ["gradient descent (ratio)", "Adam"]


def test_claims_about_the_same_series_of_the_same_runs_draw_them_once() -> None:
    records = [cell([1.0], runs="same"), cell([1.1], claim_name="late", runs="same")]
    figure = drawn(records, {"ratio": [RATIO], "late": [RATIO]})
    (axes,) = panels(figure)
    assert len(runs_of(axes)) == 1
    assert [float(mark.get_ydata()[0]) for mark in marks_of(axes)] == [1.0, 1.1]


def test_two_series_are_told_apart_over_logarithmic_steps() -> None:
    figure = drawn([cell([1.0, 1.0])], {"ratio": [ACCURACIES]})
    (axes,) = panels(figure)
    assert axes.get_xlabel() == "step (logarithmic)"
    assert axes.get_xscale() == "symlog"
    assert {0.0, 1.0, 1000.0} <= set(axes.get_xticks())
    assert len(runs_of(axes)) == 4
    assert len({line.get_color() for line in runs_of(axes)}) == 2
    assert [line.get_linestyle() for line in runs_of(axes)][:2] == ["--", "-"], "the last series is solid"


def test_one_sided_bounds_have_the_colour_of_their_claim() -> None:
    """Charts that are alike but for their series are one figure."""
    records = [
        cell([0.04], claim_name="nc1", claim=Within(high=0.05), runs="same"),
        cell([0.1], claim_name="nc3", claim=Within(high=0.2), runs="same"),
    ]
    charts = {name: [Lines({name: ""}, "distance", band=True, log="y")] for name in ("nc1", "nc3")}
    figure = drawn(records, charts)
    (axes,) = panels(figure)
    assert axes.get_yscale() == "log"
    bounds = {float(line.get_ydata()[0]): line.get_color() for line in axes.lines if not line.get_gid()}  # type: ignore[index,arg-type]
    first, second = (line.get_color() for line in runs_of(axes))
    assert bounds == {0.05: first, 0.2: second}
    assert first != second
    assert legend(figure)[:3] == ["nc1", "nc3", "bound of its claim"]


def test_a_logarithmic_axis_leaves_gaps_for_what_it_cannot_show() -> None:
    (record,) = records = [cell([0.5])]
    values = np.array([1.0, 0.0, -1.0, math.nan, math.inf, 1e200, 0.5])
    runs = {run: {"m": Series(np.arange(7), values)} for g in record.groups for run in g.runs.values()}
    figure = drawn(records, {"ratio": [Lines({"m": ""}, "m", band=True, log="y")]}, runs=runs)
    (run,) = runs_of(panels(figure)[0])
    np.testing.assert_array_equal(run.get_ydata(), [1.0, *[math.nan] * 5, 0.5])
    FigureCanvasAgg(figure).draw()


def test_only_cells_with_runs_have_a_panel_grouped_by_task() -> None:
    places = [
        ("mlp", "digits"),
        ("cnn", "digits"),
        ("lstm", "digits"),
        ("mlp", "modular"),
        ("lstm", "parity"),
    ]
    records = [cell([1.0], architecture=a, task=t) for a, t in places]
    unknown = cell([1.0], architecture="vit")
    of = results([*records, unknown], {"ratio": [ACCURACIES]})
    figure = lines(of, sheets(of)[0], recorded(records, "accuracy.train"))
    assert [axes.get_title() for axes in panels(figure)] == [a for a, _ in places]
    # A panel without another one below it.
    assert [axes.get_xlabel() != "" for axes in panels(figure)] == [False, True, True, True, True]
    assert tasks(figure) == ["digits", "modular", "parity"]
    FigureCanvasAgg(figure).draw()
    tops = [round(axes.get_position().y1, 6) for axes in panels(figure)]
    assert tops[0] == tops[1] == tops[2] == tops[3] > tops[4]


@pytest.mark.parametrize("chart", [RATIO, ACCURACIES], ids=["band", "two series"])
@pytest.mark.parametrize("count", [1, 6])
def test_many_long_names_stay_legible(chart: Lines, count: int) -> None:
    records = [cell([1.0, 2.0], architecture=name, claim=EDGE) for name in LONG_NAMES[:count]]
    records += [cell([1.0], architecture=LONG_NAMES[0], task=LONG_TASK)]
    long = replace(chart, label="a label that is as long as anybody would like to write it, and then some")
    assert_legible(drawn(records, {"ratio": [long]}, {"ratio": "a claim with a title that goes on and on"}))


def test_texts_of_others_are_drawn_as_they_stand() -> None:
    """Neither formulas nor what cannot be seen."""
    title = "$\\frac{a$ $b$"
    hidden = f"{title} \u202e"
    chart = Lines({"m": title}, title, level=1, level_title=title)
    records = [cell([1.0], architecture=hidden, task=hidden)]
    figure = drawn(records, {"ratio": [chart]}, {"ratio": title}, runs=recorded(records, "m"))
    FigureCanvasAgg(figure).draw()
    titles = [axes.title.get_text().replace("\n", "") for axes in figure.axes]
    assert any(text.startswith("$\\frac{a$") and "\\u202e" in text for text in titles)
    assert "\u202e" not in "".join(titles)
    assert figure.get_supylabel() == title
    assert_legible(figure)


def test_more_cells_than_a_figure_has_room_for_are_counted() -> None:
    records = [cell([1.0], architecture=f"mlp[width={i}]") for i in range(62)]
    figure = drawn(records, {"ratio": [RATIO]})
    assert len(panels(figure)) == 60
    assert note(figure) == "one line per run; 60 of 62 cells are shown"


def test_a_look_of_the_reader_changes_no_figure(tmp_path: Path) -> None:
    records = [cell([1.0])]
    dark = {"text.usetex": True, "figure.facecolor": "black", "axes.facecolor": "black", "font.size": 20}
    plain = style.save(drawn(records, {"ratio": [RATIO]}), tmp_path, "plain")
    with plt.rc_context(dark):
        other = style.save(drawn(records, {"ratio": [RATIO]}), tmp_path, "other")
    assert [p.read_bytes() for p in plain] == [p.read_bytes() for p in other]


def test_a_figure_of_nothing_is_refused() -> None:
    records = [cell([1.0])]
    with pytest.raises(MeasurementError, match="no data") as caught:
        drawn(records, {"ratio": [RATIO]}, runs=recorded(records, "other"))
    assert caught.value.where == "edge"
    swept = [cell([1.0], swept=True)]
    assert sheets(results(swept, {"ratio": [RATIO]})) == []


def test_a_long_run_is_drawn_with_few_points_and_keeps_its_peaks() -> None:
    steps = np.arange(10_000)
    values = np.ones(10_000)
    values[[1234, 7777]] = 1.4, 0.6
    records = [cell([1.0])]
    runs = {
        run: {"sharpness.ratio": Series(steps, values)} for g in records[0].groups for run in g.runs.values()
    }
    (axes,) = panels(drawn(records, {"ratio": [RATIO]}, runs=runs))
    (run,) = runs_of(axes)
    points = dict(zip(map(int, run.get_xdata()), map(float, run.get_ydata()), strict=True))
    assert len(points) <= 200
    assert (points[0], points[1234], points[7777], points[9999]) == (1.0, 1.4, 0.6, 1.0)
