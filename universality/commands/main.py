"""The command line. Each command is a typed function in a file of this folder, called from Python alike.

Exit codes: 0 clean, 1 what was asked differs or fell short, 2 bad usage, 3 finished with failed runs, 130 interrupted
(129 by SIGHUP, 143 by SIGTERM).
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from universality import __version__
from universality.commands.cli import add_arguments, examples, summary
from universality.errors import UniversalityError, described
from universality.text import plain
from universality.train.interruption import Interrupted, signals_raise
from universality.train.standard_streams import Stream, lasting

COMMANDS = {
    "run": "run.run",
    "worker": "worker.worker",
    "list": "list.listing",
    "status": "status.status",
    "report": "report.report",
    "compare": "compare.compare",
    "leaderboard": "leaderboard.leaderboard",
    "reproductions": "reproductions.reproductions",
    "replay": "replay.replay",
    "check": "check.check",
    "export": "export.export",
    "publish": "publish.publish",
    "predict": "predict.predict",
    "hunt": "hunt.hunt",
    "new": "new.new",
    "data fetch": "data.fetch",
}
"""By what is typed: the module and its function. The module's `show` prints what the function returns, and
gives the exit code; without one it is lines of text."""


class _Formatter(argparse.HelpFormatter):
    """Wraps all texts but examples, which are to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)


_EXAMPLES = "examples:\n"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """What was typed may be the name of a file that somebody else made."""
        super().error(plain(message, None))


def build_parser() -> argparse.ArgumentParser:
    """Every command and option; a test freezes them."""
    parser = _Parser(
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
            name,
            help=summary(function),
            description=summary(function),
            epilog="\n  ".join(
                [_EXAMPLES.rstrip(), *(line.replace("%", "%%") for line in examples(function))]
            ),
            formatter_class=_Formatter,
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
    print(plain("\n".join(lines), None, lines=True))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, which is not 0 where its answer could not be written.

    The command line of this process, where `argv` is None, is run under a watcher if it names plugins.
    """
    with lasting() as output:
        try:
            return _run(argv, output)
        except SystemExit as leave:  # of argparse: help was shown, or refused
            raise SystemExit(_written(output, leave.code)) from None


def _run(argv: Sequence[str] | None, output: Stream) -> int:
    options = vars(build_parser().parse_args(argv))

    def command() -> int:
        code: int = _written(output, _execute(options))
        return code

    if argv is None and options.get("plugins"):
        from universality.commands.guard import guarded  # here, since it is slow to load

        return guarded(command)
    return command()


def _written(output: Stream, code: Any) -> Any:
    """`code`, or 2 for a 0 whose answer is lost; an answer that nobody wants to read any more is not."""
    output.flush()
    if output.lost is None:
        return code
    _say(
        UniversalityError(
            "the answer could not be written",
            where="standard output",
            got=output.lost.strerror or str(output.lost),
            do="look at where it goes; what the command stored stays",
        )
    )
    return code or 2


def _execute(options: dict[str, Any]) -> int:
    module, function = options.pop(_CALL)
    with signals_raise():
        try:
            code: int = getattr(module, "show", _print_lines)(function(**options))
            return code
        except UniversalityError as error:
            _say(error)
            return 2
        except SystemExit as leave:
            got, do = described(leave), "remove its sys.exit"
            _say(UniversalityError("a plugin ended the command", got=got, do=do))
            return 2
        except KeyboardInterrupt as end:
            print("interrupted: what is finished is kept, the same command resumes", file=sys.stderr)
            return end.code if isinstance(end, Interrupted) else 128 + signal.SIGINT


def _say(error: UniversalityError) -> None:
    print(f"error: {error}", file=sys.stderr)
