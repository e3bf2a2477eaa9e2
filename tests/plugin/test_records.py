"""Claims that can be missed, and records that come back from JSON as they went in."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.plugin.claims import Claim, Most, Within, claim_from_record, claim_record
from universality.plugin.records import CellRecord, Check, GroupRecord, Matrix, Outcome, RunState, Series
from universality.store.files import decode_json, encode_json

numbers = st.floats(allow_nan=False)
names = st.text(max_size=6)
checks = st.lists(st.builds(Check, names, numbers, names, st.booleans()), max_size=2).map(tuple)
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
    units=st.lists(names, max_size=2).map(tuple),
    runs=st.dictionaries(names, names, max_size=2),
    state=st.sampled_from(get_args(RunState)),
    outcome=st.none() | outcomes,
    message=names,
)
bounds = st.floats(-1e300, 1e300)
claims = st.one_of(
    st.builds(
        Within,
        low=bounds | st.just(-math.inf),
        high=bounds | st.just(math.inf),
        unit=names,
        scale=st.sampled_from(["linear", "log"]),
    ),
    st.builds(Most, at_least=bounds, unit=names, scale=st.sampled_from(["linear", "log"])),
)
cells = st.builds(
    CellRecord,
    phenomenon=names,
    version=st.integers(1, 9),
    claim_name=names,
    claim=claims,
    architecture=names,
    task=names,
    groups=st.lists(groups, max_size=2).map(tuple),
    not_applicable=names,
    control=names,
    expects=st.lists(names, max_size=2).map(tuple),
    variant=names,
)


@given(cells)
def test_a_cell_survives_json(cell: CellRecord) -> None:
    stored = json.loads(encode_json(cell.record()))  # strict JSON, whatever the numbers
    assert stored["id"] == cell.id
    back = CellRecord.from_record(decode_json(encode_json(cell.record())))
    assert back == cell
    assert back.id == cell.id


def test_infinite_censored_and_undefined_numbers_survive_json() -> None:
    outcome = Outcome(
        effect=math.inf,
        censored=True,
        gates=(Check("reached", -math.inf, "> 0", False),),
        details={"rate": math.nan},
        matrices={"m": Matrix(("a",), ("b", "c"), ((math.nan, -math.inf),))},
    )
    cell = replace(a_cell(), groups=(replace(a_group(), outcome=outcome),))
    back = CellRecord.from_record(decode_json(encode_json(cell.record()))).groups[0].outcome
    assert back is not None
    assert (back.effect, back.censored, back.gates[0].value) == (math.inf, True, -math.inf)
    assert math.isnan(back.details["rate"])
    assert math.isnan(back.matrices["m"].values[0][0])
    assert back.matrices["m"].values[0][1] == -math.inf


def test_numpy_numbers_are_stored_as_numbers() -> None:
    outcome = Outcome(effect=np.float32(0.5), gates=(Check("g", np.float64(2.0), "", bool(np.True_)),))
    cell = replace(a_cell(), groups=(replace(a_group(), outcome=outcome),))
    stored = json.loads(encode_json(cell.record()))["groups"][0]["outcome"]
    assert stored["effect"] == 0.5
    assert stored["gates"] == [{"name": "g", "value": 2.0, "needs": "", "met": True}]


def a_group() -> GroupRecord:
    return GroupRecord(key="s0", units=("s0",), runs={"run": "mlp-xor-s0-ab"}, state="done")


def a_cell() -> CellRecord:
    return CellRecord(
        phenomenon="p",
        variant="p[a=1]",
        version=1,
        claim_name="c",
        claim=Within(low=0.0),
        architecture="mlp",
        task="xor",
        groups=(a_group(),),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "p"},
        {"version": 2},
        {"claim_name": "d"},
        {"architecture": "mlp[width=8]"},
        {"task": "xor[p=3]"},
        {"control": "positive: x"},
        {"groups": ()},
        {"groups": (replace(a_group(), key="s1"),)},
        {"groups": (replace(a_group(), runs={"run": "mlp-xor-s1-cd"}),)},
        {"groups": (replace(a_group(), runs={"role": "mlp-xor-s0-ab"}),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_id_of_a_measurement_depends_on_what_was_asked(changes: dict[str, Any]) -> None:
    assert replace(a_cell(), **changes).id != a_cell().id


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": (replace(a_group(), state="failed", message="x"),)},
        {"groups": (replace(a_group(), outcome=Outcome(effect=1.0)),)},
        {"not_applicable": "x"},
        {"claim": Within(low=1.0)},
        {"expects": ("present",)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_id_of_a_measurement_ignores_what_came_out(changes: dict[str, Any]) -> None:
    # Claims and expectations are fixed per version, which is in the id.
    assert replace(a_cell(), **changes).id == a_cell().id


def test_the_id_of_a_measurement_never_changes() -> None:
    assert a_cell().id == "7c7dffeaee4a"


def test_a_record_holds_every_field_of_its_cell() -> None:
    # `swept` is written where it is true, so that sets from before sweeps are still what is written.
    swept = replace(a_cell(), swept=True)
    assert set(swept.record()) == {f.name for f in fields(CellRecord)} | {"id"}
    assert set(a_cell().record()) == set(swept.record()) - {"swept"}
    assert CellRecord.from_record(decode_json(encode_json(swept.record()))).swept
    assert set(a_cell().record()["groups"][0]) == {f.name for f in fields(GroupRecord)}
    whole = replace(a_cell(), groups=(replace(a_group(), outcome=Outcome(effect=1.0)),)).record()
    assert set(whole["groups"][0]["outcome"]) == {f.name for f in fields(Outcome)}


# ---------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (Within(low=0.9, high=1.25), "0.9 to 1.25"),
        (Within(low=5), ">= 5"),
        (Within(high=0.1), "<= 0.1"),
        (Most(at_least=5.0), ">= 5 in most runs"),
    ],
    ids=str,
)
def test_a_claim_reads_as_its_bounds(claim: Claim, text: str) -> None:
    assert str(claim) == text


@pytest.mark.parametrize(
    ("claim", "effect", "holds"),
    [
        (Within(low=1.0, high=2.0), 1.0, True),
        (Within(low=1.0, high=2.0), 2.0, True),
        (Within(low=1.0, high=2.0), math.nextafter(2.0, 3.0), False),
        (Within(low=1.0, high=2.0), math.nextafter(1.0, 0.0), False),
        (Within(low=1.0), math.inf, True),
        (Within(high=1.0), -math.inf, True),
        (Within(), math.nan, False),
        (Most(at_least=5.0), 5.0, True),
        (Most(at_least=5.0), math.nextafter(5.0, 0.0), False),
        (Most(at_least=5.0), math.inf, True),
        (Most(at_least=5.0), math.nan, False),
    ],
    ids=str,
)
def test_bounds_are_closed_and_nothing_undefined_holds(claim: Claim, effect: float, holds: bool) -> None:
    assert claim.holds(effect) is holds


@given(claims)
def test_a_claim_survives_json(claim: Claim) -> None:
    assert claim_from_record(json.loads(json.dumps(claim_record(claim), allow_nan=False))) == claim


def test_an_outcome_holds_only_with_an_effect_inside_and_every_criterion_met() -> None:
    claim, met, unmet = Within(low=0.0), Check("c", 1.0, "", True), Check("c", 1.0, "", False)
    assert Outcome(effect=1.0, criteria=(met,)).holds(claim)
    assert not Outcome(effect=1.0, criteria=(met, unmet)).holds(claim)
    assert not Outcome(effect=-1.0, criteria=(met,)).holds(claim)
    assert not Outcome(effect=None).holds(claim)
    assert Outcome(effect=1.0, gates=(unmet,)).holds(claim)  # gates decide whether it counts, not what it is


def test_an_outcome_is_decided_only_with_an_effect_and_every_gate_met() -> None:
    met, unmet = Check("g", 1.0, "", True), Check("g", 1.0, "", False)
    assert Outcome(effect=-1.0, gates=(met,), criteria=(unmet,)).decided()
    assert not Outcome(effect=1.0, gates=(met, unmet)).decided()
    assert not Outcome(effect=None, gates=(met,)).decided()


@pytest.mark.parametrize("value", [True, "1.0", None, np.bool_(True), [1.0]], ids=repr)
def test_what_is_no_number_is_refused_where_it_is_made(value: Any) -> None:
    """Written to disk it could not be read back: all of a results folder would seem damaged."""
    with pytest.raises(TypeError, match="loss is a number"):
        Outcome(effect=1.0, gates=(Check("loss", value, "", True),))
    with pytest.raises(TypeError, match="loss is a number"):
        Outcome(effect=1.0, details={"loss": value})
    Outcome(effect=np.float64(1.0), details={"loss": np.float32(1.0), "of a tensor": np.array(2.0)})


# ---------------------------------------------------------------------------------------------- series


def a_series() -> Series:
    return Series(np.array([0, 10, 30]), np.array([1.0, 2.0, 3.0]))


def test_a_series_is_read_at_exactly_the_steps_that_were_recorded() -> None:
    assert [a_series().at(s) for s in (0, 10, 30)] == [1.0, 2.0, 3.0]
    assert len(a_series()) == 3


@pytest.mark.parametrize("step", [-1, 5, 29, 31])
def test_a_series_has_no_value_between_its_steps(step: int) -> None:
    with pytest.raises(KeyError, match=f"nothing was recorded at step {step}"):
        a_series().at(step)


def test_a_series_since_a_step_begins_with_it() -> None:
    assert a_series().since(10).steps.tolist() == [10, 30]
    assert a_series().since(11).values.tolist() == [3.0]
    assert len(a_series().since(31)) == 0
