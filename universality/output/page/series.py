"""Trajectories for the page: few points of the series that charts draw, from every stored run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from universality.judge.resultset import ResultSet
from universality.output.charts import charts_on_page
from universality.output.collect import run_ids, thinned
from universality.plugin.charts import Lines, series_of
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord
from universality.store.recording import StoredTrajectory
from universality.store.store import Store
from universality.text import telling_digits

MAX_POINTS, MIN_POINTS = 200, 12
MAX_RUNS = 3_000
"""With trajectories in the page, at `MIN_POINTS` of two series half a million bytes. Each is read whole."""
POINT_BYTES, RUN_BYTES = 4, 60
"""About what one point of a series, and one run beside its series, take when packed."""


Drawn = tuple[StoredTrajectory, Mapping[str, bool]]
"""A run, and the series of it that are drawn, each with whether its steps are on a logarithmic axis."""


def stored_series(store: Store, results: ResultSet) -> dict[str, Drawn]:
    """What the charts of the cells that are shown draw, by run; where a run has none of it, its training loss.

    Cost: O(cells), and the reading of these runs.
    """
    series_of_run: dict[str, dict[str, bool]] = {}
    for record in shown_cells(results.records):
        drawn = {
            name: "x" in chart.log
            for chart in charts_on_page(results.plan, record)
            if isinstance(chart, Lines)
            for name in series_of(chart)
        }
        for run in sorted(run_ids([record])):
            series_of_run.setdefault(run, {}).update(drawn)
    runs: dict[str, Drawn] = {}
    for run_id, names in sorted(series_of_run.items()):  # a set has another order in every process
        if (stored := next(store.recordings(run_id), None)) is not None:
            recorded = {name: log for name, log in names.items() if stored.steps(name)}
            loss = {"train_loss": False} if stored.steps("train_loss") else {}
            runs[run_id] = stored, recorded or loss
    return runs


def shown_cells(records: Sequence[CellRecord]) -> list[CellRecord]:
    """Those whose trajectories a page has: of every claim the first cell, then the second, until they have `MAX_RUNS`."""
    seen: Counter[tuple[str, str, bool]] = Counter()
    turns: list[tuple[int, int]] = []
    for place, record in enumerate(records):
        kind = record.phenomenon, record.claim_name, record.crossed
        turns.append((seen[kind], place))
        seen[kind] += 1
    runs: set[str] = set()
    places: list[int] = []
    for _, place in sorted(turns):
        runs |= run_ids([records[place]])
        if len(runs) > MAX_RUNS:
            break
        places.append(place)
    return [records[place] for place in sorted(places)]


def fit(runs: Mapping[str, Drawn], room: int) -> dict[str, dict[str, Any]]:
    """Per run: its seed, how it ended, and per metric the steps (as differences) and values.

    Series are thinned until they fit into about `room` bytes, or have `MIN_POINTS`.
    """
    count = sum(len(metrics) for _, metrics in runs.values())
    most = (room - RUN_BYTES * len(runs)) // (POINT_BYTES * max(1, count))
    most = min(MAX_POINTS, max(MIN_POINTS, most))
    return {
        run_id: {
            "seed": run.spec.seed,
            "state": run.state,
            "series": {m: _encoded(run.series(m), most, log) for m, log in metrics.items()},
        }
        for run_id, (run, metrics) in runs.items()
    }


def _encoded(series: Series, most: int, log_steps: bool) -> list[list[Any]]:
    few = thinned(series, most, log_steps)
    steps = np.diff(few.steps, prepend=0).tolist()
    return [steps, [rounded(float(v)) for v in few.values]]


def rounded(value: float | None, bounds: Iterable[float] = ()) -> float | None:
    """Four significant digits, more where it takes them to stay on its side of the bounds; None for what JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{telling_digits(value, bounds, 4)}g}")
