"""Measurements come back from the disk as they went in, and from nothing else; their ids never change."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from universality.plugin.bounds import Most, Within
from universality.plugin.controls import ControlId, Decidable, Sign
from universality.plugin.outcome import Check, Matrix, Outcome, Points
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.files import decode_json, encode_json
from universality.store.untrusted import UntrustedFile

LARGEST = 1e150
numbers = st.floats(-LARGEST, LARGEST) | st.sampled_from([math.inf, -math.inf])
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
checks = st.lists(st.builds(Check, names, numbers, numbers, st.none() | numbers), max_size=2).map(tuple)
matrices = st.builds(
    lambda rows, columns, value: Matrix(rows, columns, tuple(tuple(value for _ in columns) for _ in rows)),
    st.lists(names, max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
    numbers,
)
outcomes = st.builds(
    Outcome,
    effect=st.none() | numbers,
    gates=checks,
    criteria=checks,
    censored=st.booleans(),
    label=names,
    details=st.dictionaries(st.text("abc .", max_size=6), numbers, max_size=2),
    matrices=st.dictionaries(names, matrices, max_size=2),
)
groups = st.builds(
    GroupRecord,
    key=names,
    units=st.lists(names, min_size=1, max_size=2).map(tuple),
    runs=st.dictionaries(names, names, min_size=1, max_size=2),
    state=st.sampled_from(get_args(RunState)),
    outcome=st.none() | outcomes,
    problem=st.none() | st.builds(Problem, st.sampled_from(["training", "measuring"]), names),
)
bounds = st.floats(-LARGEST, LARGEST)
scales = st.sampled_from(["linear", "log"])
claims = st.one_of(
    st.builds(Within, low=bounds, unit=names),
    st.builds(Within, high=st.floats(1e-9, LARGEST), unit=names, scale=scales),
    st.builds(Most, at_least=bounds, unit=names, scale=scales),
)
controls = st.none() | st.builds(ControlId, st.sampled_from(get_args(Sign)), names)


@st.composite
def cells(draw: st.DrawFn) -> CellRecord:
    control = draw(controls)
    more = st.lists(st.sampled_from(get_args(Decidable)), max_size=1)  # of files of earlier versions
    return CellRecord(
        phenomenon=draw(names),
        version=draw(st.integers(1, 9)),
        claim_name=draw(names),
        claim=draw(claims),
        architecture=draw(names),
        task=draw(names),
        groups=tuple(draw(st.lists(groups, max_size=2, unique_by=lambda group: group.key))),
        not_applicable=draw(names),
        control=control,
        expects=() if control is None else (control.expects, *draw(more)),
        variant=draw(names),
        swept=control is None and draw(st.booleans()),
    )


@given(cells())
def test_a_cell_survives_its_line(cell: CellRecord) -> None:
    line = cell.line()
    assert json.loads(line)["id"] == cell.id  # strict JSON, whatever the numbers
    assert (line.count(b"\n"), line[-1:], line.count(b"\t")) == (1, b"\n", 0)
    back = CellRecord.read(line)
    assert back == cell
    assert back.id == cell.id
    assert back.line() == line


def a_group(**changes: Any) -> GroupRecord:
    whole = {"key": "s0", "units": ("s0",), "runs": {"run": "mlp-xor-s0-ab"}, "state": "done"}
    return GroupRecord(**whole | changes)


def a_cell(**changes: Any) -> CellRecord:
    whole = {
        "phenomenon": "p",
        "variant": "p[a=1]",
        "version": 1,
        "claim_name": "c",
        "claim": Within(low=0.0),
        "architecture": "mlp",
        "task": "xor",
        "groups": (a_group(),),
    }
    return CellRecord(**whole | changes)


CONTROL = {"control": ControlId("positive", "x"), "expects": ("present",)}


def test_infinite_censored_and_undefined_numbers_survive_the_line() -> None:
    outcome = Outcome(
        effect=math.inf,
        censored=True,
        gates=(Check("reached", -math.inf, at_least=0),),
        details={"rate": math.nan},
        matrices={"m": Matrix(("a",), ("b", "c"), ((math.nan, -math.inf),))},
    )
    cell = a_cell(groups=(a_group(outcome=outcome),))
    back = CellRecord.read(cell.line()).groups[0].outcome
    assert back is not None
    assert (back.effect, back.censored, back.gates[0].value) == (math.inf, True, -math.inf)
    assert math.isnan(back.details["rate"])
    assert math.isnan(back.matrices["m"].values[0][0])
    assert back.matrices["m"].values[0][1] == -math.inf


def test_numpy_numbers_are_stored_as_numbers() -> None:
    outcome = Outcome(effect=np.float32(0.5), gates=(Check("g", np.float64(2.0), at_least=np.int64(1)),))
    content = json.loads(a_cell(groups=(a_group(outcome=outcome),)).line())["groups"][0]["outcome"]
    assert content["effect"] == 0.5
    assert content["gates"] == [{"name": "g", "value": 2.0, "at_least": 1.0, "at_most": None}]


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "p"},
        {"version": 2},
        {"claim_name": "d"},
        {"architecture": "mlp[width=8]"},
        {"task": "xor[p=3]"},
        CONTROL,
        {"groups": ()},
        {"groups": (a_group(key="s1"),)},
        {"groups": (a_group(runs={"run": "mlp-xor-s1-cd"}),)},
        {"groups": (a_group(runs={"role": "mlp-xor-s0-ab"}),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_id_of_a_measurement_depends_on_what_was_asked(changes: dict[str, Any]) -> None:
    assert a_cell(**changes).id != a_cell().id


def test_controls_of_two_signs_are_two_measurements() -> None:
    negative = ControlId("negative", "x")
    assert a_cell(**CONTROL).id != a_cell(**CONTROL | {"control": negative, "expects": ("absent",)}).id


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": (a_group(state="failed", problem=Problem("training", "x")),)},
        {"groups": (a_group(outcome=Outcome(effect=1.0)),)},
        {"not_applicable": "x"},
        {"claim": Within(low=1.0)},
        {"swept": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_id_of_a_measurement_ignores_what_came_out(changes: dict[str, Any]) -> None:
    # Claims and expectations are fixed per version, which is in the id.
    assert a_cell(**changes).id == a_cell().id
    assert a_cell(**CONTROL).id == a_cell(**CONTROL, not_applicable="x").id
    assert a_cell(**CONTROL).id == a_cell(**CONTROL | {"expects": ("present", "absent")}).id


def test_the_id_of_a_measurement_never_changes() -> None:
    assert a_cell().id == "7c7dffeaee4a"
    assert a_cell(**CONTROL).id == "56a4bf14a140"


def test_a_line_holds_every_field_of_its_cell() -> None:
    outcome = Outcome(effect=1.0, points={"loss": Points((0.0,), (1.0,))})  # left out where there are none
    group = a_group(outcome=outcome, problem=Problem("training", "x"))
    content = decode_json(a_cell(groups=(group,), **CONTROL).line())

    def fields(kind: type[msgspec.Struct]) -> set[str]:
        return set(kind.__struct_fields__)

    assert set(content) == fields(CellRecord) | {"id"}
    (stored_group,) = content["groups"]
    assert set(stored_group) == fields(GroupRecord)
    assert set(stored_group["outcome"]) == fields(Outcome)
    assert set(stored_group["problem"]) == fields(Problem)
    assert set(content["control"]) == fields(ControlId)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expects": ("present",)}, "no control with some"),
        ({**CONTROL, "expects": ()}, "a control without verdicts that are right"),
        ({**CONTROL, "expects": ("absent",)}, "a positive control that does not expect present"),
        ({**CONTROL, "swept": True}, "both a control and swept"),
        ({"groups": (a_group(), a_group())}, "two groups of one name"),
    ],
    ids=[
        "expects without control",
        "control without expects",
        "expects the opposite",
        "swept control",
        "repeated group",
    ],
)
def test_a_cell_that_contradicts_itself_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        a_cell(**changes)


@pytest.mark.parametrize(
    ("cell", "question", "crossed"),
    [
        (a_cell(), ("p", "p[a=1]", "c", "mlp", "xor", ""), True),
        (a_cell(**CONTROL), ("p", "p[a=1]", "c", "mlp", "xor", "positive: x"), False),
        (a_cell(swept=True), ("p", "p[a=1]", "c", "mlp", "xor", ""), False),
    ],
    ids=["cell", "control", "swept"],
)
def test_a_question_leaves_out_version_and_replicates(
    cell: CellRecord, question: tuple[str, ...], crossed: bool
) -> None:
    assert cell.question == replace(cell, version=9, groups=()).question == question
    assert cell.crossed is crossed


@pytest.mark.parametrize(
    ("group", "decided", "censored"),
    [
        (a_group(outcome=Outcome(effect=1.0)), True, False),
        (a_group(outcome=Outcome(effect=1.0, censored=True)), True, True),
        (a_group(outcome=Outcome(effect=1.0, gates=(Check("g", 0.0, at_least=1),))), False, False),
        (a_group(outcome=Outcome(effect=None)), False, False),
        (a_group(state="diverged"), False, False),
        (a_group(), False, False),
    ],
    ids=["effect", "lower bound", "unmet gate", "no effect", "diverged", "no outcome"],
)
def test_a_group_is_decided_by_an_outcome_whose_gates_are_met(
    group: GroupRecord, decided: bool, censored: bool
) -> None:
    assert (group.decided, group.censored) == (decided, censored)
    assert not decided or group.effect == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw.update(id="0" * 12), "holds the measurement"),
        (lambda raw: raw.pop("id"), "holds the measurement"),
        (lambda raw: raw.update(schema_version=2), "unknown field `schema_version`"),
        (lambda raw: raw.pop("groups"), "holds the measurement"),
        (
            lambda raw: raw.update(control="positive: x"),
            r"Expected `object \| null`, got `str` - at `\$.control`",
        ),
        (
            lambda raw: raw.update(control={"sign": "neutral", "name": "x"}),
            "'neutral' - at `\\$.control.sign`",
        ),
        (lambda raw: raw["claim"].update(low={"$float": "-inf"}), "no finite bound"),
    ],
)
def test_a_line_that_is_no_measurement_is_refused(change: Any, told: str) -> None:
    raw = decode_json(a_cell().line())
    change(raw)
    with pytest.raises(UntrustedFile, match=told):
        CellRecord.read(encode_json(raw))
