"""What a user sees while runs train: a live bar with an estimate on a terminal, else a line per finished run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from universality.text import clock, plain
from universality.train.queue import Event


class Remaining:
    """Wall time that is left: the predicted seconds of what is open, times the ratio of what finished runs
    took to what was predicted for them, shared by the slots."""

    def __init__(self, predicted: Mapping[str, float], slots: int) -> None:
        self._left = dict(predicted)
        self._slots = max(1, slots)
        self._prediction = self._duration = 0.0

    def finish(self, run_id: str, seconds: float) -> None:
        prediction = self._left.pop(run_id, 0.0)
        if seconds > 0:
            self._prediction += prediction
            self._duration += seconds

    @property
    def seconds(self) -> float:
        correction = self._duration / self._prediction if self._prediction > 0 else 1.0
        return correction * sum(self._left.values()) / self._slots


QUIET = 60.0
"""Report progress after this many seconds in which no run finished: long runs that train side by side finish
together."""


class Progress:
    """Counts finished runs."""

    def __init__(
        self, predicted: Mapping[str, float], slots: int, stream: TextIO | None = None, quiet: float = QUIET
    ) -> None:
        stream = sys.stderr if stream is None else stream  # of now: a notebook or a test replaces it
        self._total = len(predicted)
        self._remaining = Remaining(predicted, slots)
        self._done = self._failed = 0
        self._start = self._last_finish = time.monotonic()
        self._console = Console(file=stream)
        columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Bar(*columns, console=self._console, disable=not stream.isatty())
        self._task = self._bar.add_task("starting workers", total=self._total)
        self._bar.start()
        self._quiet, self._closed, self._lock = quiet, threading.Event(), threading.Lock()
        threading.Thread(target=self._remind, name="progress", daemon=True).start()

    def notice(self, event: Event) -> None:
        """Take note of what happened to a run."""
        with self._lock:
            if event.state is not None:
                self._done += 1
                self._failed += event.state not in ("done", "diverged")
                self._last_finish = time.monotonic()
                self._remaining.finish(event.run_id, event.seconds)
                rest = self._remaining.seconds
                self._show(f"{event.state:<8} {event.seconds:7.1f} s  {event.run_id} ", rest)
            else:
                self._say(f"trying again: {event.run_id}: {plain(event.message, 600)}")

    def _remind(self) -> None:
        while not self._closed.wait(self._quiet):
            with self._lock:
                since = time.monotonic() - self._last_finish
                if since >= self._quiet and not self._closed.is_set():
                    rest = max(0.0, self._remaining.seconds - since)
                    self._show(
                        f"training; none finished for {clock(since)} (runs side by side end together),", rest
                    )

    def _show(self, news: str, rest: float) -> None:
        """In the place of earlier news on a terminal, else as a line of its own."""
        count = f"[{self._done:>{len(str(self._total))}}/{self._total}]"
        failed = f", {self._failed} failed" if self._failed else ""
        text = f"{count} {news} about {clock(rest)} left{failed}"
        self._bar.update(self._task, completed=self._done, description=text)
        if self._bar.disable:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            if not self._bar.disable:
                self._bar.stop()
            if self._total:
                self._say(f"{self._done} runs in {clock(time.monotonic() - self._start)}")
