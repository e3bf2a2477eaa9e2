"""Tables survive a round trip; figures carry the data, labels and bounds they were given."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from universality import columns as c
from universality.claims import Claim, Most, Within
from universality.errors import MeasurementError
from universality.records import CellRecord, GroupRecord, Outcome, RunState
from universality.report import figures, tables, write_figures, write_tables
from universality.report.heatmap import COLOURS, MARKS, verdict_heatmap
from universality.verdicts import VERDICTS, judge, universality

FACTS = {
    "edge_of_stability": {
        c.TITLE: "Edge | of stability",
        c.STRAND: "laws",
        c.SENSE: "number",
        c.SOURCE: "Cohen et al. 2021, arXiv:2103.00065",
    }
}


def record(
    architecture: str = "mlp",
    task: str = "digits",
    *,
    effect: float = 1.0,
    claim: Claim | None = None,
    claim_name: str = "gd",
    phenomenon: str = "edge_of_stability",
    state: RunState = "done",
    control: str = "",
    expects: tuple[str, ...] = (),
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
            message='said "no",\nthen stopped' if state != "done" else "",
        )
        for i in range(3)
    )
    return CellRecord(
        phenomenon=phenomenon,
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
    record(control="positive: tanh | mlp", expects=("present",)),
    record(control="negative: lazy", effect=0.1, expects=("absent", "inconclusive")),
]


def trajectories(
    phenomenon: str, *metrics: str, architectures: tuple[str, ...] = ("mlp", "cnn")
) -> pd.DataFrame:
    rows = [
        (phenomenon, a, "digits", seed, "gd", step, metric, 1.0 / (1 + step + seed))
        for a in architectures
        for seed in range(2)
        for step in (0, 1, 10, 100, 1000)
        for metric in metrics
    ]
    return pd.DataFrame(rows, columns=list(c.TRAJECTORY))


def test_evidence_survives_a_round_trip_through_csv(tmp_path: Path) -> None:
    frame = tables.evidence_table(judge(RECORDS))
    frame.to_csv(tmp_path / "evidence.csv", index=False)
    back = tables.read_evidence(tmp_path / "evidence.csv")
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert list(back[c.TASK])[2] == "NA"
    assert back[c.REASON][2] == '3 of 3 groups crashed: said "no",\nthen stopped'
    assert list(back[c.PASSED]) == ["", "", "", "", "yes", "yes"]


def test_evidence_keeps_the_raw_verdict_beside_an_invalid_one() -> None:
    failing = record(control="negative: lazy", expects=("absent",))
    frame = tables.evidence_table(judge([RECORDS[0], RECORDS[4], failing]))
    assert list(frame[c.VERDICT]) == ["invalid", "present", "present"]
    assert list(frame[c.RAW_VERDICT]) == ["present", "present", "present"]


def test_universality_table_has_a_column_per_verdict() -> None:
    frame = tables.universality_table(universality(judge(RECORDS)), FACTS)
    row = frame.iloc[0]
    assert [row[v] for v in VERDICTS] == [2, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert row[c.PREVALENCE] == pytest.approx(2 / 3)
    assert (row[c.DECIDED], row[c.APPLICABLE], row[c.COVERAGE]) == (3, 4, 0.75)
    assert (row[c.SENSE], row[c.CONTROLS]) == ("number", "validated")


def test_markdown_escapes_what_would_end_a_cell() -> None:
    failing = record(control="negative: a|b", expects=("absent",))
    text = tables.markdown(universality(judge([RECORDS[0], failing])), FACTS)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert r"Edge \| of stability" in lines[2]
    assert r"negative: a\|b is present, expected absent" in lines[2]
    unescaped = lines[2].replace(r"\|", "")
    assert unescaped.count("|") == len(tables.HEADERS) + 1
    assert "arXiv:2103.00065" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_is_plain_text_outside_a_terminal() -> None:
    stream = io.StringIO()
    tables.print_table(universality(judge(RECORDS)), FACTS, stream)
    header, row = stream.getvalue().splitlines()
    assert header.index("Prevalence") == row.index("67% [")


def test_the_table_is_plain_text_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    stream = Terminal()
    tables.print_table(universality(judge(RECORDS)), FACTS, stream)
    assert len(stream.getvalue().splitlines()) == 2


def test_the_table_in_a_terminal_shows_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    stream = Terminal()
    tables.print_table(universality(judge(RECORDS)), {"edge_of_stability": {c.TITLE: "x[red]"}}, stream)
    assert "x[red]" in stream.getvalue()
    assert "67% [" in stream.getvalue()


def test_the_heatmap_marks_every_cell_and_leaves_out_controls() -> None:
    figure = verdict_heatmap(judge(RECORDS), {"edge_of_stability": "Edge of stability"})
    axes = figure.axes[0]
    assert axes.get_xlabel() == "architecture, by task"
    assert axes.get_ylabel() == "phenomenon: claim"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Edge of stability: gd"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["mlp", "cnn", "mlp", "mlp[width=64]"]
    texts = [t.get_text() for t in axes.texts]
    assert texts == ["+\n1.00", f"{MARKS['absent']}\n3.00", "C", "+\n1.00", "digits", "NA"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["+  present", f"{MARKS['absent']}  absent", "C  crashed"]


def test_every_verdict_has_its_own_colour_and_mark() -> None:
    assert len(set(COLOURS.values())) == len(set(MARKS.values())) == len(VERDICTS)


def test_squares_have_the_colour_of_their_verdict() -> None:
    figure = verdict_heatmap(judge(RECORDS), {})
    figure.canvas.draw()
    mesh = figure.axes[0].collections[0]
    from matplotlib.colors import to_rgba

    expected = [to_rgba(COLOURS[v]) for v in ("present", "absent", "crashed", "present")]
    np.testing.assert_allclose(mesh.get_facecolors(), expected)


def test_edge_of_stability_draws_runs_threshold_and_band() -> None:
    frame = trajectories("edge_of_stability", c.SHARPNESS_RATIO)
    figure = figures.edge_of_stability(frame, band=(0.9, 1.15))
    assert _sup(figure) == ("step", "sharpness / stability threshold")
    assert [a.get_title() for a in figure.axes] == ["mlp\ndigits", "cnn\ndigits"]
    threshold, first, _ = figure.axes[0].lines
    assert list(threshold.get_ydata()) == [1.0, 1.0]
    assert list(first.get_ydata()) == pytest.approx([1, 1 / 2, 1 / 11, 1 / 101, 1 / 1001])
    band = figure.axes[0].patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.9, 1.15))  # type: ignore[attr-defined]


def test_grokking_draws_both_accuracies_over_log_steps() -> None:
    frame = trajectories("grokking", c.TRAIN_ACCURACY, c.VALIDATION_ACCURACY)
    figure = figures.grokking(frame)
    assert _sup(figure) == ("step", "accuracy")
    assert figure.axes[0].get_xscale() == "symlog"
    assert len(figure.axes[0].lines) == 4
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["training", "validation"]


def test_neural_collapse_draws_metrics_and_criteria_on_log_axes() -> None:
    frame = trajectories("neural_collapse", c.NC1, c.NC2_ANGLES, c.NC2_NORMS, c.NC3)
    figure = figures.neural_collapse(frame, {c.NC1: 0.05})
    assert _sup(figure) == ("step", "collapse (0 = complete)")
    assert figure.axes[0].get_yscale() == "log"
    assert [0.05, 0.05] in [list(line.get_ydata()) for line in figure.axes[0].lines]


def test_a_cell_without_runs_says_so() -> None:
    frame = trajectories("grokking", c.TRAIN_ACCURACY)
    other = frame[frame[c.ARCHITECTURE] == "mlp"].assign(**{c.TASK: "modular"})
    figure = figures.grokking(pd.concat([frame, other]))
    assert [t.get_text() for t in figure.axes[3].texts] == ["no runs"]


def test_similarity_shows_trained_beside_untrained_with_layer_names() -> None:
    values = np.arange(6.0).reshape(2, 3) / 6
    trained = figures.Matrix("mlp and cnn", ["a", "b"], ["x", "y", "z"], values)
    figure = figures.representation_similarity([(trained, trained), (trained, None)])
    left, right, bar = figure.axes[0], figure.axes[1], figure.axes[-1]
    assert left.get_title() == "mlp and cnn\ntrained"
    assert right.get_title() == "mlp and cnn\nuntrained"
    assert [t.get_text() for t in left.get_xticklabels()] == ["x", "y", "z"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    np.testing.assert_array_equal(left.images[0].get_array(), values)
    assert bar.get_ylabel() == "linear CKA"


def test_a_figure_of_nothing_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no data") as caught:
        figures.grokking(trajectories("edge_of_stability", c.SHARPNESS_RATIO))
    assert caught.value.got == c.SHARPNESS_RATIO
    with pytest.raises(MeasurementError, match="no matrices"):
        figures.representation_similarity([])


def test_a_report_writes_its_files_twice_alike_and_leaves_pyplot_alone(tmp_path: Path) -> None:
    frame = pd.concat(
        [trajectories("edge_of_stability", c.SHARPNESS_RATIO), trajectories("unknown", c.TRAIN_ACCURACY)]
    )
    matrix = figures.Matrix("mlp", ["a"], ["a"], np.ones((1, 1)))
    verdicts = judge(RECORDS)
    once, again = (
        write_figures(tmp_path / name, verdicts, FACTS, frame, [(matrix, None)]) for name in ("a", "b")
    )
    names = [
        *("heatmap.svg", "heatmap.png", "edge_of_stability.svg", "edge_of_stability.png"),
        *("representation_similarity.svg", "representation_similarity.png"),
    ]
    assert [p.name for p in once] == names
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert plt.get_fignums() == []


def test_tables_of_claims_without_numbers_need_no_trajectories(tmp_path: Path) -> None:
    verdicts = judge([record(effect=9.0, claim=Most(at_least=5))])
    write_tables(tmp_path, tmp_path / "report", verdicts, {})
    assert "3 of 3 hold" in (tmp_path / "evidence.csv").read_text()
    assert (tmp_path / "universality.csv").is_file()
    assert (tmp_path / "report" / "universality.md").is_file()


def _sup(figure: Figure) -> tuple[str, str]:
    return figure.get_supxlabel(), figure.get_supylabel()
