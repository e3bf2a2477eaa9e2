"""A worker and the processes that its plugins start are a process group, so that they end together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import NoReturn

from universality.train.interruption import ASKING, ask


def lead(patience: float) -> None:
    """Make this process the leader of a group of its own, which leaves signals to its parent.

    Ctrl-C in a terminal and a batch system that ends a job reach all processes; one that went before its parent would
    be a crash of its run.

    Args:
        patience: seconds after SIGTERM or SIGHUP, which ask this process to save what it has in hand, in which the
            parent should have ended it.
    """

    def leave(number: int, frame: object) -> None:
        ask()
        later = threading.Timer(patience, os._exit, (128 + number,))
        later.daemon = True
        later.start()

    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ASKING:
        signal.signal(number, leave)


def end_own() -> NoReturn:
    """End this process, and if it leads a group, whatever is in that."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def kill(leader: int) -> None:
    """Kill a live child and all of its group, or the child alone where it leads none yet."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(leader, signal.SIGKILL)


def kill_left_by(leader: int) -> None:
    """Kill what is left of the group of a leader that has ended and was waited for."""
    try:
        os.kill(leader, 0)
    except ProcessLookupError:
        # A group of which the leader is gone keeps its number from being given to another process.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
    except PermissionError:
        pass  # the number belongs to somebody else by now, and so no group was left
