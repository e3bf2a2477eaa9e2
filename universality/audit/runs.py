"""Runs, where a result set has them: whole, with their hashes and ids, and in the states that are claimed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from universality.audit.findings import Audit, file_of
from universality.errors import UniversalityError
from universality.plan.plan_json import PlanRecord
from universality.store.cells import CellRecord
from universality.store.layout import ENVIRONMENT, HASHED, LOG, MANIFEST, Layout, split_recording
from universality.store.recording import DamagedRecordingError, StoredTrajectory, covers, read_recording
from universality.store.untrusted import MAX_BYTES, UntrustedFile, check_plain, parse, read_bytes
from universality.text import short


def check_runs(audit: Audit, layout: Layout, plan: PlanRecord, records: Sequence[CellRecord]) -> None:
    folders = [p for p in _children(layout.runs) if p.is_dir() and not p.is_symlink()]
    if not folders:
        audit.note("no runs here: measurements cannot be made anew")
        return
    recordings: dict[str, list[StoredTrajectory]] = {}
    environments: set[bytes] = set()
    for folder in folders:
        name = f"{layout.runs.name}/{folder.name}"
        split = split_recording(folder.name)
        if split is None:
            audit.problem(name, "has a name that no recording has")
            continue
        try:
            recordings.setdefault(split[0], []).append(_read(audit, name, folder, split[0], environments))
            audit.counts["recordings"] += 1
        except (UntrustedFile, DamagedRecordingError) as problem:
            audit.problem(name, problem)
        except (UniversalityError, RecursionError, ArithmeticError) as error:
            audit.problem(name, f"cannot be read: {type(error).__name__}")
    stored = {
        run_id
        for run_id, run in plan.runs.items()
        if any(covers(recording.observed, run.observe) for recording in recordings.get(run_id, []))
    }
    elsewhere = {cell for sitting in plan.earlier for cell in sitting.cells}
    for record in records:
        for group in record.groups if record.id not in elsewhere else ():
            # A run that diverged is a recording too, and some claims measure it (`Claim.diverged`).
            lost = [run for run in group.runs.values() if run not in stored]
            if group.state == "done" and lost:
                text = f"{short(group.key, 120)} is called done, its run {short(lost[0], 120)} is not here"
                audit.problem(file_of(record), text)


def _read(audit: Audit, name: str, folder: Path, run_id: str, environments: set[bytes]) -> StoredTrajectory:
    """A recording whose files are plain, small enough to read and of known names, verified.

    Args:
        environments: hashes of those that were read; one machine leaves the same in thousands of recordings.
    """
    with os.scandir(folder) as opened:
        entries = sorted(opened, key=lambda entry: entry.name)
    for entry in entries:
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise UntrustedFile(f"{entry.name} is a link or no file")
        if entry.name not in (*HASHED, MANIFEST):
            audit.problem(f"{name}/{entry.name}", "is a file that no recording has")
    try:
        environment = read_bytes(folder / ENVIRONMENT)
        if (digest := hashlib.sha256(environment).digest()) not in environments:
            parse(environment)
            environments.add(digest)
    except UntrustedFile as problem:
        raise UntrustedFile(f"{ENVIRONMENT} {problem}") from None
    check_plain(folder / LOG, MAX_BYTES)
    return read_recording(folder, run_id)


def _children(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(folder.iterdir())
