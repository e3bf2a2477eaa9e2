"""What a user sees while runs train: a live bar with an estimate, or a line per finished run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO


class Event(Protocol):
    """What is read of an event of `universality.train.queue`."""

    @property
    def kind(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def state(self) -> str | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def message(self) -> str: ...


def clock(seconds: float) -> str:
    """
    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class Remaining:
    """Wall time that remains, from predicted costs corrected by what finished runs really took."""

    def __init__(self, predicted: Mapping[str, float], slots: int) -> None:
        self._left = dict(predicted)
        self._slots = max(1, slots)
        self._foreseen = self._spent = 0.0

    def finish(self, run_id: str, seconds: float) -> None:
        foreseen = self._left.pop(run_id, 0.0)
        if seconds > 0:
            self._foreseen += foreseen
            self._spent += seconds

    @property
    def seconds(self) -> float:
        correction = self._spent / self._foreseen if self._foreseen > 0 else 1.0
        return correction * sum(self._left.values()) / self._slots


QUIET = 60.0
"""Seconds after which it is said that nothing has finished: long runs that train side by side do so together."""


class Progress:
    """Counts finished runs. Live on a terminal where rich is installed, else a line per run.

    Args:
        quiet: seconds without a finished run after which the estimate is given anew.
    """

    def __init__(
        self, predicted: Mapping[str, float], slots: int, stream: TextIO = sys.stderr, quiet: float = QUIET
    ) -> None:
        self._total = len(predicted)
        self._remaining = Remaining(predicted, slots)
        self._done = self._problems = 0
        self._started = self._heard = time.monotonic()
        self._stream = stream
        self._live = _live(stream, self._total) if stream.isatty() else None
        self._quiet, self._closed, self._lock = quiet, threading.Event(), threading.Lock()
        threading.Thread(target=self._remind, name="progress", daemon=True).start()

    def notice(self, event: Event) -> None:
        """Take note of what happened to a run."""
        with self._lock:
            if event.state is not None:
                self._finished(event.run_id, event.state, event.seconds)
            elif event.kind == "retrying":
                self.say(f"trying again: {event.run_id}: {event.message}")

    def _remind(self) -> None:
        while not self._closed.wait(self._quiet):
            with self._lock:
                since = time.monotonic() - self._heard
                if since < self._quiet or self._closed.is_set():
                    continue
                left = clock(max(0.0, self._remaining.seconds - since))
                if self._live is None:
                    count = f"[{self._done:>{len(str(self._total))}}/{self._total}]"
                    self.say(f"{count} training; none finished for {clock(since)}, about {left} left")
                else:
                    self._live[0].update(self._live[1], note=f"about {left} left")

    def _finished(self, run_id: str, state: str, seconds: float) -> None:
        self._done += 1
        self._heard = time.monotonic()
        self._problems += state not in ("done", "diverged")
        self._remaining.finish(run_id, seconds)
        left = clock(self._remaining.seconds)
        if self._live is None:
            width = len(str(self._total))
            print(
                f"[{self._done:>{width}}/{self._total}] {state:<8} {seconds:7.1f} s  {run_id}  "
                f"about {left} left",
                file=self._stream,
                flush=True,
            )
        else:
            bar, task = self._live
            problems = f", {self._problems} failed" if self._problems else ""
            bar.update(task, completed=self._done, note=f"about {left} left{problems}  {run_id}")

    def say(self, text: str) -> None:
        if self._live is None:
            print(text, file=self._stream, flush=True)
        else:
            self._live[0].console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live[0].stop()
        took = clock(time.monotonic() - self._started)
        if self._total:
            print(f"{self._done} runs in {took}", file=self._stream, flush=True)


def _live(stream: TextIO, total: int) -> tuple[Any, Any] | None:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    bar = Bar(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(file=stream),
    )
    bar.start()
    return bar, bar.add_task("training", total=total, note="starting workers")
