"""Running code of a plugin while it is imported or asked something.

Whatever it raises becomes a `BadParameter` that names it, `sys.exit` too. What no exception tells (it kills
the process, hangs, prints without end) is for a process that watches this one and is told of every such
call, see `Watcher`; in a script or a notebook there is none.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from universality.errors import BadParameter, UniversalityError, UnknownName, described

IMPORT_SECONDS = 60.0
"""A watched process may spend this long on importing one file."""
ANSWER_SECONDS = 300.0
"""And this long on one answer of a plugin, such as its groups of runs or the data of a task."""


class Watcher(Protocol):
    """What is told before and after a call. `error` is what the user is shown if it never returns."""

    def enter(self, error: UniversalityError, seconds: float) -> None: ...

    def leave(self) -> None: ...


_watcher: Watcher | None = None


def watch(watcher: Watcher | None) -> None:
    """Tell `watcher` of all calls of this process from now on."""
    global _watcher
    _watcher = watcher


@contextlib.contextmanager
def announced(what: str, *, where: str, do: str, seconds: float = ANSWER_SECONDS) -> Iterator[None]:
    """Tell the watcher, if there is one, of what the block does. The texts are those of its error."""
    watcher = _watcher
    if watcher is None:
        yield
        return
    watcher.enter(BadParameter(what, where=where, do=do), seconds)
    try:
        yield
    finally:
        watcher.leave()


@contextlib.contextmanager
def foreign(what: str, *, where: str, do: str, seconds: float = ANSWER_SECONDS) -> Iterator[None]:
    """Run the block as a plugin's code, `announced`.

    Args:
        where: begins with the file of the plugin, if it has one; errors say its line too.

    Raises:
        BadParameter: where the block raises anything but a `UniversalityError`, which passes; one of parameters or
            names says which line of the plugin it came from.
    """
    with announced(what, where=where, do=do, seconds=seconds):
        try:
            yield
        except UniversalityError as error:
            line = _line(error, where) if isinstance(error, BadParameter | UnknownName) else ""
            if line and line.rpartition(":")[0] not in error.where:
                error.where = ", ".join(filter(None, (line, error.where)))
            raise
        except (Exception, SystemExit) as error:
            line = _line(error, where)
            place = where.replace(line.rpartition(":")[0], line, 1) if line else where
            raise BadParameter(what, where=place, got=described(error), do=do) from error


def line_in(error: BaseException, root: Path) -> str:
    """The innermost line of a file in the folder `root` (or of the file `root`) that an error went through, as
    `helper.py:12`; "" where there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path == root or path.is_relative_to(root):
            return f"{path.name if path == root else path.relative_to(root)}:{frame.lineno}"
    return ""


def _line(error: BaseException, where: str) -> str:
    """The innermost line that an error went through of the file that `where` begins with, as `file:line`."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        lines.append((error.filename or "", error.lineno))
    for file, line in reversed(lines):
        if where == file or where.startswith(f"{file}, "):
            return f"{file}:{line}"
    return ""
