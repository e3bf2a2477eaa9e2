"""Exact theory: shown apart, not counted, and where it fails every table says so at its top."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.judge import toy_cells
from tests.judge.toy_cells import PASSING, cell, control, effects
from universality.audit.findings import Audit
from universality.audit.plan import check_cells
from universality.judge.compare import compare
from universality.judge.leaderboard import leaderboard
from universality.judge.resultset import ResultSet
from universality.output import compare as comparisons
from universality.output import leaderboard as boards
from universality.output import phrases, tables
from universality.output.latex import latex
from universality.output.page.render import frame
from universality.plan.suite import CrossSpec, Suite
from universality.plugin.phenomenon import About
from universality.store.layout import Layout

EXACT = msgspec.structs.replace(
    toy_cells.about(ratio="the edge"), title="Exact", calibration=True, dispute="where it ends"
)
OFF = [control("positive", 3.0, "present"), control("negative", 3.0, "absent")]
UNEXERCISED = [control("positive", 0.5, "present"), control("negative", 0.9, "absent")]
UNEXERCISED[1] = msgspec.structs.replace(UNEXERCISED[1], groups=tuple(effects(0.1, 0.9, 1.7)))


def results(*records: toy_cells.CellRecord, about: About = EXACT) -> ResultSet:
    behaviour = [
        msgspec.structs.replace(r, phenomenon="behaviour", variant="behaviour")
        for r in (cell(effects(*[0.5] * 3)), *PASSING)
    ]
    phenomena = {"behaviour": toy_cells.about(), "edge": about}
    return toy_cells.set_of([*behaviour, *records], phenomena=phenomena)


def every_table(found: ResultSet) -> dict[str, str]:
    terminal, board, other = io.StringIO(), leaderboard([found]), io.StringIO()
    tables.print_table(found.rows, terminal)
    comparison = compare(found, replace(found, label="again"))
    boards.print_board(board, other)
    return {
        "terminal": terminal.getvalue(),
        "markdown": tables.markdown(found),
        "latex": latex(found),
        "page": frame(found, "", 0),
        "board": other.getvalue(),
        "board, markdown": boards.markdown(board),
        "board, page": boards.html(board),
        "comparison": comparisons.markdown(comparison),
        "comparison, page": comparisons.html(comparison),
    }


@pytest.mark.parametrize("controls", [OFF, UNEXERCISED], ids=["not present", "not exercised"])
def test_where_it_fails_every_table_says_so_before_anything_else(
    controls: list[toy_cells.CellRecord],
) -> None:
    for name, text in every_table(results(*controls)).items():
        line = text.index("Do not trust the build or the machine")
        assert "Exact" in text[line : line + 120], name
        assert line < text.index("Prevalence") if "Prevalence" in text else True, name


@pytest.mark.parametrize(
    "found",
    [results(*PASSING), results(*OFF, about=msgspec.structs.replace(EXACT, calibration=False)), results()],
    ids=["it holds", "no calibration", "not run"],
)
def test_else_none_does(found: ResultSet) -> None:
    for name, text in every_table(found).items():
        assert "Do not trust" not in text, name


def test_it_is_shown_first_and_apart_and_counts_nowhere() -> None:
    found = results(cell(effects(*[0.5] * 3), architecture="elsewhere"), *PASSING)
    assert [row.phenomenon for row in found.rows] == ["edge", "behaviour"]
    assert [v.counted for v in found.verdicts if v.record.phenomenon == "edge"] == [False] * 3
    assert found.rows[0].decided == 0
    assert [row[0] for row in tables.readable_rows(found.rows)] == ["Edge"]
    assert tables.calibrations(found.rows).lines == [("Exact", "the edge (ratio): 0 to 1", "validated")]
    assert {row.phenomenon for row in leaderboard([found]).rows} == {"behaviour"}
    assert next(iter(tables.universality_table(found)["calibration"])) == "validated"


def test_a_dispute_stands_beside_the_source() -> None:
    assert phrases.source_text(EXACT) == "Toy 2020; disputed: where it ends"
    for name, text in every_table(results(*PASSING)).items():
        assert "comparison" in name or "board" in name or name == "terminal" or "where it ends" in text, name


def test_what_a_phenomenon_leaves_out_stands_in_no_file() -> None:
    assert set(msgspec.to_builtins(toy_cells.about())) == {"title", "strand", "sense", "source", "claims"}
    assert {"dispute", "calibration"} <= set(msgspec.to_builtins(EXACT))
    assert msgspec.convert(msgspec.to_builtins(EXACT), About) == EXACT


@pytest.mark.parametrize(
    ("about", "problems"), [(EXACT, 0), (toy_cells.about(), 2)], ids=["calibration", "behaviour"]
)
def test_a_suite_does_not_name_the_cell_of_a_calibration(about: About, problems: int, tmp_path: Path) -> None:
    crossed = CrossSpec(phenomena=("edge",), architectures=("mlp", "mlp[width=2]"), tasks=("digits",))
    plan, found = toy_cells.plan_of(phenomena={"edge": about}), Audit(tmp_path)
    record = cell(effects(0.5), architecture="reference", variant="edge")
    check_cells(found, Layout(tmp_path), Suite(name="toy", crosses=(crossed,)), plan, [record])
    assert len(found.problems) == problems
