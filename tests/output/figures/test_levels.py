"""Levels show what was measured, every null, and what had to be exceeded, a row for each group."""

from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.output.legible import LONG_NAMES, LONG_TASK, assert_legible, legend, note, panels
from tests.output.toy_charts import cell, results, undecided
from universality.errors import MeasurementError
from universality.output.charts import sheets
from universality.output.figures.levels import levels
from universality.plugin.charts import Levels
from universality.plugin.outcome import Outcome
from universality.store.cells import CellRecord

CHART = Levels("trained", {"untrained": "untrained", "random": "random labels"}, "CKA", margin=0.1)


def outcome(**details: float) -> Outcome:
    return Outcome(effect=1.0, details=details)


def drawn(records: list[CellRecord], *claims: str) -> Figure:
    of = results(records, {claim: [CHART] for claim in claims or ("ratio",)})
    (sheet,) = sheets(of)
    return levels(of, sheet)


def at(axes: Axes, kind: str) -> list[tuple[float, float]]:
    marks: list[Any] = [line for line in axes.lines if line.get_gid() == kind]
    return [(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in marks]


def test_values_nulls_and_what_must_be_exceeded_stand_in_rows() -> None:
    rows = [outcome(trained=0.9, untrained=0.4, random=0.5), outcome(trained=0.8, untrained=0.6, random=0.1)]
    (axes,) = panels(figure := drawn([cell(rows)]))
    assert at(axes, "value") == [(0.9, 0), (0.8, 1)]
    assert at(axes, "null") == [(0.4, 0), (0.5, 0), (0.6, 1), (0.1, 1)]
    assert at(axes, "needed") == [(pytest.approx(0.6), 0), (pytest.approx(0.7), 1)]
    low, high = sorted(axes.get_ylim())
    assert low < 0
    assert high > 1
    assert axes.yaxis_inverted(), "the first group above"
    assert legend(figure) == ["measured", "untrained", "random labels", "to exceed: largest of these + 0.1"]
    assert axes.get_xlabel() == "CKA"
    assert note(figure).endswith("verdict and effect: ? inconclusive")


def test_a_single_null_is_named_as_what_must_be_exceeded() -> None:
    alone = Levels("trained", {"chance": "chance"}, "share")
    of = results([cell([outcome(trained=0.9, chance=0.4)])], {"ratio": [alone]})
    assert legend(levels(of, sheets(of)[0])) == ["measured", "chance", "to exceed: chance"]


def test_without_one_of_the_nulls_nobody_knows_what_must_be_exceeded() -> None:
    rows = [outcome(trained=0.9, untrained=0.4), outcome(untrained=0.4, random=0.3), outcome(other=1.0), None]
    (axes,) = panels(drawn([cell(rows)]))
    assert at(axes, "value") == [(0.9, 0)]
    assert at(axes, "needed") == [(0.5, 1)]


def test_undecided_groups_are_open() -> None:
    full = outcome(trained=0.9, untrained=0.4, random=0.5)
    (axes,) = panels(drawn([cell([full, undecided(1.0, details=full.details)])]))
    faces = [to_hex(m.get_markerfacecolor()) for m in axes.lines if m.get_gid() == "value"]  # type: ignore[arg-type]
    assert faces[0] != "#ffffff" == faces[1]


def test_claims_of_one_chart_stand_below_each_other() -> None:
    row = outcome(trained=0.9, untrained=0.4, random=0.5)
    records = [cell([row, row]), cell([row], claim_name="architectures")]
    (axes,) = panels(figure := drawn(records, "ratio", "architectures"))
    assert [y for _, y in at(axes, "value")] == [0, 1, 3]
    assert legend(figure)[:2] == ["measured: ratio", "measured: architectures"]
    colours = [m.get_color() for m in axes.lines if m.get_gid() == "value"]
    assert colours[0] == colours[1] != colours[2]


def test_many_long_names_stay_legible() -> None:
    row = outcome(trained=0.9, untrained=0.4, random=0.5)
    records = [cell([row] * 30, architecture=name) for name in LONG_NAMES]
    records += [cell([row], architecture=LONG_NAMES[0], task=LONG_TASK)]
    assert_legible(drawn(records))


def test_a_figure_of_no_details_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no data"):
        drawn([cell([outcome(other=1.0), None])])
