"""Matrices stand side by side with their labels and values, one block for each pair of networks."""

import numpy as np
import pytest
from msgspec.structs import replace

from tests.output.legible import LONG_NAMES, LONG_TASK, assert_legible, panels
from tests.output.toy_charts import cell, results
from universality.errors import MeasurementError
from universality.output.collect import Block, blocks
from universality.output.figures.matrices import matrices
from universality.plan.runs_file import PlannedRun
from universality.plugin.charts import Matrices
from universality.plugin.outcome import Matrix, Outcome
from universality.plugin.phenomenon import ControlId
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.cells import CellRecord, GroupRecord

CHART = Matrices(
    {"untrained": "untrained", "trained": "trained"},
    "debiased CKA",
    rows="layers of the first",
    columns="layers of the second",
)
PLAIN = replace(CHART, rows="", columns="")


def matrix(rows: int, columns: int) -> Matrix:
    values = np.arange(float(rows * columns)).reshape(rows, columns) / (rows * columns)
    names = [tuple(f"{name}{i}" for i in range(n)) for name, n in (("block", rows), ("conv", columns))]
    return Matrix(names[0], names[1], tuple(map(tuple, values)))


def block(title: str, rows: int, columns: int, task: str = "", count: int = 2) -> Block:
    return Block(
        title, task, [("trained", matrix(rows, columns)), ("untrained", matrix(rows, columns))][:count]
    )


def test_matrices_stand_side_by_side_with_layer_names() -> None:
    both = block("mlp and cnn", 2, 3)
    figure = matrices(CHART, [both, block("mlp and cnn", 2, 3, count=1)])
    left, right, alone, bar = panels(figure)
    assert [a.get_title() for a in (left, right, alone)] == ["trained", "untrained", "trained"]
    assert [a.get_title() for a in figure.axes].count("mlp and cnn") == 2
    assert [t.get_text() for t in left.get_xticklabels()] == ["conv0", "conv1", "conv2"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["block0", "block1"]
    drawn = left.collections[0].get_array()
    assert drawn is not None
    np.testing.assert_array_equal(np.reshape(drawn, (2, 3)), both.matrices[0][1].values)
    assert left.get_ylim() == (0, 2), "the first layers at the bottom"
    assert [t.get_text() for t in left.texts] == [".00", ".17", ".33", ".50", ".67", ".83"]
    assert bar.get_ylabel() == "debiased CKA"
    assert bar.get_position().width < left.get_position().width / 5
    assert figure.texts[0].get_text().split("\n")[0].startswith("Rows: layers of the first. Columns:")
    assert_legible(figure)


def test_colours_span_what_the_chart_says() -> None:
    figure = matrices(replace(PLAIN, low=-1, high=3), [block("mlp", 2, 2, count=1)])
    first, bar = panels(figure)
    assert first.collections[0].get_clim() == (-1, 3)
    assert bar.get_ylim() == (-1, 3)


def test_matrices_of_any_shape_have_one_size() -> None:
    shapes = [(1, 1), (6, 6), (2, 9), (9, 2), (3, 3)]
    pairs = [block(f"{LONG_NAMES[0]} and {LONG_NAMES[i]}", *s, task="digits") for i, s in enumerate(shapes)]
    figure = matrices(PLAIN, [*pairs, *(pair._replace(task=LONG_TASK) for pair in pairs)])
    drawn = panels(figure)[:-1]
    assert len({(round(a.get_position().width, 9), round(a.get_position().height, 9)) for a in drawn}) == 1
    assert len({round(a.get_position().y0, 9) for a in drawn}) == 4
    assert [len(a.texts) for a in drawn[:10:2]] == [1, 36, 0, 0, 9]
    assert_legible(figure)


def test_at_most_twelve_are_drawn_and_the_figure_says_of_how_many() -> None:
    figure = matrices(PLAIN, [block(f"pair {i}", 2, 2, count=1) for i in range(14)])
    assert len(panels(figure)) == 12 + 1
    assert "12 of 14 are shown" in figure.texts[0].get_text()


def test_one_and_seven_matrices_to_a_block_have_room() -> None:
    for count in (1, 7):
        wide = Block("mlp", "digits", [(f"matrix {i}", matrix(3, 3)) for i in range(count)])
        figure = matrices(PLAIN, [wide, wide._replace(title="cnn")])
        assert len(panels(figure)) == 2 * count + 1
        assert_legible(figure)


def test_a_matrix_of_nothing_is_an_empty_panel() -> None:
    empty = Matrix((), (), ())
    assert_legible(matrices(PLAIN, [Block("a and b", "digits", [("trained", empty)] * 2)]))


def test_labels_of_others_are_cut_and_drawn_as_they_stand() -> None:
    names = ("$\\frac{a$" + "x" * 10_000, "\u202e$")
    wild = Matrix(names, names, ((1e150, -1e150), (0.5, float("nan"))))
    figure = matrices(replace(PLAIN, label="$x$"), [Block("$a$", "$b$", [("$c$", wild)])])
    assert_legible(figure)
    texts = [t.get_text() for t in panels(figure)[0].get_yticklabels()]
    assert all(len(t) < 40 and "\u202e" not in t for t in texts)


def pair_cell(architecture: str, task: str, *partners: str) -> CellRecord:
    outcome = Outcome(effect=0.1, matrices={name: matrix(1, 1) for name in ("trained", "untrained")})
    groups = [
        GroupRecord(
            key=f"{partner}/{seed}",
            units=(str(seed),),
            runs={
                "left": f"{architecture}-{task}-{seed}",
                "right": f"{partner}-{task}-{seed + (partner == architecture)}",
            },
            state="done",
            outcome=outcome,
        )
        for partner in (architecture, *partners)
        for seed in range(2)
    ]
    return replace(cell([], architecture=architecture, task=task), groups=tuple(groups))


def test_a_pair_of_architectures_is_collected_once_and_tasks_take_turns() -> None:
    names = ("mlp", "cnn", "lstm")
    records = [
        pair_cell(a, task, *(b for b in names if b != a)) for task in ("digits", "text") for a in names
    ]
    plan = results(records, {"ratio": [CHART]}).plan
    runs = {
        f"{a}-{task}-{seed}": PlannedRun(
            spec=RunSpec(Component(a), Component(task), Recipe(steps=1, lr=0.1), seed), observe={}
        )
        for a in names
        for task in ("digits", "text")
        for seed in range(3)
    }
    found = blocks(replace(plan, runs=runs), records, CHART)
    assert [title for title, _ in found[0].matrices] == ["untrained", "trained"], "as the chart has them"
    places = [(b.task, b.title) for b in found]
    assert len(places) == 2 * (3 + 3)
    assert {title for _, title in places} == {
        *("mlp, 0", "cnn, 0", "lstm, 0"),
        *("mlp and cnn", "mlp and lstm", "cnn and lstm"),
    }
    assert places[:4] == [
        *(("digits", "mlp, 0"), ("digits", "mlp and cnn")),
        *(("text", "mlp, 0"), ("text", "mlp and cnn")),
    ]


def test_a_figure_of_no_matrices_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no matrices"):
        matrices(CHART, [])
    control = cell([1.0], control=ControlId("positive", "a"), expects=("present",))
    assert blocks(results([control], {"ratio": [CHART]}).plan, [control], CHART) == []
