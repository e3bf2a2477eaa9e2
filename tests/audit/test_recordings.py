"""Recordings that several processes read are told of as those that one reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.audit.test_audit import base, mine
from universality.audit import recordings
from universality.audit.recordings import seen, seen_by_cores
from universality.errors import UniversalityError

__all__ = ["base", "mine"]


@pytest.fixture
def folders(mine: Path) -> list[Path]:
    """Recordings, of which one was altered, one holds a link, one a file more, one both; and a folder of another name."""
    found = sorted((mine / "runs").iterdir())
    (found[1] / "arrays.safetensors").write_bytes(b"other bytes")
    (found[4] / "log.txt").unlink()
    (found[4] / "log.txt").symlink_to("facts.json")
    (found[7] / "more").write_text("x")
    (found[9] / "also").write_text("x")
    (found[9] / "spec.json").unlink()
    (found[9] / "spec.json").symlink_to("facts.json")
    odd = os.fsdecode(os.fsencode(mine / "runs") + b"/no name\n\xff of a run")
    os.mkdir(odd)
    return [*found, Path(odd)]


def test_many_processes_find_what_one_finds(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = seen(folders)
    assert len(alone.problems) == 6
    assert len(alone.recordings) == len(folders) - 4
    monkeypatch.setattr(recordings, "SHARE", 3)
    monkeypatch.setattr(recordings, "cores", lambda: 3)
    together = seen_by_cores(folders)
    assert [tuple(problem) for problem in together.problems] == alone.problems
    assert [
        (run, {k: tuple(v) for k, v in of.items()}) for run, of in together.recordings
    ] == alone.recordings


def test_nothing_is_imported_from_the_set(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders[0].parents[1]
    for module in ("universality", "hashlib", "json"):
        (root / f"{module}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(root)
    monkeypatch.setattr(recordings, "SHARE", 3)
    monkeypatch.setattr(recordings, "cores", lambda: 2)
    assert len(seen_by_cores([folder.relative_to(root) for folder in folders]).problems) == 6


def test_few_recordings_start_no_process(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no such program")
    assert seen_by_cores(folders) == seen(folders)


def test_a_process_that_dies_is_told(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    dying.chmod(0o700)
    monkeypatch.setattr(recordings, "SHARE", 3)
    monkeypatch.setattr(recordings, "cores", lambda: 2)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(UniversalityError, match="a process that reads recordings died") as caught:
        seen_by_cores(folders)
    assert caught.value.got == "exit code 3"
