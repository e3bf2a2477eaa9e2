"""Every entry of a result set is a plain file or folder with a known name; nothing is followed or run."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from universality.audit.findings import Audit
from universality.judge.resultset import Unreadable, read_bytes
from universality.store.layout import Layout

MOST_FILES = 200_000
MOST_DEPTH = 4
"""Folders inside each other."""

_TOP = {"suite.toml", "manifest.json", "plan.json", "evidence.csv", "universality.csv"}
_FOLDERS = {"measurements", "report", "runs", "failed", "claims", "tmp"}
_REPORT = {".svg", ".png", ".md", ".html", ".csv", ".json", ".tex"}
_ACTIVE = re.compile(
    rb"<script|javascript:|<foreignobject|<iframe|<!entity|@import|\son[a-z]+\s*=|"
    rb"href\s*=\s*[\"'](?!#|data:image/png)",
    re.IGNORECASE,
)
"""In a figure: what runs code or asks another machine for something."""


def check_files(found: Audit, layout: Layout) -> bool:
    """Every entry is a plain file or folder with a known name. False where it makes no sense to go on."""
    try:
        return _entries(found, layout)
    except OSError as error:
        found.say(".", f"cannot be listed: {error.filename}: {error.strerror}")
        return False


def _entries(found: Audit, layout: Layout) -> bool:
    root = layout.root
    if not layout.manifest.exists():
        found.say(".", f"holds no {layout.manifest.name}: no result set, or one that was never finished")
    for count, (path, entry) in enumerate(_walk(root)):
        if count >= MOST_FILES:
            found.say(".", f"holds more than {MOST_FILES} files")
            return False
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError as error:
            found.say(path, error.strerror or error)
            continue
        first, _, rest = path.partition("/")
        if stat.S_ISLNK(mode):
            found.say(path, "is a link, which is not followed")
        elif stat.S_ISDIR(mode):
            if first not in _FOLDERS or (first in ("measurements", "report") and rest):
                found.say(path, "is a folder that no result set has")
            elif path.count("/") >= MOST_DEPTH:
                found.say(path, "is nested too deeply to be looked at")
        elif not stat.S_ISREG(mode):
            found.say(path, "is no plain file")
        else:
            _file(found, root, path)
    return True


def _file(found: Audit, root: Path, path: str) -> None:
    first, _, rest = path.partition("/")
    suffix = Path(path).suffix.lower()
    if first == "measurements" and rest:
        found.counted["measurements"] += 1
        if suffix != ".json":
            found.say(path, "is no measurement")
    elif first == "report" and rest:
        if suffix not in _REPORT:
            found.say(path, f"is of a kind that no report has: {', '.join(sorted(_REPORT))}")
        elif suffix == ".svg":
            try:
                if _ACTIVE.search(read_bytes(root / path)):
                    found.say(path, "is a figure that could run code")
            except Unreadable as problem:
                found.say(path, problem)
        elif suffix == ".html":
            found.notes.append(
                f"{path} can run code and was not judged; `universality report` writes it anew"
            )
    elif first in ("tmp", "claims") and rest:
        found.notes.append(f"{path} is work in progress of a run that has not ended, or was killed")
    elif first not in _FOLDERS and path not in _TOP:
        found.say(path, "is a file that no result set has")


def _walk(root: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry with its path relative to the root; folders before what is in them, links not entered."""
    with os.scandir(root / below) as opened:
        entries = sorted(opened, key=lambda e: e.name)
    for entry in entries:
        path = f"{below}{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False) and path.count("/") < MOST_DEPTH:
            yield from _walk(root, f"{path}/")
