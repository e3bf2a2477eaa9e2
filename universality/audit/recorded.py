"""Runs, where a result set has them: whole, with their hashes and ids, and in the states that are claimed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.audit.findings import Audit
from universality.errors import UniversalityError
from universality.judge.resultset import AskedPlan, Unreadable, clipped, read_bytes, read_record
from universality.plugin.records import CellRecord, RunState
from universality.store.layout import ENVIRONMENT, FACTS, HASHED, LOG, MANIFEST, SPEC, Layout, split_recording
from universality.store.recording import DamagedRecordingError, StoredTrajectory, covers, read_recording


def check_runs(found: Audit, layout: Layout, plan: AskedPlan, records: Sequence[CellRecord]) -> None:
    folders = [p for p in _children(layout.runs) if p.is_dir() and not p.is_symlink()]
    stored: dict[str, list[StoredTrajectory]] = {}
    for folder in folders:
        name = f"{layout.runs.name}/{folder.name}"
        split = split_recording(folder.name)
        if split is None:
            found.say(name, "has a name that no recording has")
            continue
        try:
            stored.setdefault(split[0], []).append(_recording(found, folder, split[0]))
            found.counted["recordings"] += 1
        except (Unreadable, DamagedRecordingError) as problem:
            found.say(name, problem)
        except (UniversalityError, RecursionError, ArithmeticError) as error:
            found.say(name, f"cannot be read: {type(error).__name__}")
    if not folders:
        what = "" if plan.specs else " nor run ids recomputed"
        found.notes.append(f"no runs here: measurements cannot be made anew{what}")
        return
    states: dict[str, RunState] = {}
    for run, observe in plan.runs.items():
        whole = next((r for r in stored.get(run, ()) if covers(r.observed, observe)), None)
        if whole is not None:
            states[run] = whole.state
    for record in records:
        for group in record.groups:
            ends = {role: states.get(run) for role, run in group.runs.items()}
            if group.state == "done" and set(ends.values()) != {"done"}:
                bad = next(role for role, end in ends.items() if end != "done")
                found.say(
                    f"measurements/{record.id}.json",
                    f"{clipped(group.key)} is called done, its run {clipped(group.runs[bad])} is "
                    f"{ends[bad] or 'not here'}",
                )


def _recording(found: Audit, folder: Path, run_id: str) -> StoredTrajectory:
    """A recording whose files are plain, small enough to read and of known names, verified."""
    known = {*HASHED, MANIFEST}
    for path in _children(folder):
        if path.is_symlink() or not path.is_file():
            raise Unreadable(f"{path.name} is a link or no file")
        if path.name not in known:
            found.say(f"runs/{folder.name}/{path.name}", "is a file that no recording has")
    for name in (SPEC, FACTS, ENVIRONMENT, MANIFEST):
        try:
            read_record(folder / name)
        except Unreadable as problem:
            raise Unreadable(f"{name} {problem}") from None
    read_bytes(folder / LOG)
    return read_recording(folder, run_id)


def _children(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(folder.iterdir())
