"""A results folder: making, opening and checking it, and what every write in it shares."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from universality.errors import StoreError
from universality.store.environment import environment
from universality.store.files import (
    decode_json,
    encode_record,
    replace_file,
    storing,
    write_durably,
    write_once,
)
from universality.store.layout import SCHEMA_VERSION, Layout, run_of_checkpoint
from universality.store.owner import is_orphan, owner_tag, process_of
from universality.store.untrusted import OtherSchema, UntrustedFile, check_schema, read_bytes

_PROBE_BYTES = 1 << 20
_GARBAGE_AFTER = 86_400.0
"""Seconds after which work in progress of another machine counts as left behind."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """manifest.json of a results folder: when, and on what, it was made."""

    schema_version: int
    created: str
    environment: Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in the store that cannot be read; `path` is relative to the root."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ResultsFolder:
    """A folder with a manifest, a schema version and a place for work in progress.

    Attributes:
        layout: its paths.
        damaged: what could not be read so far. It is skipped, never deleted.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.damaged: list[Damage] = []

    @classmethod
    def create(cls, root: Path) -> Self:
        """Make a results folder, or open the one that is there, for writing.

        Raises:
            StoreError: where `root` is something else, was written by another version, cannot be
                written or has no space left: now, not after an hour of training.
        """
        store = cls(Path(root))
        paths = store.layout
        refuse_links(paths)
        with storing(paths.root):
            paths.root.mkdir(parents=True, exist_ok=True)
            own = {
                path.name
                for path in (
                    *paths.folders,
                    paths.suite,
                    paths.plan,
                    paths.jobs,
                    paths.manifest,
                    paths.measured,
                )
            }
            # An interrupted `create` leaves some of these names and no manifest.
            if paths.manifest.exists():
                store._check_manifest()
            elif foreign := sorted(e.name for e in os.scandir(paths.root) if e.name not in own):
                raise StoreError(
                    "this folder is in use for something else",
                    where=str(paths.root),
                    got=f"no {paths.manifest.name}, but {', '.join(foreign[:3])}",
                    do="choose a new or empty folder",
                )
            manifest = Manifest(schema_version=SCHEMA_VERSION, created=now(), environment=environment())
            if not paths.manifest.exists():
                write_once(paths.manifest, encode_record(manifest), store._scratch())
        return cls.open(root, writable=True)

    @classmethod
    def open(cls, root: Path, *, writable: bool = False) -> Self:
        """An existing results folder; `writable` also tries a write and clears away garbage.

        Raises:
            StoreError: where there is none, where a part of it is a symbolic link, or as in `create`.
        """
        store = cls(Path(root))
        refuse_links(store.layout)
        store._check_manifest()
        if writable:
            store._sweep(now=store._check_writable())
        return store

    def write(self, path: Path, content: str | bytes) -> None:
        """Write a file of the store (suite, plan, measurements) in one step."""
        data = content.encode() if isinstance(content, str) else content
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data, self._scratch())

    def _scratch(self) -> Path:
        """A path in `tmp/` whose name says which process it belongs to."""
        with storing(self.layout.tmp):
            self.layout.tmp.mkdir(exist_ok=True)
        return self.layout.tmp / owner_tag()

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """A folder in `tmp/` that goes with the block; of a killed process, with the next that opens the store."""
        path = self._scratch()
        with storing(path):
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _report(self, path: Path, reason: str) -> None:
        damage = Damage(path.relative_to(self.layout.root).as_posix(), reason)
        if damage not in self.damaged:
            self.damaged.append(damage)

    def _check_manifest(self) -> None:
        path = self.layout.manifest
        try:
            check_schema(decode_json(read_bytes(path)))
        except OtherSchema as problem:
            raise StoreError(
                "a result set of another version", where=str(path), got=problem.what, do=problem.do
            ) from None
        except (UntrustedFile, ValueError, RecursionError) as error:
            raise StoreError(
                "this is no results folder",
                where=str(self.layout.root),
                got=f"{path.name}: {error}",
                expected=f"a folder made by `universality run`, with a readable {path.name}",
                do="check the path",
            ) from error

    def _check_writable(self) -> float:
        """The time by the clock of the file system, which may be another than that of this machine."""
        # Full file systems still accept empty files: what counts is that a block of data arrives.
        scratch = self._scratch()
        with storing(self.layout.root):
            try:
                for folder in self.layout.folders:
                    folder.mkdir(exist_ok=True)
                write_durably(scratch, bytes(_PROBE_BYTES))
                return scratch.stat().st_mtime
            finally:
                scratch.unlink(missing_ok=True)

    def _sweep(self, now: float) -> None:
        """Remove what dead processes left in `tmp/`: of this machine at once; of others what has not changed for a
        day, if the process that it is named after has given no heartbeat (`train.leases`) for that long either."""

        def age(entry: os.DirEntry[str]) -> float:
            return now - entry.stat(follow_symlinks=False).st_mtime

        alive: set[str] = set()
        for entry in entries_of(self.layout.leases):
            with contextlib.suppress(OSError):
                if entry.name.startswith(".") and age(entry) <= _GARBAGE_AFTER:
                    alive.add(process_of(entry.name[1:]))
        for entry in entries_of(self.layout.tmp):
            if run_of_checkpoint(entry.name):
                continue
            with contextlib.suppress(OSError):
                old = age(entry) > _GARBAGE_AFTER and process_of(entry.name) not in alive
                if is_orphan(entry.name) or old:
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        os.unlink(entry.path)


def refuse_links(layout: Layout) -> None:
    """Raises `StoreError` where a part of a results folder that is read or written is a symbolic link.

    The folder itself may be reached through links: whoever names it chose them.
    """
    parts = [layout.suite, layout.manifest, layout.plan, layout.jobs, layout.measurements, layout.measured]
    parts += [
        layout.evidence,
        layout.universality,
        layout.report,
        layout.plugins,
        layout.adopted,
        *layout.folders,
    ]
    with storing(layout.root):
        link = next((part for part in parts if part.is_symlink()), None)
        if link is None and layout.report.is_dir():
            with os.scandir(layout.report) as entries:
                link = next((Path(e.path) for e in entries if e.is_symlink()), None)
    if link is not None:
        raise StoreError(
            "a part of a results folder is a symbolic link, which is not followed",
            where=str(link),
            got=f"a link to {os.readlink(link)!r}",
            expected="plain files and folders",
            do="put a copy of what it points to in its place, or delete the link",
        )


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
