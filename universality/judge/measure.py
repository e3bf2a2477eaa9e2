"""From stored trajectories to cell records: what was measured, or why it could not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from universality.errors import MeasurementError, described, first_line
from universality.judge.measured_run import MeasuredRun
from universality.judge.outcomes import measure_group
from universality.plan.plan import PlannedCell, PlannedGroup
from universality.plugin.claim import Claim
from universality.plugin.foreign import line_in
from universality.plugin.loading import home
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.registry import component
from universality.plugin.trajectory import RunState, Trajectory
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile, check_readable
from universality.text import plain, short

_MAX_MESSAGE = 2000
_MAX_WHY = 300
"""Characters of one run's reason: several may have one each."""
_SEVERITY: tuple[RunState, ...] = ("missing", "failed", "crashed", "timeout", "diverged")


class _End(NamedTuple):
    """How a run ended, and why, where it left nothing to measure."""

    state: RunState
    why: str = ""

    def __str__(self) -> str:
        return f"{self.state} ({plain(self.why, _MAX_WHY)})" if self.why else self.state


def measure_cell(
    cell: PlannedCell, store: Store, *, data_root: Path | None = None, lost: str = ""
) -> list[CellRecord]:
    """One record per claim, from whatever is stored; a group without its runs says so.

    Args:
        data_root: where tasks find their files, for phenomena that ask for the data of a run; None is the default.
        lost: why the cell cannot be measured: no code of the phenomenon runs, and its groups say so.
    """
    phenomenon = cell.phenomenon
    groups = {name: list[GroupRecord]() for name in _claims(cell)}
    for group in cell.groups:
        ends, runs = _collect(group, store, data_root)
        for name, records in groups.items():
            if _asks(cell, name, group):
                claim = phenomenon.claims[name]
                records.append(_measure(phenomenon, claim, group, ends, runs, lost))
    return [_record(cell, name, tuple(records)) for name, records in groups.items()]


def unmeasured(cell: PlannedCell) -> list[CellRecord]:
    """The records of a cell of which no run is stored: what is asked, without answers."""
    return [
        _record(
            cell,
            name,
            tuple(
                GroupRecord(key=group.key, units=group.units, runs=group.runs, state="missing")
                for group in cell.groups
                if _asks(cell, name, group)
            ),
        )
        for name in _claims(cell)
    ]


def _claims(cell: PlannedCell) -> Iterable[str]:
    """Names of the claims that have a record there."""
    return cell.phenomenon.claims if cell.control is None else cell.control.claims


def _asks(cell: PlannedCell, name: str, group: PlannedGroup) -> bool:
    """Whether the claim is measured on this group."""
    return group.bears_on(cell.phenomenon.claims[name]) and name not in cell.left_out


def _measure(
    phenomenon: Phenomenon,
    claim: Claim,
    group: PlannedGroup,
    ends: Mapping[str, _End],
    runs: Mapping[str, Trajectory],
    lost: str,
) -> GroupRecord:
    ended = {end.state for end in ends.values()} - ({"diverged"} if claim.diverged else set())
    state: RunState = next((s for s in _SEVERITY if s in ended), "done")
    outcome: Outcome | None = None
    problem: Problem | None = None
    if state != "done":
        text = ", ".join(f"{role}: {end}" for role, end in ends.items() if end.state != "done")
        problem = Problem("training", text[:_MAX_MESSAGE])
    elif lost:
        state, problem = "failed", Problem("measuring", short(lost, _MAX_MESSAGE))
    else:
        try:
            outcome = measure_group(phenomenon, claim, group, runs)
            _check_storable(outcome)
        except (Exception, SystemExit) as error:  # a plugin's mistake is its own claim's failure
            outcome, state = None, "failed"
            problem = Problem("measuring", _told(error, phenomenon, claim)[:_MAX_MESSAGE])
    return GroupRecord(
        key=group.key, units=group.units, runs=group.runs, state=state, outcome=outcome, problem=problem
    )


def _check_storable(outcome: Outcome) -> None:
    """Raises `MeasurementError` for what no reader of measurements takes: the fields of an `Outcome` are its author's."""
    try:
        check_readable(outcome, Outcome)
    except UntrustedFile as error:
        raise MeasurementError("its outcome cannot be stored", got=str(error)) from error


def _told(error: BaseException, phenomenon: Phenomenon, claim: Claim) -> str:
    """An error in words, with the line of the user's own file that it came from, else that of the claim."""
    text = f"it called sys.exit({error.code!r})" if isinstance(error, SystemExit) else described(error)
    place = home(type(phenomenon))
    line = (line_in(error, place.root) or Path(claim.where).name) if place else ""
    # What a message may hold is the exception's own: pages of text, half a character.
    return f"{f'{line}: ' if line else ''}{text}".encode(errors="backslashreplace").decode()


def failed_measuring(records: Sequence[CellRecord]) -> list[str]:
    """A line for every claim of a cell that was trained and could not be measured, in any of its groups."""
    lines = []
    for record in records:
        texts = [
            group.problem.text
            for group in record.groups
            if group.problem is not None and group.problem.stage == "measuring"
        ]
        if texts:
            where = f"{record.phenomenon}.{record.claim_name}, {record.architecture}, {record.task}"
            where += f", {record.control.sign} control '{record.control.name}'" if record.control else ""
            some = (
                f" (in {len(texts)} of {len(record.groups)} groups)"
                if len(texts) < len(record.groups)
                else ""
            )
            lines.append(f"{where}: {texts[0]}{some}")
    return lines


def _record(cell: PlannedCell, name: str, groups: tuple[GroupRecord, ...]) -> CellRecord:
    control = cell.control
    reason = cell.not_applicable or cell.left_out.get(name, "")
    reason = reason or ("" if groups else "nothing in this suite to compare with")
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
        expects=() if control is None else (control.id.expects,),
    )


def _collect(
    group: PlannedGroup, store: Store, data_root: Path | None
) -> tuple[dict[str, _End], dict[str, Trajectory]]:
    ends: dict[str, _End] = {}
    runs: dict[str, Trajectory] = {}
    for role, run_id in group.runs.items():
        run = store.trajectory(run_id, group.observe[role])
        if run is not None:
            runs[role], ends[role] = MeasuredRun(run, data_root), _End(run.state)
        else:
            failures = store.failures(run_id)
            last = failures[-1] if failures else None
            ends[role] = _End(last.kind, first_line(last.message)) if last else _End("missing")
    return ends, runs
