"""Where everything lies in a results folder (docs/design.md, "Store"); no other module spells these names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from universality.errors import StoreError

SPEC = "spec.json"
FACTS = "facts.json"
ENVIRONMENT = "environment.json"
ARRAYS = "arrays.safetensors"
LOG = "log.txt"
MANIFEST = "manifest.json"
HASHED = (SPEC, FACTS, ENVIRONMENT, ARRAYS, LOG)
"""The files of a recording whose SHA-256 its manifest holds: these and no others."""

PLAN, MEASUREMENTS = "plan.json.gz", "measurements.jsonl.gz"

SCHEMA_VERSION: Final = 2
"""Of everything that a results folder holds. Folders of another version are refused."""

REPORT_KINDS = (".svg", ".png", ".md", ".html", ".csv", ".json", ".tex")
"""Of files in `report/`."""

_PUBLISHED = re.compile(
    r"suite\.toml|manifest\.json|plan\.json\.gz|measurements\.jsonl\.gz|evidence\.csv|universality\.csv|"
    rf"report/\w[\w-]{{0,199}}(?:{'|'.join(map(re.escape, REPORT_KINDS))})|"
    r"plugins/(?:\w[\w-]{0,99}/){0,3}\w[\w-]{0,99}\.py",
    re.ASCII,
)

_CHECKPOINT = ".checkpoint"

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
            "a name cannot be a file name", got=repr(name), expected="letters, digits, _ and -, at most 200"
        )
    return name


PATH_TO = "PATH/TO"
"""Stands for a folder of somebody's machine in what is published."""


def without_machine(folder: str) -> str:
    """A folder that was given on the command line, without what it tells of the machine.

    As given where it lies below the working directory, else its name alone, behind a placeholder.

    >>> [without_machine(f) for f in ("plugins/mine/", "/home/me/mine", "../mine", "..")]
    ['plugins/mine', 'PATH/TO/mine', 'PATH/TO/mine', 'PATH/TO']
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


def is_published(path: str) -> bool:
    """Whether a published set may have a file of this name, relative to it.

    >>> [is_published(path) for path in ("plan.json.gz", "report/heatmap.svg", "plugins/mine/net.py")]
    [True, True, True]
    >>> [is_published(path) for path in ("runs/a/spec.json", "report/../manifest.json", "plugins/net.pkl")]
    [False, False, False]
    """
    return _PUBLISHED.fullmatch(path) is not None


def run_of_checkpoint(file: str) -> str:
    """Run id of a file in `tmp/`, empty where it is no checkpoint.

    >>> run_of_checkpoint("mlp-xor-s0-ab.checkpoint"), run_of_checkpoint("deadbeef-12-00000000")
    ('mlp-xor-s0-ab', '')
    """
    run_id = file.removesuffix(_CHECKPOINT)
    return run_id if run_id != file and _NAME.fullmatch(run_id) else ""


class Layout:
    """The paths of one results folder. `folders`: what a writable store must have."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.suite = root / "suite.toml"
        self.manifest = root / MANIFEST
        self.plan = root / PLAN
        self.jobs = root / "jobs.json"
        self.runs = root / "runs"
        self.measurements = root / MEASUREMENTS
        self.measured = root / "measured.tsv"
        self.adopted = root / "adopted"
        self.failed = root / "failed"
        self.leases = root / "leases"
        self.tmp = root / "tmp"
        self.evidence = root / "evidence.csv"
        self.universality = root / "universality.csv"
        self.plugins = root / "plugins"
        self.report = root / "report"
        self.table_markdown = self.report / "universality.md"
        self.page = self.report / "index.html"
        self.folders = (self.runs, self.failed, self.leases, self.tmp)
        self.outdated = (root / "plan.json", root / "measurements", root / "measured.json")
        """What an earlier version wrote in place of plan and measurements."""

    def recording(self, run_id: str, number: int) -> Path:
        """The folder of the `number`-th recording of a run, counted from 1."""
        suffix = "" if number == 1 else f".r{number}"
        return self.runs / f"{safe_name(run_id)}{suffix}"

    def checkpoint(self, run_id: str) -> Path:
        return self.tmp / f"{safe_name(run_id)}{_CHECKPOINT}"

    def failures(self, run_id: str) -> Path:
        return self.failed / safe_name(run_id)

    def failure(self, run_id: str, attempt: int) -> Path:
        return self.failures(run_id) / f"{attempt}.json"
