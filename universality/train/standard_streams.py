"""Standard output and error of a command and of its workers: where they fail, work goes on.

A reader that leaves (`| head`) is no error: what it would have read is dropped, and the command goes on. An answer
that cannot be written for another reason, on a full disk or into a stream that was closed, is lost: a command that
lost its answer does not end with 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


class Stream:
    """Stands for a text stream of this process, and never raises for what it could not write.

    Attributes:
        lost: why something was not written, other than that its reader has left.
    """

    def __init__(self, stream: Any, number: int) -> None:
        self._closed = stream is None  # the process was started without it
        self.lost = OSError(errno.EBADF, os.strerror(errno.EBADF)) if self._closed else None
        # Its number is taken, else a file or a socket would get it, and with it what libraries print.
        self._stream = _placeholder(number) if self._closed else stream
        # A character that the terminal does not know is no error either.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self._stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = self.lost or error
            # What is still in its buffer would be tried once more when Python ends, and be an error then.
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)


def _placeholder(number: int) -> Any:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        with contextlib.suppress(OSError):
            os.fstat(number)  # somebody has it
            return open(null, "w")
        os.dup2(null, number)
        os.close(null)
    return open(number, "w", closefd=False)


def make_last() -> Stream:
    """Put `Stream`s in the place of `sys.stdout` and `sys.stderr`; returns that of the answer."""
    out = Stream(sys.stdout, 1)
    sys.stdout, sys.stderr = out, Stream(sys.stderr, 2)
    return out


@contextlib.contextmanager
def lasting() -> Iterator[Stream]:
    """`make_last` within."""
    before = sys.stdout, sys.stderr
    out = make_last()
    try:
        yield out
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
