"""Runs, where a result set has them: whole, with their hashes and ids, and in the states that are claimed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.audit.findings import Audit, file_of
from universality.audit.recordings import seen_by_cores
from universality.plan.plan_json import PlanRecord
from universality.store.cells import CellRecord
from universality.store.layout import Layout
from universality.store.recording import Observed, covers
from universality.text import short


def check_runs(audit: Audit, layout: Layout, plan: PlanRecord, records: Sequence[CellRecord]) -> None:
    folders = [p for p in _children(layout.runs) if p.is_dir() and not p.is_symlink()]
    if not folders:
        audit.note("no runs here: measurements cannot be made anew")
        return
    found = seen_by_cores(folders)
    for name, problem in found.problems:
        audit.problem(name, problem)
    recordings: dict[str, list[Observed]] = {}
    for run_id, observed in found.recordings:
        recordings.setdefault(run_id, []).append(observed)
        audit.counts["recordings"] += 1
    stored = {
        run_id
        for run_id, run in plan.runs.items()
        if any(covers(observed, run.observe) for observed in recordings.get(run_id, []))
    }
    elsewhere = {cell for sitting in plan.earlier for cell in sitting.cells}
    for record in records:
        for group in record.groups if record.id not in elsewhere else ():
            # A run that diverged is a recording too, and some claims measure it (`Claim.diverged`).
            lost = [run for run in group.runs.values() if run not in stored]
            if group.state == "done" and lost:
                text = f"{short(group.key, 120)} is called done, its run {short(lost[0], 120)} is not here"
                audit.problem(file_of(record), text)


def _children(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(folder.iterdir())
