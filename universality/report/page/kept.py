"""The trajectories of a page that was written before, for a published set that comes without its runs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from universality.judge.resultset import Unreadable, read_bytes
from universality.plugin.records import RunState

_DATA = re.compile(r'<script type="application/json" id="run-data">(.*?)</script>', re.DOTALL)


def kept(path: Path, run_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What `series.recorded` gave that page, of the runs named; nothing where any of it is not as that writes it.

    Only numbers, known states and names that the measurements hold come through.
    """
    try:
        found = _DATA.search(read_bytes(path).decode())
        runs = json.loads(found[1]) if found else {}
        return {run: _run(runs[run]) for run in sorted(run_ids) if run in runs}
    except (Unreadable, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return {}


def _run(raw: Any) -> dict[str, Any]:
    if raw["state"] not in get_args(RunState) or type(raw["seed"]) is not int:
        raise ValueError("no run")
    return {
        "seed": raw["seed"],
        "state": raw["state"],
        "series": {metric: _series(*series) for metric, series in raw["series"].items()},
    }


def _series(steps: list[Any], values: list[Any]) -> list[list[Any]]:
    whole = all(type(step) is int for step in steps)
    numbers = all(value is None or type(value) in (int, float) for value in values)
    if not whole or not numbers or len(steps) != len(values):
        raise ValueError("no series")
    return [steps, values]
