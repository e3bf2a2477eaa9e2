"""Measuring: a number, or the reason why there is none; a failing group is a finding, not the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from universality.errors import MeasurementError
from universality.judge.measure import failed_measuring, measure_cell
from universality.plan.plan import PlannedCell, PlannedGroup
from universality.plugin.bounds import Within
from universality.plugin.charts import Lines
from universality.plugin.claim import claim
from universality.plugin.controls import ControlId
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Control, Phenomenon
from universality.plugin.readings import Runs
from universality.plugin.runs import Run, per_seed
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.trajectory import RunState, Series, Trajectory
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.store import Recording, Store

OBSERVED = {"toy": (0, 10)}
CHART = Lines({"train_loss": "loss"}, "loss")


def total(runs: Runs) -> float:
    return sum(run.series("toy.value").at(10) for run in runs.values())


@dataclass(frozen=True, kw_only=True)
class Doubling(Phenomenon):
    """Claims about twice and thrice the last recorded value; `twice_only` has runs of its own."""

    action: str = ""

    name = "doubling"
    title, version, strand, sense = "Doubling", 4, "laws", "number"

    @per_seed
    def runs(self, run: Run) -> dict[str, Run]:
        return {"a": run}

    @per_seed
    def own(self, run: Run) -> Run:
        return run

    @claim(Within(low=0.0), runs=runs, title="twice", chart=CHART)
    def twice(self, runs: Runs) -> float | Outcome:
        return ACTIONS[self.action]() if self.action else 2 * total(runs)

    @claim(Within(high=1.0), runs=runs, title="thrice", chart=CHART)
    def thrice(self, runs: Runs) -> float | Outcome:
        return ACTIONS[self.action]() if self.action else 3 * total(runs)

    @claim(Within(high=1.0), runs=own, title="last", chart=CHART, diverged=True)
    def last(self, run: Trajectory) -> float:
        return run.series("toy.value").at(10) if run.state == "done" else 99.0


def raising(error: Exception) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


ACTIONS: dict[str, Callable[[], Any]] = {
    "refuses": raising(MeasurementError("no variance", got="0", do="record more")),
    "divides": raising(ZeroDivisionError("division by zero")),
    "overflows": raising(OverflowError("too large")),
    "key": raising(KeyError("nothing was recorded at step 3")),
    "index": raising(IndexError("index 0 is out of bounds")),
    "value": raising(ValueError("zero-size array")),
    "linalg": raising(np.linalg.LinAlgError("did not converge")),
    "talks": raising(ValueError("an array of half characters: " + 10**5 * "\ud800")),
    "bug": raising(TypeError("a mistake in the code")),
    "nothing": lambda: None,
    "text": lambda: "2.0",
    "nan": lambda: float("nan"),
    "huge": lambda: 1e200,
    "label": lambda: Outcome(effect=1.0, label=5),  # type: ignore[arg-type]
    "long": lambda: Outcome(effect=1.0, label="x" * 20_000),
}


def a_run(seed: int) -> RunSpec:
    return RunSpec(Component("net"), Component("points"), Recipe(steps=10, lr=0.1), seed)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "results")


def publish(store: Store, seed: int, state: RunState = "done", value: float = 1.0, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "spec": a_run(seed),
        "state": state,
        "series": {"toy.value": Series(np.array([0, 10]), np.array([0.0, value]))},
        "arrays": {},
        "observed": OBSERVED,
        "facts": {},
        "seconds": 0.1,
    }
    store.publish(Recording(**{**arguments, **changes}))
    return a_run(seed).id


def a_group(*seeds: int, key: str = "") -> PlannedGroup:
    runs = {role: a_run(seed).id for role, seed in zip("abc", seeds, strict=False)}
    units = tuple(f"s{seed}" for seed in seeds)
    keys = {role: role for role in runs}
    return PlannedGroup(key or "/".join(units), units, runs, dict.fromkeys(runs, OBSERVED), "runs", keys)


def a_cell(*groups: PlannedGroup, **changes: Any) -> PlannedCell:
    return PlannedCell(
        **{"phenomenon": Doubling(), "architecture": "net", "task": "points", "groups": groups} | changes
    )


def by_claim(records: Sequence[CellRecord]) -> dict[str, tuple[GroupRecord, ...]]:
    return {record.claim_name: record.groups for record in records}


def test_every_claim_gets_one_record_with_the_outcome_of_every_group(store: Store) -> None:
    publish(store, 0, value=1.0)
    publish(store, 1, value=5.0)
    records = measure_cell(a_cell(a_group(0), a_group(0, 1)), store)
    assert [r.claim_name for r in records] == ["twice", "thrice", "last"]
    effects = {r.claim_name: [g.outcome.effect if g.outcome else None for g in r.groups] for r in records}
    assert effects == {"twice": [2.0, 12.0], "thrice": [3.0, 18.0], "last": []}
    record = records[1]
    assert (record.phenomenon, record.variant, record.version) == ("doubling", "doubling", 4)
    assert (record.architecture, record.task, record.claim) == ("net", "points", Within(high=1.0))
    assert record.groups[1] == GroupRecord(
        key="s0/s1",
        units=("s0", "s1"),
        runs={"a": a_run(0).id, "b": a_run(1).id},
        state="done",
        outcome=Outcome(effect=18.0),
    )


def test_a_variant_of_a_phenomenon_carries_its_address(store: Store) -> None:
    publish(store, 0)
    record = measure_cell(a_cell(a_group(0), phenomenon=Doubling(action="divides")), store)[0]
    assert record.variant == "doubling[action=divides]"


def test_a_group_without_runs_on_disk_is_missing(store: Store) -> None:
    publish(store, 0)
    (group,) = by_claim(measure_cell(a_cell(a_group(0, 1)), store))["twice"]
    assert (group.state, group.outcome, group.problem) == ("missing", None, Problem("training", "b: missing"))


def test_a_recording_that_lacks_what_is_needed_is_missing(store: Store) -> None:
    publish(store, 0, observed={"toy": (0,)})
    (group,) = by_claim(measure_cell(a_cell(a_group(0)), store))["twice"]
    assert group.state == "missing"


@pytest.mark.parametrize("kind", ["failed", "crashed", "timeout"])
def test_a_run_that_left_nothing_says_how_it_last_ended(store: Store, kind: Any) -> None:
    store.fail(a_run(0).id, "failed", "first try")
    store.fail(a_run(0).id, kind, "second try")
    for claim_name in ("twice", "thrice"):
        groups = by_claim(measure_cell(a_cell(a_group(0)), store))[claim_name]
        assert [(g.state, g.outcome, g.problem) for g in groups] == [
            (kind, None, Problem("training", f"a: {kind} (second try)"))
        ]


def test_a_run_that_succeeded_after_failing_counts_as_done(store: Store) -> None:
    store.fail(a_run(0).id, "crashed", "first try")
    publish(store, 0)
    (group,) = by_claim(measure_cell(a_cell(a_group(0)), store))["twice"]
    assert (group.state, group.problem) == ("done", None)


def test_a_diverged_run_is_not_measured(store: Store) -> None:
    publish(store, 0, state="diverged", value=float("nan"))
    (group,) = by_claim(measure_cell(a_cell(a_group(0)), store))["twice"]
    assert (group.state, group.outcome, group.problem) == (
        "diverged",
        None,
        Problem("training", "a: diverged"),
    )


def test_of_several_problems_the_one_that_can_be_mended_is_the_state(store: Store) -> None:
    publish(store, 0, state="diverged")
    store.fail(a_run(1).id, "timeout", "")
    store.fail(a_run(2).id, "failed", "")
    two, three = a_group(0, 1), a_group(0, 1, 2)
    groups = by_claim(measure_cell(a_cell(two, three), store))["twice"]
    assert [(g.state, g.problem) for g in groups] == [
        ("timeout", Problem("training", "a: diverged, b: timeout")),
        ("failed", Problem("training", "a: diverged, b: timeout, c: failed")),
    ]
    (group,) = by_claim(measure_cell(a_cell(a_group(0, 3)), store))["twice"]
    assert group.state == "missing"


def test_why_a_run_left_nothing_is_said_with_its_state(store: Store) -> None:
    store.fail(a_run(0).id, "crashed", "the first attempt")
    store.fail(a_run(0).id, "failed", "FloatingPointError: the loss is NaN\nat step 3")
    store.fail(a_run(1).id, "timeout", "\x1b[31m" + "x" * 5000)
    (group,) = by_claim(measure_cell(a_cell(a_group(0, 1)), store))["twice"]
    assert group.problem is not None
    first, second = group.problem.text.split(", ")
    assert first == "a: failed (FloatingPointError: the loss is NaN)"
    assert second.startswith("b: timeout (\\u001b[31mxxx")
    assert len(second) < 400


def test_one_bad_group_leaves_the_others_alone(store: Store) -> None:
    publish(store, 0)
    groups = by_claim(measure_cell(a_cell(a_group(1), a_group(0)), store))["twice"]
    assert [g.state for g in groups] == ["missing", "done"]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("refuses", "MeasurementError: no variance\n  got: 0\n  do:  record more"),
        ("divides", "ZeroDivisionError: division by zero"),
        ("overflows", "OverflowError: too large"),
        ("key", "KeyError: 'nothing was recorded at step 3'"),
        ("index", "IndexError: index 0 is out of bounds"),
        ("value", "ValueError: zero-size array"),
        ("linalg", "LinAlgError: did not converge"),
        ("nothing", "TypeError: an effect is a number or an Outcome, got None"),
        ("text", "TypeError: an effect is a number, got '2.0'"),
        (
            "nan",
            "MeasurementError: the effect is no number\n  expected: a number, or a need(...) that says what is missing",
        ),
    ],
)
def test_numbers_that_cannot_be_measured_fail_their_group_with_the_reason(
    store: Store, action: str, message: str
) -> None:
    publish(store, 0)
    records = measure_cell(a_cell(a_group(0), phenomenon=Doubling(action=action)), store)
    for record in records[:2]:
        assert [(g.state, g.outcome, g.problem) for g in record.groups] == [
            ("failed", None, Problem("measuring", message))
        ]


def test_a_mistake_in_a_plugin_fails_its_own_cell_and_is_told_to_the_user(store: Store) -> None:
    publish(store, 0)
    records = measure_cell(a_cell(a_group(0), phenomenon=Doubling(action="bug")), store)
    for record in records[:2]:
        (group,) = record.groups
        assert (group.state, group.outcome) == ("failed", None)
        assert group.problem is not None
        assert group.problem.stage == "measuring"
        assert group.problem.text.startswith("TypeError: a mistake in the code")
    lines = failed_measuring(records)
    assert len(lines) == 2
    assert all("a mistake in the code" in line for line in lines)


@pytest.mark.parametrize("action", ["huge", "label", "long"])
def test_an_outcome_that_no_reader_would_take_fails_its_claim_and_spares_the_folder(
    store: Store, action: str
) -> None:
    publish(store, 0)
    records = measure_cell(a_cell(a_group(0), phenomenon=Doubling(action=action)), store)
    assert [(r.groups[0].state if r.groups else "none") for r in records] == ["failed", "failed", "none"]
    for record in records:
        assert CellRecord.read(record.line()) == record
        if record.groups and (problem := record.groups[0].problem):
            assert problem.text.startswith("MeasurementError: its outcome cannot be stored")


def test_a_failure_in_any_group_is_told(store: Store) -> None:
    """An exit code of 0 would hide that the second seed could not be measured."""
    group = GroupRecord(
        key="s0", units=("s0",), runs={"run": "r0"}, state="done", outcome=Outcome(effect=1.0)
    )
    lost = GroupRecord(
        key="s1",
        units=("s1",),
        runs={"run": "r1"},
        state="failed",
        problem=Problem("measuring", "seed 1 is odd"),
    )
    untrained = GroupRecord(
        key="s2",
        units=("s2",),
        runs={"run": "r2"},
        state="missing",
        problem=Problem("training", "run: missing"),
    )
    publish(store, 0)
    record, *_ = measure_cell(a_cell(a_group(0)), store)
    told = failed_measuring([replace(record, groups=(group, lost, untrained))])
    assert told == ["doubling.twice, net, points: seed 1 is odd (in 1 of 3 groups)"]
    assert failed_measuring([replace(record, groups=(group, untrained))]) == []
    control = replace(record, groups=(lost,), control=ControlId("negative", "n"), expects=("absent",))
    assert failed_measuring([control]) == ["doubling.twice, net, points, negative control 'n': seed 1 is odd"]


def test_an_endless_message_is_cut_and_can_be_stored(store: Store) -> None:
    publish(store, 0)
    records = measure_cell(a_cell(a_group(0), phenomenon=Doubling(action="talks")), store)
    for record in records[:2]:
        problem = record.groups[0].problem
        assert problem is not None
        assert len(problem.text) == 2000
        assert CellRecord.read(record.line()) == record


def a_single(seed: int) -> PlannedGroup:
    return PlannedGroup(
        f"own/s{seed}", (f"s{seed}",), {"own": a_run(seed).id}, {"own": OBSERVED}, "own", None
    )


def test_a_group_is_recorded_only_under_the_claims_that_are_bound_to_its_runs(store: Store) -> None:
    publish(store, 0)
    groups = by_claim(measure_cell(a_cell(a_single(0), a_group(1)), store))
    assert {name: [g.state for g in found] for name, found in groups.items()} == {
        "twice": ["missing"],
        "thrice": ["missing"],
        "last": ["done"],
    }


def test_a_claim_that_nothing_bears_on_says_so(store: Store) -> None:
    publish(store, 0)
    records = measure_cell(a_cell(a_group(0)), store)
    assert [r.not_applicable for r in records] == ["", "", "nothing in this suite to compare with"]


def test_a_claim_may_ask_for_runs_that_diverged(store: Store) -> None:
    publish(store, 0, state="diverged", value=float("nan"))
    groups = by_claim(measure_cell(a_cell(a_single(0), a_group(0)), store))
    assert [(g.state, g.outcome.effect if g.outcome else None) for g in groups["last"]] == [("done", 99.0)]
    assert [g.state for g in groups["twice"]] == ["diverged"]


def test_a_cell_that_is_not_applicable_keeps_its_reason(store: Store) -> None:
    records = measure_cell(a_cell(not_applicable="needs tokens"), store)
    assert [(r.not_applicable, r.groups) for r in records] == [("needs tokens", ())] * 3


def test_a_control_records_only_the_claims_that_it_judges(store: Store) -> None:
    publish(store, 0)
    control = Control(
        name="a setting",
        sign="negative",
        phenomenon=Doubling(),
        architecture="net",
        task="points",
        claims=("thrice",),
        why="",
    )
    (record,) = measure_cell(a_cell(a_group(0), control=control), store)
    assert record.claim_name == "thrice"
    assert record.control == ControlId("negative", "a setting")
    assert record.expects == ("absent",)


def test_a_cell_and_a_control_of_the_same_runs_are_two_measurements(store: Store) -> None:
    publish(store, 0)
    control = Control("c", "positive", Doubling(), "net", "points", ("twice",), "")
    ids = [measure_cell(a_cell(a_group(0), control=c), store)[0].id for c in (None, control)]
    assert len(set(ids)) == 2
