"""The command line. Each command is a typed function in a file of this folder, called from Python alike.

Exit codes: 0 clean, 1 what was asked differs or fell short, 2 bad usage, 3 finished with failed runs, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from universality import __version__
from universality.commands.cli import add_arguments, summary
from universality.errors import UniversalityError, described

COMMANDS = {
    "run": "run.run",
    "list": "list.listing",
    "status": "status.status",
    "report": "report.report",
    "compare": "compare.compare",
    "leaderboard": "leaderboard.leaderboard",
    "check": "check.check",
    "new": "new.new",
    "data fetch": "data.fetch",
}
"""By what is typed: the module and its function. The module's `show` prints what the function returns, and
gives the exit code; without one it is lines of text."""


def build_parser() -> argparse.ArgumentParser:
    """Every command and option; a test freezes them."""
    parser = argparse.ArgumentParser(
        prog="universality",
        description="Measure which behaviours of deep learning are universal.",
        epilog="Parameters go in brackets everywhere, modifiers behind a plus: "
        "'mlp[width=512,activation=tanh]+mup[base=64]'.",
    )
    parser.add_argument("--version", action="version", version=f"universality {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"data": ("get data sets", "ACTION")}
    inside = {}
    for name, (text, metavar) in groups.items():
        inside[name] = commands.add_parser(name, help=text).add_subparsers(required=True, metavar=metavar)
    for typed in COMMANDS:
        module, function = _command(typed)
        group, _, name = typed.rpartition(" ")
        command = (inside[group] if group else commands).add_parser(
            name, help=summary(function), description=summary(function)
        )
        add_arguments(command, function)
        command.set_defaults(**{_CALL: (module, function)})
    return parser


_CALL = "command to call"  # a space, so that no option has this name


def _command(typed: str) -> tuple[ModuleType, Callable[..., Any]]:
    name, _, function = COMMANDS[typed].partition(".")
    module = importlib.import_module(f"universality.commands.{name}")
    return module, getattr(module, function)


def _print_lines(lines: Sequence[str]) -> int:
    print("\n".join(lines))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    The command line of this process, where `argv` is None, is run under a watcher if it names plugins.
    """
    options = vars(build_parser().parse_args(argv))
    if argv is None and options.get("plugins"):
        from universality.commands.guard import guarded  # here, since it is slow to load

        return guarded(lambda: _execute(options))
    return _execute(options)


def _execute(options: dict[str, Any]) -> int:
    module, function = options.pop(_CALL)
    try:
        code: int = getattr(module, "show", _print_lines)(function(**options))
        sys.stdout.flush()
        return code
    except UniversalityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SystemExit as leave:
        if leave.code == 128 + signal.SIGTERM:
            raise
        ended = UniversalityError(
            "a plugin ended the command", got=described(leave), do="remove its sys.exit"
        )
        print(f"error: {ended}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has left (`| head`). Python would flush once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
