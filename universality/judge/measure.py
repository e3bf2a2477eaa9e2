"""From stored trajectories to cell records: what was measured, or why it could not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from universality.judge.measured_run import MeasuredRun
from universality.judge.outcomes import measure_group
from universality.plan.plan import PlannedCell, PlannedGroup
from universality.plugin.claim import Claim
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
        lost: why the cell cannot be measured: no code of the phenomenon runs, and its groups say so.
    """
    phenomenon = cell.phenomenon
    names = phenomenon.claims if cell.control is None else cell.control.expects
    groups = {name: list[GroupRecord]() for name in names}
    for group in cell.groups:
        states, runs = _collect(group, store, data_root)
        for name in names:
            claim = phenomenon.claims[name]
            if group.bears_on(claim):
                groups[name].append(_measure(phenomenon, claim, group, states, runs, lost))
    return [_record(cell, name, tuple(groups[name])) for name in names]


def _measure(
    phenomenon: Phenomenon,
    claim: Claim,
    group: PlannedGroup,
    states: Mapping[str, RunState],
    runs: Mapping[str, Trajectory],
    lost: str,
) -> GroupRecord:
    ended = set(states.values()) - ({"diverged"} if claim.diverged else set())
    state: RunState = next((s for s in _SEVERITY if s in ended), "done")
    outcome: Outcome | None = None
    problem: Problem | None = None
    if state != "done":
        text = ", ".join(f"{role}: {s}" for role, s in states.items() if s != "done")
        problem = Problem("training", text)
    elif lost:
        state, problem = "failed", Problem("measuring", lost[:_MAX_MESSAGE])
    else:
        try:
            outcome = measure_group(phenomenon, claim, group, runs)
        except Exception as error:  # a plugin's mistake is its own claim's failure
            # What a message may hold is the exception's own: pages of text, half a character.
            text = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
            state, problem = "failed", Problem("measuring", text[:_MAX_MESSAGE])
    return GroupRecord(
        key=group.key, units=group.units, runs=group.runs, state=state, outcome=outcome, problem=problem
    )


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
        claim=cell.phenomenon.claims[name].bound,
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
