"""Where everything lies in a results folder; no other module spells one of these names.

results/<name>/
  suite.toml  manifest.json         what was asked; schema version, environment
  runs/<run_id>[.rN]/               published by one rename, never edited
  measurements/<id>.json            temp + rename
  failed/<run_id>/<attempt>.json    one per attempt that left no recording
  claims/  tmp/                     leases and work in progress
  evidence.csv  universality.csv  report/    derived; may be deleted at any time
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from universality.errors import StoreError

SPEC = "spec.json"
FACTS = "facts.json"
ENVIRONMENT = "environment.json"
ARRAYS = "arrays.safetensors"
LOG = "log.txt"
MANIFEST = "manifest.json"
HASHED = (SPEC, FACTS, ENVIRONMENT, ARRAYS, LOG)
"""The files of a recording whose SHA-256 its manifest holds: these and no others."""

_NAME = re.compile(r"\w[\w-]{0,199}")
_RECORDING = re.compile(r"(?P<run>\w[\w-]{0,199})(?:\.r(?P<number>[1-9]\d{0,5}))?")


def safe_name(name: str) -> str:
    """`name` itself where it is one plain path component: letters, digits, `_` and `-`.

    Ids reach the store from JSON that others wrote; `../x`, `/etc` and `a/b` must not become paths.

    Raises:
        StoreError: for anything else.

    >>> safe_name("mlp-digits-s0-0123456789ab")
    'mlp-digits-s0-0123456789ab'
    """
    if _NAME.fullmatch(name) is None:
        raise StoreError(
            "a name cannot be a file name",
            got=repr(name),
            expected="letters, digits, _ and -, at most 200",
        )
    return name


PATH_TO = "PATH/TO"
"""Stands for a folder of somebody's machine in what is published."""


def published(folder: str) -> str:
    """A folder that was given on the command line, without what it tells of the machine.

    As given where it lies below the working directory, else its name alone, behind a placeholder.

    >>> published("plugins/mine/"), published("/home/me/mine"), published("../mine"), published("..")
    ('plugins/mine', 'PATH/TO/mine', 'PATH/TO/mine', 'PATH/TO')
    """
    path = Path(folder)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if not path.is_absolute() and ".." not in path.parts:
        return path.as_posix()
    return PATH_TO if path.name in ("", "..") else f"{PATH_TO}/{path.name}"


def split_recording(folder: str) -> tuple[str, int] | None:
    """Run id and number of a folder under `runs/`, or None where it is no recording.

    >>> split_recording("mlp-xor-s0-ab.r2")
    ('mlp-xor-s0-ab', 2)
    >>> split_recording("mlp-xor-s0-ab")
    ('mlp-xor-s0-ab', 1)
    """
    match = _RECORDING.fullmatch(folder)
    return None if match is None else (match["run"], int(match["number"] or 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one results folder."""

    root: Path

    @property
    def suite(self) -> Path:
        return self.root / "suite.toml"

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def measurements(self) -> Path:
        return self.root / "measurements"

    @property
    def failed(self) -> Path:
        return self.root / "failed"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def evidence(self) -> Path:
        return self.root / "evidence.csv"

    @property
    def universality(self) -> Path:
        return self.root / "universality.csv"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def folders(self) -> tuple[Path, ...]:
        """What a writable store must have."""
        return (self.runs, self.measurements, self.failed, self.claims, self.tmp)

    def recording(self, run_id: str, number: int) -> Path:
        """The folder of the `number`-th recording of a run, counted from 1."""
        suffix = "" if number == 1 else f".r{number}"
        return self.runs / f"{safe_name(run_id)}{suffix}"

    def measurement(self, measurement_id: str) -> Path:
        return self.measurements / f"{safe_name(measurement_id)}.json"

    def failures(self, run_id: str) -> Path:
        return self.failed / safe_name(run_id)

    def failure(self, run_id: str, attempt: int) -> Path:
        return self.failures(run_id) / f"{attempt}.json"
