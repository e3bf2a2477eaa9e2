"""A signal that asks this process to end, as an exception: what it holds is given back on the way out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

ASKING = (signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C is Python's own."""


class Interrupted(KeyboardInterrupt):
    """One of `ASKING` has come. No code of a plugin that catches its own errors stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number
        """That this process ends with, as a shell says it."""


class Stopped(KeyboardInterrupt):
    """What this process had in hand ended before its time, since it was asked to (`ask`)."""


_asked = False


def ask() -> None:
    """Ask this process to end its training where that can be taken up again."""
    global _asked
    _asked = True


def is_asked() -> bool:
    return _asked


def interrupt(number: int, frame: object) -> None:
    """A handler of signals. Raises `Interrupted`."""
    raise Interrupted(number)


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C where they would have killed this process without cleaning up.

    Raises SystemExit, with the code 128 + number, where one came and nobody caught it.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    mine = [n for n in ASKING if in_main_thread and signal.getsignal(n) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, interrupt)
    try:
        yield
    except Interrupted as end:
        if not mine:
            raise
        raise SystemExit(end.code) from None
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
