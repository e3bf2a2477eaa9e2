"""Tables while a set is trained: `universality report`, started every few minutes beside the training."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from universality.text import plain, short

FIRST_SECONDS = 600.0
"""From the start of training to the first table, and at least from one to the next."""
SHARE = 0.1
"""Of the time, what tables may take of one core."""
NICENESS = 10
"""Training goes first."""
GRACE = 5.0
"""Seconds from the request to end to the end."""


@contextmanager
def interim_reports(command: Sequence[str], runs: Path, every: float = FIRST_SECONDS) -> Iterator[None]:
    """Run `command` again and again while the body trains, whenever runs were stored since. What it says when it fails is told,
    and disturbs nothing.

    Args:
        runs: the folder in which stored runs appear.
    """
    reports = _Reports(command, runs, every)
    thread = threading.Thread(target=reports.go, name="interim reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        reports.close()
        thread.join()


class _Reports:
    def __init__(self, command: Sequence[str], runs: Path, every: float) -> None:
        self._command, self._runs, self._every = list(command), runs, every
        self._seen = len(os.listdir(runs))
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._life: int | None = None

    def go(self) -> None:
        wait = self._every
        while not self._closed.wait(wait):
            stored = len(os.listdir(self._runs))
            if stored > self._seen:
                self._seen, started = stored, time.monotonic()
                self._report()
                wait = max(self._every, (time.monotonic() - started) / SHARE)

    def _report(self) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            theirs, self._life = os.pipe()
            # A group of its own: Ctrl-C in the terminal is for the training, which ends it.
            self._child = subprocess.Popen(
                [sys.executable, "-c", _ACCOMPANY, *self._command],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,
            )
            os.close(theirs)
        os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)
        _, said = self._child.communicate()
        self._let_go()
        if self._child.returncode and not self._closed.is_set():
            text = short(plain(said.decode(errors="replace").strip().rpartition("\n")[2]), 300)
            print(f"note: no interim table: {text}", file=sys.stderr)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        self._let_go()

    def _let_go(self) -> None:
        """The end of the pipe ends what is at work; so does the end of this process, however it comes."""
        with self._lock:
            if self._life is not None:
                os.close(self._life)
            self._life = None


_ACCOMPANY = (
    "import sys; from universality.commands.interim import accompany; sys.exit(accompany(sys.argv[1:]))"
)


def accompany(command: Sequence[str]) -> int:
    """Run `command` until it ends, or standard input does: whoever holds its other end is gone. Returns the exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end() -> None:
        with suppress(OSError):
            os.read(sys.stdin.fileno(), 1)
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        child.kill()

    threading.Thread(target=end, daemon=True).start()
    return child.wait()
