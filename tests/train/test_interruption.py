"""Signals that ask a process to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from universality.train.interruption import Interrupted, signals_raise


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """Whoever runs the tests may ignore these."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ask_to_end(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_unwinds_and_gives_the_code_of_a_shell(number: int, code: int) -> None:
    closed = []

    def work() -> None:
        with signals_raise():
            try:
                ask_to_end(number)
            except Exception:  # as a plugin might
                closed.append("caught as an error")
            finally:
                closed.append("closed")

    with pytest.raises(SystemExit) as end:
        work()
    assert (end.value.code, closed) == (code, ["closed"])
    assert signal.getsignal(number) is signal.SIG_DFL


def test_within_another_the_outer_one_ends_it() -> None:
    caught = []

    def work() -> None:
        with signals_raise():
            try:
                with signals_raise():
                    ask_to_end(signal.SIGHUP)
            except Interrupted as end:
                caught.append(end.code)
                raise

    with pytest.raises(SystemExit):
        work()
    assert caught == [129]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with signals_raise():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_another_thread_leaves_handlers_alone() -> None:
    seen = []

    def look() -> None:
        with signals_raise():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
