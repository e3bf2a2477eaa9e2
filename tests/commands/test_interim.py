"""Tables beside a training: when they are made, and that nothing that goes wrong with them disturbs it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import alive
from universality.commands.interim import interim_reports


def counting(path: Path, more: str = "") -> list[str]:
    return [sys.executable, "-c", f"open({str(path)!r}, 'a').write('x'); {more}"]


def waited_for(path: Path, size: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.stat().st_size >= size:
            return True
        time.sleep(0.02)
    return False


def test_a_table_is_made_when_runs_were_stored_since(tmp_path: Path) -> None:
    runs, made = tmp_path / "runs", tmp_path / "made"
    runs.mkdir()
    (runs / "before").mkdir()
    with interim_reports(counting(made), runs, every=0.05):
        time.sleep(0.5)
        assert not made.exists()
        (runs / "first").mkdir()
        assert waited_for(made, 1)
        time.sleep(0.3)
        assert made.stat().st_size == 1
        (runs / "second").mkdir()
        assert waited_for(made, 2)


def test_one_that_fails_is_told_and_one_that_hangs_ends_with_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, made = tmp_path / "runs", tmp_path / "made"
    runs.mkdir()
    with interim_reports(counting(made, "raise SystemExit('no \x1b[31mroom')"), runs, every=0.05):
        (runs / "first").mkdir()
        assert waited_for(made, 1)
        time.sleep(0.5)
    said = capsys.readouterr().err
    assert "note: no interim table: no" in said
    assert "\x1b" not in said
    made.unlink()
    started = time.monotonic()
    with interim_reports(counting(made, "import time; time.sleep(60)"), runs, every=0.05):
        (runs / "second").mkdir()
        assert waited_for(made, 1)
    assert time.monotonic() - started < 30
    assert not capsys.readouterr().err


def test_one_ends_with_a_training_that_is_killed(tmp_path: Path) -> None:
    runs, made = tmp_path / "runs", tmp_path / "made"
    runs.mkdir()
    hangs = [
        sys.executable,
        "-c",
        f"import os, time; open({str(made)!r}, 'w').write(f'{{os.getpid():9}}'); time.sleep(60)",
    ]
    trains = (
        "import pathlib, time\n"
        "from universality.commands.interim import interim_reports\n"
        f"runs = pathlib.Path({str(runs)!r})\n"
        f"with interim_reports({hangs!r}, runs, every=0.05):\n"
        "    (runs / 'first').mkdir()\n"
        "    time.sleep(60)\n"
    )
    training = subprocess.Popen([sys.executable, "-c", trains])
    try:
        assert waited_for(made, 9)
        table = int(made.read_text())
        assert alive(table)
    finally:
        training.send_signal(signal.SIGKILL)
        training.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end and alive(table):
        time.sleep(0.05)
    assert not alive(table)
