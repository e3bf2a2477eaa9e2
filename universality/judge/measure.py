"""From stored trajectories to cell records: what was measured, or why it could not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from universality.errors import MeasurementError
from universality.judge.measured_run import MeasuredRun
from universality.plan.plan import PlannedCell, PlannedGroup
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.registry import component
from universality.plugin.trajectory import RunState, Trajectory
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.store import Store

_MAX_MESSAGE = 2000
_SEVERITY: tuple[RunState, ...] = ("missing", "failed", "crashed", "timeout", "diverged")


def measure_cell(
    cell: PlannedCell, store: Store, *, data_root: Path | None = None, lost: str = ""
) -> list[CellRecord]:
    """One record per claim, from whatever is stored; a group without its runs says so.

    Args:
        data_root: where tasks find their files, for phenomena that ask for the data of a run; None is the default.
        lost: why the cell cannot be measured: no code of the phenomenon's `measure` runs, and its groups say so.
    """
    groups = {name: list[GroupRecord]() for name in cell.phenomenon.claims}
    for group in cell.groups:
        states, runs = _collect(group, store, data_root)
        outcomes: Mapping[str, Outcome] = {}
        state: RunState = next((s for s in _SEVERITY if s in states.values()), "done")
        problem: Problem | None = None
        if state != "done":
            text = ", ".join(f"{role}: {s}" for role, s in states.items() if s != "done")
            problem = Problem("training", text)
        elif lost:
            state, problem = "failed", Problem("measuring", lost[:_MAX_MESSAGE])
        else:
            try:
                outcomes = _measure(cell.phenomenon, runs)
            except Exception as error:  # a plugin's mistake is its own cell's failure
                # What a message may hold is the exception's own: pages of text, half a character.
                text = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
                state, problem = "failed", Problem("measuring", text[:_MAX_MESSAGE])
        record = GroupRecord(key=group.key, units=group.units, runs=group.runs, state=state, problem=problem)
        for name in cell.phenomenon.claims:
            if name in outcomes or (not outcomes and cell.phenomenon.speaks_to(group.key, name)):
                groups[name].append(replace(record, outcome=outcomes.get(name)))
    claims = cell.phenomenon.claims if cell.control is None else cell.control.expects
    return [_record(cell, name, tuple(groups[name])) for name in claims]


def _measure(phenomenon: Phenomenon, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
    outcomes: object = phenomenon.measure(runs)
    if not isinstance(outcomes, Mapping) or not all(isinstance(o, Outcome) for o in outcomes.values()):
        kinds = (
            f"{{{', '.join(f'{name}: {type(o).__name__}' for name, o in outcomes.items())}}}"
            if isinstance(outcomes, Mapping)
            else type(outcomes).__name__
        )
        raise TypeError(f"measure() returns {{claim: Outcome}}, got {kinds}")
    if stray := sorted(outcomes.keys() - phenomenon.claims.keys()):
        raise MeasurementError(f"outcomes of claims that do not exist: {', '.join(stray)}")
    return outcomes


def failed_measuring(records: Sequence[CellRecord]) -> list[str]:
    """A line for every claim of a cell that was trained and could not be measured."""
    return [
        f"{record.phenomenon}.{record.claim_name}, {record.architecture}, {record.task}: {group.problem.text}"
        for record in records
        for group in record.groups[:1]
        if group.problem is not None and group.problem.stage == "measuring"
    ]


def _record(cell: PlannedCell, name: str, groups: tuple[GroupRecord, ...]) -> CellRecord:
    control = cell.control
    reason = cell.not_applicable or ("" if groups else "nothing in this suite to compare with")
    return CellRecord(
        phenomenon=cell.phenomenon.name,
        variant=str(component(cell.phenomenon)),
        version=cell.phenomenon.version,
        claim_name=name,
        claim=cell.phenomenon.claims[name],
        architecture=cell.architecture,
        task=cell.task,
        groups=groups,
        not_applicable=reason,
        control=None if control is None else control.id,
        swept=cell.swept,
        expects=() if control is None else tuple(sorted(control.expects.get(name, ()))),
    )


def _collect(
    group: PlannedGroup, store: Store, data_root: Path | None
) -> tuple[dict[str, RunState], dict[str, Trajectory]]:
    states: dict[str, RunState] = {}
    runs: dict[str, Trajectory] = {}
    for role, run_id in group.runs.items():
        run = store.trajectory(run_id, group.observe[role])
        if run is not None:
            runs[role], states[role] = MeasuredRun(run, data_root), run.state
        else:
            failures = store.failures(run_id)
            states[role] = failures[-1].kind if failures else "missing"
    return states, runs
