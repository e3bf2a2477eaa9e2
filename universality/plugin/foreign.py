"""Running code of a plugin while it is imported or asked something.

Whatever it raises becomes a `BadParameter` that names it, `sys.exit` too. What no exception tells (it kills
the process, hangs, prints without end) is for a process that watches this one and is told of every such
call, see `Watcher`; in a script or a notebook there is none.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Protocol

from universality.errors import BadParameter, UniversalityError, described

USER_MODULES = "universality_plugins.extra_"
"""Begins the names of modules from `--plugins`."""
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
        BadParameter: where the block raises anything but a `UniversalityError`. Such passes, with the line of the
            plugin that it came by, unless the plugin itself raised it: then it says what it means to say.
    """
    with announced(what, where=where, do=do, seconds=seconds):
        try:
            yield
        except UniversalityError as error:
            if not _raised_there(error):
                error.where = placed(error.where, error)
            raise
        except (Exception, SystemExit) as error:
            raise BadParameter(what, where=placed(where, error), got=described(error), do=do) from error


def placed(where: str, error: BaseException) -> str:
    """`where`, with the line of a plugin of the user's own that an error came from, if there is one."""
    file, line = _line(error)
    if not file or f"{file}:{line}" in where:
        return where
    if where.startswith(file):
        rest = where.removeprefix(file)
        return where if rest.startswith(":") else f"{file}:{line}{rest}"
    return ", ".join(filter(None, (where, f"{file}:{line}")))


def _raised_there(error: BaseException) -> bool:
    """Whether a user's plugin raised an error, rather than something that it called."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith(USER_MODULES)


def _line(error: BaseException) -> tuple[str, int]:
    """File and line of the innermost frame of a user's plugin; an empty name where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 1
    return _innermost(error, lambda frame: frame.f_globals.get("__name__", "").startswith(USER_MODULES))


def _innermost(error: BaseException, ours: Callable[[FrameType], bool]) -> tuple[str, int]:
    """File and line of the last frame of ours that an error went through; an empty name where there is none."""
    found = "", 0
    for frame, line in traceback.walk_tb(error.__traceback__):
        if ours(frame):
            found = frame.f_code.co_filename, line
    return found


def line_in(error: BaseException, root: Path) -> str:
    """The innermost line of a file in the folder `root` (or of the file `root`) that an error went through, as
    `helper.py:12`; "" where there is none."""
    file, line = _innermost(error, lambda frame: Path(frame.f_code.co_filename).is_relative_to(root))
    if not file:
        return ""
    return f"{Path(file).name if Path(file) == root else Path(file).relative_to(root)}:{line}"
