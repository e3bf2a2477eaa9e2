"""What is printed while a run is trained: kept with it, a limited part."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

MAX_KEPT = 2000
"""Characters, the last."""


class Printed:
    """The last of what was printed, and how much of it there was.

    Attributes:
        count: characters, of which at most `MAX_KEPT` are kept.
    """

    def __init__(self) -> None:
        self.count = 0
        self._text = ""

    def keep(self, text: str) -> None:
        self.count += len(text)
        self._text = (self._text + text)[-MAX_KEPT:]

    @property
    def log(self) -> str:
        """For the log of a run; empty where nothing was printed."""
        if not self.count:
            return ""
        last = f", the last {MAX_KEPT} of {self.count:,} characters" if self.count > MAX_KEPT else ""
        return f"printed{last}:\n{self._text.rstrip()}\n"


class _Kept:
    """A text stream that also keeps what is written to it."""

    def __init__(self, stream: Any, printed: Printed) -> None:
        self._stream, self._printed = stream, printed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._printed.keep(text)
        return int(self._stream.write(text))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


@contextlib.contextmanager
def keeping_printed() -> Iterator[Printed]:
    """Keep what Python code prints within; it goes on to where it went."""
    printed, before = Printed(), (sys.stdout, sys.stderr)
    # None where the process was started without it.
    sys.stdout, sys.stderr = (_Kept(stream, printed) if stream else stream for stream in before)
    try:
        yield printed
    finally:
        sys.stdout, sys.stderr = before
