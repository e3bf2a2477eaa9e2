"""Every entry of a result set is a plain file or folder with a known name; nothing is followed or run."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from universality.audit.findings import Audit
from universality.store.layout import REPORT_KINDS, Layout
from universality.store.untrusted import read_bytes

MAX_FILES = 2_000_000
MAX_DEPTH = 4
"""Folders inside each other."""

_LAYOUT = Layout(Path())
_TOP = {
    path.name
    for path in (
        _LAYOUT.suite,
        _LAYOUT.manifest,
        _LAYOUT.plan,
        _LAYOUT.jobs,
        _LAYOUT.measurements,
        _LAYOUT.measured,
        _LAYOUT.evidence,
        _LAYOUT.universality,
    )
}
_OUTDATED = {path.name for path in _LAYOUT.outdated}
"""Of these `read_parts` tells, where the set has the schema of this version."""
_REPORT, _PLUGINS = _LAYOUT.report.name, _LAYOUT.plugins.name
_FOLDERS = {_REPORT, _PLUGINS, _LAYOUT.adopted.name, *(folder.name for folder in _LAYOUT.folders)}
_UNFINISHED = {_LAYOUT.leases.name, _LAYOUT.tmp.name}
_ACTIVE = re.compile(
    rb"<script|javascript:|<foreignobject|<iframe|<!entity|@import|\son[a-z]+\s*=|"
    rb"href\s*=\s*[\"'](?!#|data:image/png)",
    re.IGNORECASE,
)
"""In a figure: what runs code or asks another machine for something."""


def check_files(audit: Audit, layout: Layout) -> bool:
    """Every entry is a plain file or folder with a known name. False where it makes no sense to go on."""
    try:
        if not layout.manifest.exists():
            what = f"holds no {layout.manifest.name}: no result set, or one that was never finished"
            audit.problem(".", what)
        for count, (path, entry) in enumerate(_walk(layout.root)):
            if count >= MAX_FILES:
                audit.problem(".", f"holds more than {MAX_FILES} files")
                return False
            _check_entry(audit, layout.root, path, entry)
    except OSError as error:
        audit.problem(".", f"cannot be listed: {error.filename}: {error.strerror}")
        return False
    return True


def _check_entry(audit: Audit, root: Path, path: str, entry: os.DirEntry[str]) -> None:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        audit.problem(path, error.strerror or error)
        return
    first, _, rest = path.partition("/")
    suffix = Path(path).suffix.lower()
    if stat.S_ISLNK(mode):
        audit.problem(path, "is a link, which is not followed")
    elif first in _OUTDATED:
        pass
    elif stat.S_ISDIR(mode):
        if first not in _FOLDERS or (first == _REPORT and rest):
            audit.problem(path, "is a folder that no result set has")
        elif path.count("/") >= MAX_DEPTH:
            audit.problem(path, "is nested too deeply to be looked at")
    elif not stat.S_ISREG(mode):
        audit.problem(path, "is no plain file")
    elif first == _REPORT and rest:
        if suffix not in REPORT_KINDS:
            audit.problem(path, f"is of a kind that no report has: {', '.join(sorted(REPORT_KINDS))}")
        elif suffix == ".svg":
            with audit.refusals(path):
                if _ACTIVE.search(read_bytes(root / path)):
                    audit.problem(path, "is a figure that could run code")
        elif suffix == ".html":
            audit.note(f"{path} can run code and was not judged; `universality report` writes it anew")
    elif first == _PLUGINS and rest:
        if suffix != ".py":
            audit.problem(path, "is no source of Python, and nothing else is published of a plugin")
    elif first in _UNFINISHED and rest:
        audit.note(f"{path} is work in progress of a run that has not ended, or was killed")
    elif first not in _FOLDERS and path not in _TOP:
        audit.problem(path, "is a file that no result set has")


def _walk(root: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry with its path relative to the root; folders before what is in them, links not entered."""
    with os.scandir(root / below) as opened:
        entries = sorted(opened, key=lambda e: e.name)
    for entry in entries:
        path = f"{below}{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False) and path.count("/") < MAX_DEPTH:
            yield from _walk(root, f"{path}/")
