"""Runs on disk. Any number of processes on any number of machines may share one results folder.

Disk is the truth: a recording is published by one rename and never edited, so that killing
anything at any time loses nothing finished and counts nothing half-done.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from universality.store import measurements
from universality.store.cells import CellRecord
from universality.store.checkpoints import FORGOTTEN_AFTER, read_header
from universality.store.environment import environment
from universality.store.files import (
    encode_record,
    storing,
    sync_folder,
    write_durably,
    write_once,
)
from universality.store.folder import Damage, ResultsFolder, entries_of, now
from universality.store.layout import ENVIRONMENT, SCHEMA_VERSION, run_of_checkpoint, split_recording
from universality.store.recording import (
    DamagedRecordingError,
    Ended,
    Observed,
    Recording,
    StoredTrajectory,
    check_files,
    covers,
    encode_recording,
    glance,
    read_recording,
)
from universality.store.shared import Shared
from universality.store.untrusted import UntrustedFile, parse, read_bytes, read_record

__all__ = ["Damage", "Failure", "Recording", "Store", "StoredTrajectory"]

FailureKind = Literal["failed", "crashed", "timeout"]


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attempt at a run that left no recording. `memory_bytes` is the worker's peak, where known."""

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    kind: FailureKind
    message: str
    traceback: str
    seconds: float
    host: str
    memory_bytes: int | None
    time: str


