"""The trajectories of a page that was written before, for a set that comes without the runs."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from universality.output.page.text import unpacked
from universality.plugin.trajectory import RunState
from universality.store.untrusted import UntrustedFile, read_bytes

_DATA = re.compile(r'<script type="application/gzip" id="run-data">(.*?)</script>')


class _Run(msgspec.Struct, forbid_unknown_fields=True):
    """What `series.fit` gives of a run: steps, as differences, and values."""

    seed: int
    state: RunState
    series: dict[str, tuple[list[int], list[float | None]]]

    def __post_init__(self) -> None:
        if any(len(steps) != len(values) for steps, values in self.series.values()):
            raise ValueError("steps and values differ in number")


def earlier_runs(path: Path, run_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What `series.fit` gave that page, of the runs named; nothing where any of it has another form.

    Only numbers, known states and names that the measurements hold come through.
    """
    try:
        match = _DATA.search(read_bytes(path).decode())
        runs = msgspec.json.decode(unpacked(match[1])) if match else {}
        named = {run: runs[run] for run in sorted(run_ids) if run in runs}
        msgspec.convert(named, dict[str, _Run])
    except (UntrustedFile, ValueError, TypeError, RecursionError):
        return {}
    return named
