"""Tables while a set is trained: `universality report`, started every few minutes beside the training."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from universality.text import plain, short

FIRST_SECONDS = 600.0
"""From the start of training to the first table, and at least from one to the next."""
SHARE = 0.1
"""Of the time, what tables may take of one core."""
NICENESS = 10
"""Training goes first."""


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
            # A group of its own: Ctrl-C in the terminal is for the training, which ends it.
            self._child = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0
            )
        os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)
        _, said = self._child.communicate()
        if self._child.returncode and not self._closed.is_set():
            text = short(plain(said.decode(errors="replace").strip().rpartition("\n")[2]), 300)
            print(f"note: no interim table: {text}", file=sys.stderr)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            if self._child is not None and self._child.poll() is None:
                self._child.terminate()
