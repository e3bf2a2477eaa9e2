"""Signs of life of a training, for whoever watches its process."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 1.0
"""Seconds between two signs, at least."""

WORTH = 60.0
"""Seconds of training that are worth saving where its process is asked to end."""

_tell: Callable[[], None] | None = None
_last = 0.0


def watch(tell: Callable[[], None] | None) -> None:
    """Call `tell` on signs of life from now on; None ends that."""
    global _tell
    _tell = tell


def beat() -> None:
    """The training goes on. Called between blocks of updates and around records; costs a look at the clock."""
    global _last
    if _tell is not None and (now := time.monotonic()) - _last >= INTERVAL:
        _last = now
        _tell()