class Store(ResultsFolder):
    """The runs, failures and measurements of a results folder.

    Damaged recordings count as missing: they are reported in `damaged`, skipped and trained again.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        # Published folders never change, so one verification each is enough.
        self._read: dict[Path, StoredTrajectory | None] = {}
        self._shared = Shared()

    def publish(self, recording: Recording, *, device: str | None = None) -> Path:
        """Store a finished run: all files in `tmp/`, forced to disk, then one rename.

        Where an intact recording of the run has everything that this one observed, this one is
        dropped. Else it becomes `<run_id>`, or the next free `<run_id>.rN`: published folders are
        never edited.

        Returns:
            The folder that now holds the run.

        Raises:
            StoreError: where nothing can be written.
            ValueError: where the recording is malformed, see `encode_recording`.
        """
        files = encode_recording(recording, {**environment(device), "ended": now()})
        return self._put(recording.spec.id, recording.observed, lambda folder: _write(folder, files))

    def link(self, found: StoredTrajectory) -> Path:
        """Publish a run that another store holds, by links to its files: both stand for themselves, since published files
        never change. Copies where links cannot be made. Returns and raises as `publish`."""

        def write(folder: Path) -> None:
            for entry in entries_of(found.folder):
                try:
                    os.link(entry.path, folder / entry.name)
                except OSError:
                    shutil.copyfile(entry.path, folder / entry.name)

        return self._put(found.spec.id, found.observed, write)

    def adopt(self, run_id: str, files: Mapping[str, bytes], observed: Observed) -> Path:
        """Publish a recording that came as the content of its files, once they are verified like those of a stranger.

        Returns as `publish`.

        Raises:
            DamagedRecordingError: it is not a whole recording of this run, or lacks some of what was to be `observed`.
            StoreError: nothing can be written.
        """
        check_files({name: len(data) for name, data in files.items()})

        def write(folder: Path) -> None:
            _write(folder, files)
            if not covers(read_recording(folder, run_id).observed, observed):
                raise DamagedRecordingError("was not observed as was asked")

        return self._put(run_id, observed, write)

    def _put(self, run_id: str, observed: Observed, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a folder in `tmp/`, and move it to its place."""
        scratch = self._scratch()
        with storing(scratch):
            try:
                self.layout.runs.mkdir(exist_ok=True)
                scratch.mkdir()
                write(scratch)
                sync_folder(scratch)
                return self._move_in(scratch, run_id, observed)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _move_in(self, scratch: Path, run_id: str, observed: Observed) -> Path:
        number = 0
        while True:
            number += 1
            target = self.layout.recording(run_id, number)
            if not target.exists():
                # Renaming onto a folder fails unless that is empty: of two processes one wins.
                try:
                    os.rename(scratch, target)
                except OSError:
                    if not target.exists():
                        raise
                else:
                    sync_folder(target.parent)
                    return target
            stored = self._recording(run_id, target)
            if stored is not None and covers(stored.observed, observed):
                return target

    def discard(self, run_ids: Container[str]) -> int:
        """Delete every recording of these runs, damaged ones too, and their checkpoints; returns of how many runs there
        were recordings.

        Each leaves `runs/` in one step, so that nobody finds half of it.
        """
        discarded = set()
        for entry in entries_of(self.layout.runs):
            split = split_recording(entry.name)
            if split is not None and split[0] in run_ids:
                discarded.add(split[0])
                scratch = self._scratch()
                with storing(Path(entry.path)), contextlib.suppress(FileNotFoundError):
                    os.rename(entry.path, scratch)
                shutil.rmtree(scratch, ignore_errors=True)
                self._read.pop(Path(entry.path), None)
        for entry in entries_of(self.layout.tmp):
            if (run_id := run_of_checkpoint(entry.name)) and run_id in run_ids:
                self.forget_checkpoint(run_id)
        return len(discarded)

    def forget_checkpoint(self, run_id: str) -> None:
        """Delete the checkpoint of a run, where there is one and it can be deleted."""
        with contextlib.suppress(OSError):
            self.layout.checkpoint(run_id).unlink()

    def _sweep(self, now: float) -> None:
        """Also of checkpoints what is of no more use: runs that nobody holds, and that are stored or were left long ago."""
        super()._sweep(now)
        for entry in entries_of(self.layout.tmp):
            run_id = run_of_checkpoint(entry.name)
            if run_id and not (self.layout.leases / run_id).exists():
                with contextlib.suppress(OSError, UntrustedFile):
                    old = now - entry.stat(follow_symlinks=False).st_mtime > FORGOTTEN_AFTER
                    if old or self.covers(run_id, read_header(Path(entry.path)).observed):
                        self.forget_checkpoint(run_id)

    def recordings(self, run_id: str) -> Iterator[StoredTrajectory]:
        """The intact recordings of a run, oldest first."""
        found = (self._recording(run_id, folder) for folder in self._folders(run_id))
        return (stored for stored in found if stored is not None)

    def state(self, run_id: str, observed: Observed) -> Ended | None:
        """The state of `trajectory` by a glance, which reads kilobytes of a run: where it is stored and seems whole."""
        for folder in self._folders(run_id):
            try:
                facts = glance(folder, run_id)
            except DamagedRecordingError as damage:
                self._report(folder, str(damage))
                continue
            if covers(facts.observed, observed):
                return facts.state
        return None

    def _folders(self, run_id: str) -> Iterator[Path]:
        """Folders that hold recordings of a run, or seem to."""
        number, absent = 1, 0
        # One gap is tolerated: a person may have deleted a damaged folder.
        while absent < 2:
            folder = self.layout.recording(run_id, number)
            absent = 0 if folder.exists() else absent + 1
            if not absent:
                yield folder
            number += 1

    def trajectory(self, run_id: str, observed: Observed) -> StoredTrajectory | None:
        """The first recording of a run that has everything in `observed`: addresses and steps."""
        return next((r for r in self.recordings(run_id) if covers(r.observed, observed)), None)

    def covers(self, run_id: str, observed: Observed) -> bool:
        """Whether `trajectory` would find one."""
        return self.trajectory(run_id, observed) is not None

    def seconds(self, run_ids: Iterable[str]) -> float:
        """Wall seconds that the stored runs took, added up; of several recordings the first counts."""
        return math.fsum(first.seconds for first in self._firsts(run_ids))

    def probe_seconds(self, run_ids: Iterable[str]) -> float:
        """Of `seconds`, what probes took; of a run that does not say, nothing."""
        values = [first.facts.get("probe_seconds") for first in self._firsts(run_ids)]
        return math.fsum(seconds for seconds in values if isinstance(seconds, int | float))

    def peak_memory_bytes(self, run_ids: Iterable[str]) -> int:
        """The most that a worker had held when it ended one of these runs; 0 where none says."""
        values = [first.facts.get("peak_memory_bytes") for first in self._firsts(run_ids)]
        return max((peak for peak in values if isinstance(peak, int)), default=0)

    def ended(self, run_id: str) -> str:
        """When the first recording of a run was published, ISO 8601 in UTC; empty where it does not say."""
        for first in self._firsts([run_id]):
            with contextlib.suppress(UntrustedFile):
                raw = parse(read_bytes(first.folder / ENVIRONMENT))
                ended = raw.get("ended") if isinstance(raw, dict) else None
                return ended if isinstance(ended, str) else ""
        return ""

    def _firsts(self, run_ids: Iterable[str]) -> Iterator[StoredTrajectory]:
        firsts = (next(iter(self.recordings(run_id)), None) for run_id in run_ids)
        return (first for first in firsts if first is not None)

    def forget_adopted(self) -> None:
        """Delete what was taken over of other result sets (`judge.adopted`)."""
        with storing(self.layout.adopted):
            if self.layout.adopted.exists():
                shutil.rmtree(self.layout.adopted)

    def run_ids(self) -> list[str]:
        """Ids that have a folder, damaged or not."""
        with storing(self.layout.runs):
            splits = [split_recording(entry.name) for entry in entries_of(self.layout.runs)]
        return sorted({split[0] for split in splits if split is not None})

    def _recording(self, run_id: str, folder: Path) -> StoredTrajectory | None:
        if folder not in self._read:
            try:
                self._read[folder] = self._compact(read_recording(folder, run_id))
            except DamagedRecordingError as damage:
                self._read[folder] = None
                self._report(folder, str(damage))
        return self._read[folder]

    def _compact(self, stored: StoredTrajectory) -> StoredTrajectory:
        """The same in less memory."""
        spec, observed = self._shared.spec(stored.spec), self._shared.observed(stored.observed)
        return replace(stored, spec=spec, observed=observed, names=self._shared.same(stored.names))

    def fail(
        self,
        run_id: str,
        kind: FailureKind,
        message: str,
        *,
        traceback: str = "",
        seconds: float = 0.0,
        memory_bytes: int | None = None,
        host: str = "",
    ) -> int:
        """Record an attempt that left nothing; returns its number, counted from 1.

        Args:
            host: where it was made, if that was not this machine.
        """
        failure = Failure(
            run_id=run_id,
            kind=kind,
            message=_encodable(message),
            traceback=_encodable(traceback),
            seconds=float(seconds),
            host=_encodable(host) or platform.node(),
            memory_bytes=memory_bytes,
            time=now(),
        )
        attempt = self.attempts(run_id) + 1
        with storing(self.layout.failures(run_id)):
            self.layout.failures(run_id).mkdir(parents=True, exist_ok=True)
            data = encode_record(failure)
            while not write_once(self.layout.failure(run_id, attempt), data, self._scratch()):
                attempt += 1
        return attempt

    def attempts(self, run_id: str) -> int:
        """The number of the last failed attempt, 0 without one."""
        stems = (Path(entry.name).stem for entry in entries_of(self.layout.failures(run_id)))
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)

    def failures(self, run_id: str, after: int = 0) -> list[Failure]:
        """The failed attempts at a run behind the number `after`, oldest first."""
        failures = []
        for attempt in range(after + 1, self.attempts(run_id) + 1):
            path = self.layout.failure(run_id, attempt)
            try:
                failures.append(read_record(path, Failure))
            except UntrustedFile as error:
                self._report(path, f"{path.name} {error}")
        return failures

    def write_measurements(self, records: Sequence[CellRecord], plan: bytes) -> None:
        """Replace the measurements, and with them the plan, the file that names them.

        Whenever this is killed, the plan that is there finds what it names: until the new one is, those of the
        earlier one stay beside the new ones. What an earlier version wrote in place of both goes.
        """
        path, lines = self.layout.measurements, [record.line() for record in records]
        earlier = measurements.others(path, {record.id for record in records})
        self.write(path, measurements.encoded([*lines, *earlier]))
        self.write(self.layout.plan, plan)
        if earlier:
            self.write(path, measurements.encoded(lines))
        for outdated in self.layout.outdated:
            with storing(outdated):
                if outdated.is_dir() and not outdated.is_symlink():
                    shutil.rmtree(outdated)
                else:
                    outdated.unlink(missing_ok=True)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_durably(folder / name, data)


def _encodable(text: str) -> str:
    """The message of an exception may hold a lone surrogate, which has no UTF-8."""
    return text.encode(errors="backslashreplace").decode()
