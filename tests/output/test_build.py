"""Tables survive a round trip; figures carry the data, labels and bounds they were given."""

import contextlib
import dataclasses
import importlib.util
import io
import json
from pathlib import Path
from typing import Any, get_args

import matplotlib.pyplot as plt
import msgspec
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from msgspec.structs import replace

from tests.judge import toy_cells
from tests.output.legible import LONG_NAMES, LONG_TASK, assert_legible, written
from tests.stored import content, write, write_lines
from universality.errors import MeasurementError, StoreError
from universality.judge.answers import answers
from universality.judge.boundary import Boundary
from universality.judge.decide import VERDICTS, ReasonKind
from universality.judge.leaderboard import leaderboard
from universality.judge.resultset import ResultSet
from universality.output import leaderboard as forms
from universality.output import tables
from universality.output.build import Summary, rebuild
from universality.output.collect import thinned_before
from universality.output.figures import style
from universality.output.figures.beside import REASONS
from universality.output.figures.heatmap import MIN_LISTED, TILE, verdict_heatmap
from universality.output.latex import latex
from universality.output.page.render import frame, with_runs
from universality.output.palette import COLOURS, MARKS
from universality.output.write import write_figures, write_tables
from universality.plan.plan_json import PlanRecord
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.controls import ControlId, Decidable
from universality.plugin.outcome import Matrix, Outcome, Points
from universality.plugin.phenomenon import About
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.compressed import gunzipped
from universality.store.files import decode_json
from universality.store.layout import Layout
from universality.store.store import Store

EDGE = About(
    title="Edge | of stability",
    strand="laws",
    sense="number",
    source="Cohen et al. 2021, arXiv:2103.00065",
    claims={"gd": "gradient descent"},
)


def results(*records: CellRecord, edge: About = EDGE) -> ResultSet:
    """A result set that is on no disk; other phenomena than the edge of stability have no titles."""
    others = {r.phenomenon: About(title=r.phenomenon, strand="laws", sense="form", source="", claims={})
              for r in records}  # fmt: skip
    return toy_cells.set_of(records, phenomena={**others, "edge_of_stability": edge})


def record(
    architecture: str = "mlp",
    task: str = "digits",
    *,
    effect: float = 1.0,
    claim: Bound | None = None,
    claim_name: str = "gd",
    phenomenon: str = "edge_of_stability",
    state: RunState = "done",
    control: ControlId | None = None,
    expects: tuple[Decidable, ...] = (),
) -> CellRecord:
    groups = tuple(
        GroupRecord(
            key=f"s{i}",
            units=(str(i),),
            runs={"run": f"{architecture}-{i}"},
            state=state,
            outcome=Outcome(effect=effect + i / 1000, details={"rise, first": 2.0})
            if state == "done"
            else None,
            problem=Problem("training", 'said "no",\nthen stopped') if state != "done" else None,
        )
        for i in range(3)
    )
    return CellRecord(
        phenomenon=phenomenon,
        variant=phenomenon,
        version=1,
        claim_name=claim_name,
        claim=claim or Within(low=0.9, high=1.15, unit="sharpness / (2/lr)"),
        architecture=architecture,
        task=task,
        groups=groups,
        control=control,
        expects=expects,
    )


RECORDS = [
    record("mlp", "digits"),
    record("cnn", "digits", effect=3.0),
    record("mlp", "NA", state="crashed"),
    record("mlp[width=64]", "NA"),
    record("reference net", control=ControlId("positive", "tanh | mlp"), expects=("present",)),
    record(control=ControlId("negative", "lazy"), effect=0.1, expects=("absent", "inconclusive")),
]


NEGATIVE = ControlId("negative", "lazy")


def idle(claim_name: str = "gd") -> list[CellRecord]:
    """A cell with controls of which the negative one straddles a bound."""
    return [
        record(claim_name=claim_name),
        record(
            "reference net",
            claim_name=claim_name,
            control=ControlId("positive", "tanh"),
            expects=("present",),
        ),
        record(
            claim_name=claim_name,
            control=ControlId("negative", "lazy"),
            effect=0.899,
            expects=("absent", "inconclusive"),
        ),
    ]


