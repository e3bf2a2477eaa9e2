"""The command line. Exit codes: 0 clean, 1 what was asked differs or fell short, 2 bad usage, 3 finished with
failures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from universality import __version__
from universality.errors import UniversalityError

ENGINES = ("auto", "loop", "fused", "plain")
"""`universality.train.engine.loop.Engine`, which imports torch."""


def build_parser() -> argparse.ArgumentParser:
    """Every command and option; a test freezes them."""
    parser = argparse.ArgumentParser(
        prog="universality",
        description="Measure which behaviours of deep learning are universal.",
        epilog="Parameters go in brackets everywhere: 'mlp[width=512,activation=tanh]'.",
    )
    parser.add_argument("--version", action="version", version=f"universality {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plugins = argparse.ArgumentParser(add_help=False)
    plugins.add_argument(
        "--plugins", action="append", default=[], metavar="DIR", help="load every .py file in DIR"
    )
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--data-root",
        metavar="DIR",
        help="where data sets lie (default: $UNIVERSALITY_DATA, else ~/.cache/universality/data)",
    )

    run = commands.add_parser(
        "run",
        parents=[plugins, data],
        help="train, measure and report; run it again to resume",
        description="Train what is missing, measure, and write the table. Finished runs are never "
        "trained again: the same command resumes after an interruption.",
    )
    run.add_argument("--suite", metavar="NAME|FILE", help="a built-in suite or a .toml file (default: quick)")
    for kind in ("architectures", "tasks", "phenomena"):
        run.add_argument(f"--{kind}", nargs="+", metavar="NAME", help=f"a cross of your own: its {kind}")
    run.add_argument("--seeds", type=int, metavar="N", help="replicates per cell of that cross (default: 5)")
    run.add_argument("--name", help="the results go to RESULTS/NAME (default: the suite's name)")
    run.add_argument("--results", default="results", metavar="DIR", help="default: results")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    run.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes; 0 trains in this one, several may share a GPU (default: one per core, one per GPU)",
    )
    run.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="runs side by side: gradients one by one (loop) or at once (fused); plain: one after another "
        "(default: auto, what is faster there)",
    )
    run.add_argument(
        "--timeout", type=_seconds, default=3600.0, metavar="S", help="seconds per run (default: 3600)"
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be trained, and its cost")

    show = commands.add_parser("list", parents=[plugins], help="what is registered")
    show.add_argument("what", nargs="?", choices=["architectures", "tasks", "phenomena", "probes", "suites"])

    status = commands.add_parser("status", help="how far a results folder is")
    status.add_argument("folder", type=Path)

    report = commands.add_parser("report", help="tables and figures of a results folder, anew")
    report.add_argument("folder", type=Path)

    compare = commands.add_parser(
        "compare",
        help="two result sets: which verdicts flipped, which effects changed",
        description="Join two result sets cell by cell, from their measurements. Exits with 1 where a verdict "
        "flipped or a claim is validated in one set only.",
    )
    compare.add_argument("first", type=Path, metavar="A", help="a results folder, before")
    compare.add_argument("second", type=Path, metavar="B", help="a results folder, after")
    compare.add_argument(
        "--out", type=Path, metavar="DIR", help="write comparison.md, comparison.json and comparison.html"
    )
    compare.add_argument(
        "--allow-versions", action="store_true", help="join cells that different claims or versions judged"
    )

    board = commands.add_parser(
        "leaderboard",
        help="claims in order of prevalence, over one or many result sets",
        description="Pool the cells of result sets. Exits with 1 where a set could not be used.",
    )
    board.add_argument(
        "places",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="result sets, or folders of them (default: results)",
    )
    board.add_argument(
        "--out", type=Path, metavar="DIR", help="write leaderboard.md, leaderboard.json and leaderboard.html"
    )
    board.add_argument(
        "--write", type=Path, metavar="FILE", help="put the table between the markers of this Markdown file"
    )

    check = commands.add_parser(
        "check",
        parents=[plugins, data],
        help="whether a result set, or a plugin, is what it should be",
        description="A folder is checked as a result set that somebody else made: nothing in it is executed. "
        "Anything else is the address of a plugin. Exits with 1 where something is wrong.",
    )
    check.add_argument(
        "targets", nargs="+", metavar="DIR|NAME", help="e.g. results/quick-cpu, or 'mlp[width=64]'"
    )

    fetch = commands.add_parser("data", help="get data sets").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    get = fetch.add_parser("fetch", parents=[plugins, data], help="download what a task needs")
    get.add_argument("task", nargs="+", help="e.g. mnist or 'hub_text[dataset=ag_news]'")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number of processes, 0 or more, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, got {text!r}")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = build_parser().parse_args(argv)
    try:
        code = _dispatch(options)
        sys.stdout.flush()
        return code
    except UniversalityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has left (`| head`). Python would flush once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(options: argparse.Namespace) -> int:
    # Imported here: `report` and `status` need no torch, and --help should answer at once.
    if options.command == "run":
        from universality.commands import run as benchmark

        return benchmark.run(options)
    if options.command == "list":
        from universality.commands import list as listing

        return listing.show(options.what, options.plugins)
    if options.command == "status":
        from universality.commands import status

        return status.show(options.folder)
    if options.command == "report":
        from universality.report.build import show

        return show(options.folder)
    if options.command == "compare":
        from universality.report import compare as comparison

        return comparison.show(
            options.first, options.second, options.out, allow_versions=options.allow_versions
        )
    if options.command == "leaderboard":
        from universality.report import leaderboard as board

        return board.show(options.places, options.out, options.write)
    if options.command == "check":
        from universality.commands import check

        return check.show(options.targets, options.plugins, options.data_root)
    from universality.commands import data as fetching

    return fetching.fetch(options.task, options.plugins, options.data_root)
