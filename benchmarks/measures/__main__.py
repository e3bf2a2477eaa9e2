"""Time, memory and error of `universality.measures` beside what a user would install instead.

    python -m benchmarks.measures --quick

Ratios of one run, on one thread; absolute times are in the JSON only. Peers come with
`pip install '.[bench]'`; a peer that is missing or fails has its line
say so, and its targets count as missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .harness import one_thread

CASES = ("sharpness", "similarity", "collapse", "neighbours", "growth")
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pyhessian",
    "hessian-eigenthings",
    "curvlinops-for-pytorch",
    "pytorch-cka",
    "torch-cka",
    "ckatorch",
    "kowalski",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each case; returns 0 where every target is reached (or with --quick), else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measures", description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most N rounds of each method")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write tables, samples and versions there")
    options = parser.parse_args(argv)
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    rounds = options.rounds or (2 if options.quick else None)
    one_thread()
    tables, samples = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases or CASES:
            started = time.perf_counter()
            module = importlib.import_module(f"{__package__}.{case}")
            for table, kept in module.measure(Path(folder), options.quick, rounds):
                print(table, flush=True)
                tables.append(table)
                samples[table.title] = kept
            print(f"{case}: {time.perf_counter() - started:.0f} s\n", flush=True)
    if options.quick:
        print("Small sizes: no target is meant for them.")
    if options.json:
        dump = {"quick": options.quick, "versions": _versions(), "tables": tables, "samples": samples}
        options.json.write_text(json.dumps(dump, indent=1, default=_plain))
    missed = [text for table in tables for row in table.rows for text, met in row.targets if not met]
    if missed and not options.quick:
        print(f"{len(missed)} targets missed.")
        return 1
    return 0


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def _plain(value: Any) -> Any:
    """Dataclasses and arrays for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.tolist()


if __name__ == "__main__":
    raise SystemExit(main())
