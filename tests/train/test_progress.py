"""Progress: an estimate that learns from what finished, and a line per run where nobody watches."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import pytest

from universality.train.progress import Progress, Remaining


@dataclass(frozen=True)
class Happened:
    run_id: str
    state: str | None = None
    seconds: float = 0.0
    message: str = ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_remaining_time_is_shared_by_the_slots() -> None:
    assert Remaining({"a": 30.0, "b": 10.0}, slots=4).seconds == 10.0
    assert Remaining({"a": 30.0}, slots=0).seconds == 30.0


def test_the_estimate_is_corrected_by_what_runs_really_took() -> None:
    left = Remaining({"a": 10.0, "b": 20.0, "c": 30.0}, slots=1)
    left.finish("a", 40.0)  # four times as long as foreseen: 4 * (20 + 30)
    assert left.seconds == pytest.approx(200.0)
    left.finish("b", 20.0)  # (40 + 20) / (10 + 20) = 2
    assert left.seconds == pytest.approx(60.0)
    left.finish("c", 1.0)
    assert left.seconds == 0.0


def test_runs_that_another_process_had_finished_say_nothing_about_speed() -> None:
    left = Remaining({"a": 10.0, "b": 20.0}, slots=1)
    left.finish("a", 0.0)
    assert left.seconds == 20.0


def test_unknown_runs_do_not_disturb_the_estimate() -> None:
    left = Remaining({}, slots=2)
    left.finish("stranger", 3.0)
    assert left.seconds == 0.0


def test_without_a_terminal_every_finished_run_is_one_line() -> None:
    stream = io.StringIO()
    progress = Progress({f"run{i}": 10.0 for i in range(10)}, slots=1, stream=stream)
    progress.notice(Happened("run0", "done", seconds=20.0))
    progress.notice(Happened("run1", message="killed by signal 9"))
    progress.notice(Happened("run1", "crashed", seconds=20.0))
    assert stream.getvalue() == (
        "[ 1/10] done        20.0 s  run0  about 3:00 left\n"
        "trying again: run1: killed by signal 9\n"
        "[ 2/10] crashed     20.0 s  run1  about 2:40 left, 1 failed\n"
    )
    progress.close()
    assert stream.getvalue().splitlines()[-1].startswith("2 runs in 0:0")


def test_nothing_to_train_is_not_worth_a_line() -> None:
    stream = io.StringIO()
    Progress({}, slots=1, stream=stream).close()
    assert stream.getvalue() == ""


def test_on_a_terminal_a_live_bar_shows_counts_failures_and_text_as_it_is() -> None:
    stream = Terminal()
    progress = Progress({"run0": 1.0, "run1": 1.0}, slots=1, stream=stream)
    progress.notice(Happened("run0", "failed", seconds=1.0))
    progress.notice(Happened("mlp[bold]", message="[red]text[/red]"))
    progress.notice(Happened("run1", "diverged", seconds=1.0))
    progress.close()
    shown = stream.getvalue()
    assert "2/2" in shown
    assert "1 failed" in shown  # a diverged run is a finding, not a failure
    assert "2 failed" not in shown
    assert "trying again: mlp[bold]: [red]text[/red]" in shown
    assert "2 runs in 0:0" in shown.splitlines()[-1]


def test_long_silence_is_broken_and_ends_with_the_training() -> None:
    stream = io.StringIO()
    progress = Progress({"a": 600.0, "b": 600.0}, slots=2, stream=stream, quiet=0.02)
    deadline = time.monotonic() + 20
    while (
        "none finished for 0:00 (runs side by side end together), about 10:00 left" not in stream.getvalue()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert stream.getvalue().startswith("[0/2] training; ")
    progress.close()
    said = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == said