def test_evidence_survives_a_round_trip_through_csv(tmp_path: Path) -> None:
    frame = tables.evidence_table(results(*RECORDS))
    frame.to_csv(tmp_path / "evidence.csv", index=False)
    back = pd.read_csv(tmp_path / "evidence.csv", dtype=str, keep_default_na=False)  # a task may be called NA
    for name in frame.select_dtypes("float").columns:
        back[name] = [float(cell or "nan") for cell in back[name]]
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert list(back["task"])[2] == "NA"
    assert back["reason"][2] == '3 of 3 groups crashed: said "no",\nthen stopped'
    assert list(back["passed"]) == ["", "", "", "", "yes", "yes"]


def test_evidence_keeps_the_raw_verdict_beside_an_invalid_one() -> None:
    failing = record(control=ControlId("negative", "lazy"), expects=("absent",))
    frame = tables.evidence_table(results(RECORDS[0], RECORDS[4], failing))
    assert list(frame["verdict"]) == ["invalid", "present", "present"]
    assert list(frame["raw_verdict"]) == ["present", "present", "present"]


def test_every_table_says_where_a_negative_control_was_not_exercised() -> None:
    table = results(*idle())
    evidence, universality = tables.evidence_table(table), tables.universality_table(table)
    assert list(evidence["verdict"]) == ["present", "present", "inconclusive"]
    assert list(evidence["expects"]) == ["", "present", "absent"]
    assert list(evidence["passed"]) == ["", "yes", "not exercised"]
    why = "negative not exercised: lazy: inconclusive, "
    row = universality.iloc[0]
    assert (row["present"], row["controls"]) == (1, "unvalidated")
    assert row["failed_controls"].startswith(why)
    assert f"unvalidated: {why}" in tables.markdown(table)
    assert f"unvalidated: {why}" in latex(table)
    assert f"unvalidated: {why}" in forms.table(leaderboard([table])).lines[0][-1]


def test_controls_without_cells_are_a_table_of_their_own_and_no_row_of_a_claim() -> None:
    alone = results(*idle()[1:])
    assert [line[2:] for line in tables.controls_alone(alone).lines] == [
        ("positive: tanh", "present", "3 of 3", "yes"),
        ("negative: lazy", "inconclusive", "2 of 3", "not exercised"),
    ]
    assert tables.readable_rows(alone.rows) == []
    text = tables.markdown(alone)
    assert "Groups that hold" in text
    assert "Prevalence" not in text
    assert "not yet known" not in text
    assert tables.controls_alone(results(*idle())).lines == []


def test_universality_table_has_a_column_per_verdict() -> None:
    frame = tables.universality_table(results(*RECORDS))
    row = frame.iloc[0]
    assert [row[v] for v in VERDICTS] == [2, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert row["prevalence"] == pytest.approx(2 / 3)
    assert (row["decided"], row["applicable"], row["coverage"]) == (3, 4, 0.75)
    assert (row["sense"], row["controls"]) == ("number", "validated")


def test_markdown_says_where_claims_end() -> None:
    end = Boundary(
        phenomenon="edge_of_stability",
        claim_name="gd",
        of="grokking",
        parameter="decay",
        example="grokking[decay=0.0]",
        beside="mlp, modular|<b>",
        decided=((0.0, "absent"), (1.0, "present")),
        undecided=(0.1,),
    )
    table = results(*RECORDS)
    assert "claims end" not in tables.markdown(table)
    table.__dict__["boundaries"] = (end,)
    text = tables.markdown(table)
    claim = "Edge \\| of stability, gradient descent (gd)"
    assert f"- {claim}, decay (mlp, modular\\|\\<b>): changes between 0 and 1: absent at 0" in text
    assert "not decided at 0.1" in text


def test_markdown_escapes_what_would_end_a_cell() -> None:
    failing = record(control=ControlId("negative", "a|b"), expects=("absent",))
    text = tables.markdown(results(RECORDS[0], failing))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert r"Edge \| of stability" in lines[2]
    assert "gradient descent (gd): 0.9 to 1.15 (sharpness / (2/lr))" in lines[2]
    assert r"negative: a\|b is present, expected absent" in lines[2]
    unescaped = lines[2].replace(r"\|", "")
    assert unescaped.count("|") == len(tables.HEADERS) + 1
    assert "arXiv:2103.00065" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_is_plain_text_outside_a_terminal() -> None:
    stream = io.StringIO()
    tables.print_table(results(*RECORDS).rows, stream)
    header, row, note = stream.getvalue().splitlines()
    assert note == tables.NOTE
    assert header.index("Prevalence") == row.index("67% [")


def test_the_table_is_plain_text_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    stream = Terminal()
    tables.print_table(results(*RECORDS).rows, stream)
    assert len(stream.getvalue().splitlines()) == 3


def test_the_table_in_a_terminal_shows_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    stream = Terminal()
    tables.print_table(results(*RECORDS, edge=replace(EDGE, title="x[red]")).rows, stream)
    assert "x[red]" in stream.getvalue()
    assert "67% [" in stream.getvalue()


def tiles(axes: Axes) -> list[str]:
    """What is written into the tiles of a heatmap, row by row."""
    (low, high), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    inside = [
        t for t in axes.texts if low < t.get_position()[0] < high and bottom < t.get_position()[1] < top
    ]
    return [t.get_text() for t in inside if t.get_horizontalalignment() == "center"]


def test_the_heatmap_has_a_panel_per_phenomenon_with_only_its_own_columns() -> None:
    grokking = record("lstm", LONG_TASK, phenomenon="grokking", claim_name="delay", claim=Most(at_least=5))
    figure = verdict_heatmap(results(*RECORDS, grokking, edge=replace(EDGE, title="Edge of stability")))
    first, second = figure.axes
    assert [t.get_text() for t in first.get_xticklabels()] == ["mlp", "cnn", "mlp", "mlp[width=64]"]
    assert [t.get_text() for t in second.get_xticklabels()] == ["lstm"]
    assert tiles(first) == [
        *(f"{MARKS['present']} 1.00", f"{MARKS['absent']} 3.00"),
        *("C", f"{MARKS['present']} 1.00"),
    ]
    texts = [t.get_text() for t in written(figure)]
    assert {"Edge of stability", "grokking", "gradient descent (gd)", "delay", "digits", "NA"} <= set(texts)
    assert "sharpness / (2/lr): 0.9 to 1.15" in [t.replace("\xa0", " ").replace("\n", " ") for t in texts]
    assert_legible(figure)


def test_a_title_with_dollars_is_drawn_as_it_stands() -> None:
    """Half a formula is a syntax error where matplotlib reads it as one."""
    figure = verdict_heatmap(results(record(), edge=replace(EDGE, title=r"$\frac{$ of </svg>")))
    FigureCanvasAgg(figure).draw()
    (title,) = (axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left"))
    assert title == r"$\frac{$ of </svg>"


def test_phenomena_of_one_cell_are_listed_below_the_panels_and_not_strung_out() -> None:
    names = [f"alone{i}" for i in range(MIN_LISTED)]
    alone = [record(phenomenon=name) for name in names]
    figure = verdict_heatmap(results(*RECORDS, *alone))
    tall = verdict_heatmap(results(*RECORDS, *alone[1:]))
    assert figure.get_figheight() < tall.get_figheight()
    FigureCanvasAgg(figure).draw()
    listing = figure.axes[-1]
    texts = [text.get_text() for text in listing.texts]
    assert [text for text in texts if text.startswith("alone")] == names
    tiles = [patch for patch in listing.patches if patch.get_facecolor() != (0, 0, 0, 0)]
    assert len(tiles) == len(names)
    assert {to_hex(tile.get_facecolor()).upper() for tile in tiles} == {COLOURS["present"]}
    panels, below = figure.axes[0].get_position(), listing.get_position()
    (legend,) = figure.legends
    assert panels.y0 >= below.y1
    assert below.y0 * figure.bbox.height >= legend.get_window_extent().y1


def test_panels_of_the_heatmap_are_left_aligned_with_tiles_of_one_size() -> None:
    grokking = record("lstm", LONG_TASK, phenomenon="grokking", claim_name="delay")
    figure = verdict_heatmap(results(*RECORDS, grokking))
    FigureCanvasAgg(figure).draw()
    first, second = (axes.transData.transform([(0, 1), (1, 0)]) for axes in figure.axes)
    np.testing.assert_allclose(first[:, 0], second[:, 0])
    assert first[1, 1] - first[0, 1] == pytest.approx(second[1, 1] - second[0, 1])
    assert first[0, 1] > second[1, 1]


def test_the_legend_of_the_heatmap_lists_only_the_verdicts_that_occur() -> None:
    figure = verdict_heatmap(results(*RECORDS))
    legend = [t.get_text().partition(":")[0] for t in figure.legends[0].get_texts()]
    assert legend == [f"{MARKS['present']}  present", f"{MARKS['absent']}  absent", "C  crashed"]


def test_each_row_of_the_heatmap_ends_with_the_outcome_of_its_controls() -> None:
    failing = [
        record(claim_name="adam"),
        record(claim_name="adam", control=ControlId("negative", "lazy"), expects=("absent",)),
    ]
    alone = [
        record(claim_name="sgd"),
        record(claim_name="sgd", control=ControlId("positive", "a"), expects=("present",)),
    ]
    figure = verdict_heatmap(results(*RECORDS, *failing, *alone, *idle("momentum")))
    outcomes = [
        t.get_text() for t in figure.axes[0].texts if t.get_text().startswith(("controls ", "negative"))
    ]
    assert outcomes == ["controls ok", "controls failed", "controls missing", "negative not\nexercised"]


def test_each_row_of_the_heatmap_says_how_many_cells_hold_and_what_that_answers() -> None:
    bounded = [
        record(f"net{i}", f"task{j}", claim_name="adam", effect=1.0) for i in range(4) for j in range(4)
    ]
    adam = [
        *bounded,
        *idle("adam")[1:2],
        record(claim_name="adam", control=NEGATIVE, effect=3.0, expects=("absent",)),
    ]
    figure = verdict_heatmap(results(*RECORDS, *adam, record(claim_name="sgd", effect=0.899)))
    texts = [t for axes in figure.axes for t in axes.texts if "\n" in t.get_text()]
    found = {t.get_text(): t.get_fontweight() for t in texts}
    assert found == {
        "2 of 3 hold\nnot yet known": "normal",
        "16 of 16 hold\nuniversal here": "bold",
        "none decided\nnot validated": "normal",
    }
    assert_legible(figure)


def test_an_undecided_tile_says_why_below_its_effect_and_the_key_explains_it() -> None:
    few = replace(RECORDS[0], architecture="few", groups=RECORDS[0].groups[:2])
    figure = verdict_heatmap(results(*RECORDS, record("straddling", effect=0.899), few))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for text in axes.texts:
        if text.get_horizontalalignment() == "center":
            columns[names[int(text.get_position()[0])]].append(text)
    for name, said in (("straddling", ["? 0.90", "straddles"]), ("few", ["? ", "few seeds"])):
        above, below = columns.pop(name)
        assert above.get_text().startswith(said[0])
        assert below.get_text() == said[1]
        assert above.get_position()[0] == below.get_position()[0]
        assert 0 < above.get_position()[1] < below.get_position()[1] < 1, "the first row is above"
    assert [len(texts) for texts in columns.values()] == [2, 1, 1], (
        "what is decided, or ended early, has no second line"
    )
    note = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "straddles, the interval reaches over a bound; few seeds, fewer than a verdict takes." in note
    assert "gate" not in note
    assert_legible(figure)


def test_every_rule_that_leaves_a_cell_undecided_has_a_word_that_fits_a_tile() -> None:
    deciding = {"interval inside", "interval outside", "share", "not applicable", "ended early"}
    assert set(REASONS) == set(get_args(ReasonKind)) - deciding
    words = [word for word, _ in REASONS.values()]
    assert len(set(words)) == len(words)
    assert all("\n" not in style.wrapped(word, 0.8, style.TINY) for word in words)


def test_a_cell_in_the_list_has_its_reason_and_the_answer_of_its_claim() -> None:
    alone = [record(phenomenon=f"alone{i}", effect=0.899 if i else 1.0) for i in range(MIN_LISTED)]
    good = [
        record("other", phenomenon="alone0", control=ControlId("positive", "a"), expects=("present",)),
        record("other", phenomenon="alone0", control=NEGATIVE, effect=3.0, expects=("absent",)),
    ]
    figure = verdict_heatmap(results(*alone, *good))
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert "1 of 1 holds\nnot yet known" in texts
    assert texts.count("? 0.90\nstraddles") == texts.count("controls missing") == MIN_LISTED - 1
    assert_legible(figure)


def test_more_than_eight_columns_continue_in_a_further_panel_without_splitting_a_task() -> None:
    cells = [record(name, task) for task in ("digits", LONG_TASK) for name in LONG_NAMES]
    figure = verdict_heatmap(results(*cells))
    assert [len(axes.get_xticklabels()) for axes in figure.axes] == [6, 6]
    assert any("continued" in t.get_text() for t in written(figure))


@pytest.mark.parametrize("phenomena", [1, 6])
def test_a_heatmap_of_many_long_names_stays_legible(phenomena: int) -> None:
    cells = [
        record(name, task, phenomenon=f"p{i}", claim_name="penultimate_architectures")
        for i in range(phenomena)
        for task in (LONG_TASK, "sparse_parity", "a", "b", "c")
        for name in LONG_NAMES[: 6 if phenomena == 1 else 1]
    ]
    figure = verdict_heatmap(results(*cells))
    assert sum(len(axes.get_xticklabels()) for axes in figure.axes) == len(cells)
    assert_legible(figure)


@pytest.mark.parametrize(
    ("effect", "shown"), [(0.89973, "0.8997"), (0.9, "0.90"), (1.1502, "1.1502"), (1.04, "1.04")]
)
def test_a_number_beside_a_bound_is_never_rounded_across_it(effect: float, shown: str) -> None:
    figure = verdict_heatmap(results(record(effect=effect - 0.001)))  # the mean of three
    assert tiles(figure.axes[0])[0].split()[-1] == shown


def test_a_heatmap_without_cells_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no cells"):
        verdict_heatmap(results(*RECORDS[4:]))


@pytest.mark.parametrize("width", [0.5, 0.92, 1.5, 3.0])
def test_wrapped_names_fit_and_lose_no_letter(width: float) -> None:
    text = style.wrapped(LONG_TASK, width, 8.0)
    assert text.replace("\n", "") == LONG_TASK
    figure = Figure(dpi=100)
    box = figure.text(0, 0, text, fontsize=8.0).get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.width / figure.dpi <= width


@pytest.mark.parametrize(
    ("text", "inches", "lines"),
    [
        ("sparse_parity[n=30,k=3]", 1.0, ["sparse_parity", "[n=30,k=3]"]),
        ("sparse_parity[n=30,k=3]", 0.7, ["sparse_", "parity", "[n=30,k=3]"]),
        ("sparse_parity[n=30,k=3]", 0.5, ["sparse_", "parity", "[n=30,", "k=3]"]),
        ("modular[train_fraction=0.7]", 1.1, ["modular", "[train_fraction=0.7]"]),
        ("modular[train_fraction=0.7]", 1.0, ["modular", "[train_fraction=", "0.7]"]),
        ("modular[train_fraction=0.7]", 0.8, ["modular", "[train_", "fraction=0.7]"]),
        ("lazy to rich on digits", 0.7, ["lazy to rich", "on digits"]),
        ("abcdefghijklmnop", 0.5, ["abcdefg", "hijklmno", "p"]),
    ],
)
def test_names_are_broken_between_parameters_first_and_inside_a_word_last(
    text: str, inches: float, lines: list[str]
) -> None:
    assert style.wrapped(text, inches, 8.0).splitlines() == lines


@pytest.mark.parametrize("name", ["sparse_parity", "train_fraction=", "gaussian_"])
def test_names_that_fit_a_tile_are_in_one_piece(name: str) -> None:
    assert "\n" not in style.wrapped(name, TILE[0] - 0.04, style.SMALL, bold=True)


def test_every_verdict_has_its_own_colour_and_mark() -> None:
    assert len(set(COLOURS.values())) == len(set(MARKS.values())) == len(VERDICTS)


def test_squares_have_the_colour_of_their_verdict() -> None:
    figure = verdict_heatmap(results(*RECORDS))
    figure.canvas.draw()
    mesh = figure.axes[0].collections[0]
    from matplotlib.colors import to_rgba

    expected = [to_rgba(COLOURS[v]) for v in ("present", "absent", "crashed", "present")]
    np.testing.assert_allclose(mesh.get_facecolors(), expected)


CHARTS: dict[str, tuple[Chart, ...]] = {
    "lines": (Lines({"m": ""}, "m"),),
    "curves": (Curves({"p": ""}, x="x", y="y"),),
    "dots": (Dots("p"),),
    "bars": (Bars("p", x="x"),),
    "levels": (Levels("d", {"n": ""}, "s"),),
    "matrices": (Matrices({"m": ""}, "s"),),
}
ABOUT = About(
    title="All kinds", strand="laws", sense="form", source="", claims=dict.fromkeys(CHARTS, ""), charts=CHARTS
)


def every_kind() -> list[CellRecord]:
    """A cell for each kind of chart."""
    outcome = Outcome(
        effect=1.0,
        details={"d": 1.0, "n": 0.5},
        points={"p": Points((1.0, 2.0), (2.0, 1.0))},
        matrices={"m": Matrix(("a",), ("b",), ((0.5,),))},
    )
    cells = [record(claim_name=name, phenomenon="all_kinds") for name in CHARTS]
    return [
        replace(cell, groups=tuple(replace(group, outcome=outcome) for group in cell.groups))
        for cell in cells
    ]


RUNS = {
    f"mlp-{i}": {"seed": i, "state": "done", "series": {"m": [[0, 5, 5], [1.0, None, 0.5]]}} for i in range(3)
}


ALWAYS = ["heatmap.svg", "heatmap.png", "evidence_gaps.svg", "multiverse.svg"]


def test_a_report_writes_its_files_twice_alike_and_leaves_pyplot_alone(tmp_path: Path) -> None:
    of = toy_cells.set_of(every_kind(), phenomena={"all_kinds": ABOUT})
    once, again = (
        write_figures(dataclasses.replace(of, layout=Layout(tmp_path / name)), thinned_before(RUNS))
        for name in ("a", "b")
    )
    kinds = [kind for kind in CHARTS if kind != "dots"]  # a display of all cells
    names = [f"all_kinds-{kind}.{ending}" for kind in kinds for ending in ("svg", "png")]
    always = [*ALWAYS[:-1], "theory-all_kinds.svg", ALWAYS[-1]]
    assert [p.name for p in once] == [*always, *names]
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert plt.get_fignums() == []


def test_a_summary_shows_itself_in_a_notebook_and_escapes_names(tmp_path: Path) -> None:
    hostile = replace(RECORDS[0], architecture="<script>alert(1)</script>")
    of = results(hostile, *RECORDS[1:])
    shown = Summary(of, Store(tmp_path))._repr_html_()
    assert shown.startswith("<ul><li>")
    assert shown.count("<tr>") == 1 + len(tables.readable_rows(of.rows))
    assert "<script" not in shown


def test_a_plan_of_before_there_were_charts_has_what_needs_none(tmp_path: Path) -> None:
    about = replace(ABOUT, charts=msgspec.UNSET)
    of = toy_cells.set_of(every_kind(), phenomena={"all_kinds": about})
    paths = write_figures(dataclasses.replace(of, layout=Layout(tmp_path)), thinned_before(RUNS))
    assert [p.name for p in paths] == ALWAYS
    assert b"charts" not in gunzipped(of.plan.file(), 1 << 20)


def published(folder: Path) -> Store:
    """A set of every kind of chart, with its report and without its runs."""
    store = Store.create(folder)
    records = every_kind()
    store.write_measurements(records, toy_cells.plan_of(records, phenomena={"all_kinds": ABOUT}).file())
    rebuild(store)
    return store


def test_a_published_set_without_its_runs_redraws_its_lines_from_its_page(tmp_path: Path) -> None:
    store = published(tmp_path / "r")
    page, figure = store.layout.report / "index.html", store.layout.report / "all_kinds-lines.svg"
    assert not figure.exists(), "nothing is known of its runs"
    page.write_text(with_runs(frame(ResultSet.load(store.layout.root), "", 3), RUNS), encoding="utf-8")
    rebuild(store)
    first = figure.read_bytes()
    rebuild(store)
    assert figure.read_bytes() == first, "the page keeps what the figure is drawn from"


def test_a_figure_that_nothing_draws_any_more_is_deleted(tmp_path: Path) -> None:
    store = published(tmp_path / "r")
    drawn = {path.name for path in store.layout.report.iterdir()}
    (store.layout.report / "earlier_claim-curves.svg").write_text("<svg/>")
    # Of its runs nothing is known here: it may be all that is left of them.
    (store.layout.report / "all_kinds-lines.svg").write_text("<svg/>")
    rebuild(store)
    assert {path.name for path in store.layout.report.iterdir()} == drawn | {"all_kinds-lines.svg"}


def test_tables_of_claims_without_numbers_need_no_trajectories(tmp_path: Path) -> None:
    one = results(record(effect=9.0, claim=Most(at_least=5)))
    write_tables(dataclasses.replace(one, layout=Layout(tmp_path)))
    assert "3 of 3 hold" in (tmp_path / "evidence.csv").read_text()
    assert (tmp_path / "universality.csv").is_file()
    assert (tmp_path / "report" / "universality.md").is_file()


def plan_of(*records: CellRecord) -> PlanRecord:
    return toy_cells.plan_of(records, phenomena={"edge_of_stability": EDGE})


def test_a_lost_measurement_is_an_error_and_never_a_better_table(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "r")
    records = [record(control=ControlId("positive", "c"), expects=("present",)), record(effect=2.0)]
    store.write_measurements(records, plan_of(*records).file())
    assert len(rebuild(store).results.verdicts) == 2
    figure = store.layout.report / "heatmap.svg"
    assert figure.is_file(), "a set without its runs, as it is published, shows the verdicts it has"
    write_lines(store.layout.root, records[1:])
    with pytest.raises(StoreError, match="a result set cannot be used") as caught:
        rebuild(store)
    assert caught.value.got == f"measurements.jsonl.gz lacks {records[0].id}, which the plan names"


FORGERIES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "a state that is none": (("groups", 0, "state"), "</script>"),
    "details of text": (("groups", 0, "outcome", "details"), {"x": "nan"}),
    "details that are no object": (("groups", 0, "outcome", "details"), True),
    "a number beyond all numbers": (("groups", 0, "outcome", "effect"), 10**400),
    "a bound that is a list": (("claim", "low"), [0.9]),
    "an architecture that is an object": (("architecture",), {"a": 1}),
    "a run that climbs": (("groups", 0, "runs", "run"), "../../etc/passwd"),
    "half a character": (("task",), "\ud800"),
    "a name of megabytes": (("phenomenon",), "a" * 2_000_000),
    "a version of text": (("version",), "1"),
    "units that are lists": (("groups", 0, "units"), [["0"]]),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_report_of_forged_measurements_is_refused_and_writes_nothing(name: str, tmp_path: Path) -> None:
    """Ids are recomputed where that is possible, as a forger would."""
    store = Store.create(tmp_path / "r")
    raw = decode_json(record().line())
    place, value = FORGERIES[name]
    part = raw
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with contextlib.suppress(Exception):
        bare = {key: part for key, part in raw.items() if key != "id"}
        raw["id"] = msgspec.convert(bare, CellRecord).id
    write(store.layout.measurements, json.dumps(raw, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    store.write(store.layout.plan, replace(plan_of(), cells=(raw["id"],)).file())
    with pytest.raises(StoreError):
        rebuild(store)
    assert not store.layout.evidence.exists()


def forged(change: dict[str, Any]) -> dict[str, Any]:
    """Facts of a phenomenon whose only chart holds what no chart of ours does."""
    chart = {**msgspec.to_builtins(CHARTS["lines"][0]), **change}
    return {**msgspec.to_builtins(EDGE), "charts": {"gd": [chart]}}


@pytest.mark.parametrize(
    "change",
    [
        {"cells": "abc"},
        {"cells": ["../../x"]},
        {"runs": {"r": {"accuracy": [10**400]}}},
        {"runs": {"../r": {}}},
        {"phenomena": {"edge_of_stability": "x"}},
        {"tiers": {"digits": "</script>"}},
        {"suite": None},
        {"phenomena": {"edge_of_stability": forged({"label": "y" * 500})}},
        {"phenomena": {"edge_of_stability": forged({"series": [[f"s{i}", ""] for i in range(50)]})}},
        {"phenomena": {"edge_of_stability": forged({"level": {"$float": "nan"}})}},
        {"phenomena": {"edge_of_stability": forged({"series": {"m": ""}})}},
        {"phenomena": {"edge_of_stability": forged({"kind": "script"})}},
    ],
    ids=str,
)
def test_a_forged_plan_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "r")
    store.write_measurements([record()], plan_of(record()).file())
    plan = decode_json(content(store.layout.plan))
    write(store.layout.plan, json.dumps({**plan, **change}, sort_keys=True, indent=1).encode() + b"\n")
    with pytest.raises(StoreError, match="a result set cannot be used") as caught:
        rebuild(store)
    assert caught.value.got.startswith("plan.json.gz ")
    assert not store.layout.evidence.exists()


def test_a_cell_says_how_far_its_bound_could_move_and_a_row_what_other_bounds_give() -> None:
    cells = [
        toy_cells.cell(toy_cells.effects(*values), toy_cells.DELAY, task=str(i))
        for i, values in enumerate(([6.0] * 4 + [20.0], [12.0] * 5))
    ]
    found = toy_cells.set_of([*cells, toy_cells.cell([], not_applicable="no", task="none")])
    evidence = tables.evidence_table(found)
    assert list(evidence["margin"][:2]) == [6 / 5, 12 / 5]
    assert list(evidence["bound_stays"]) == ["lower bound below 6", "lower bound below 12", ""]
    row = tables.universality_table(found).iloc[0]
    assert row["bounds_moved"] == (
        ">= 10 in most runs: 1 present, 1 inconclusive; >= 2.5 in most runs: 2 present"
    )
    assert "ratio, >= 5 in most runs: >= 10 in most runs: 1 present" in tables.markdown(found).replace(
        "\\", ""
    )


def test_a_count_that_no_cell_could_reach_is_a_dash_and_the_row_is_tested_as_a_whole() -> None:
    cells = [
        toy_cells.cell(toy_cells.effects(*[10.0] * 5), toy_cells.DELAY, architecture=a, task=t)
        for a in "abcd"
        for t in "st"
    ]
    found = toy_cells.set_of(cells)
    ((*_, present, absent, _, coverage, together, pooled, _, _),) = tables.readable_rows(found.rows)
    assert (present, absent, coverage, together, pooled) == ("8 (-)", "0 (-)", "8/8", "40/40 (0.0020)", "-")
    row = tables.universality_table(found).iloc[0]
    assert row["answer"] == answers(found)[0][1].kind == "not validated"
    assert row["present_after_holm"] is None
    assert (row["groups_holding"], row["groups_effective"], row["groups_p"]) == (40, 10, 2**-9)
