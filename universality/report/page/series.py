"""Trajectories for the page: few points of the metrics that a claim is about, from every stored run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.plugin.records import CellRecord, Series
from universality.report import columns as c
from universality.store.store import Store

MOST_POINTS, LEAST_POINTS = 200, 12
POINT_BYTES, RUN_BYTES = 11, 150
"""About what one point of a series, and one run beside its series, take."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What the panel of a cell draws over steps. With `banded`, the claim bounds these very values."""

    metrics: Mapping[str, str]
    label: str
    banded: bool = False
    log_steps: bool = False
    log_values: bool = False


def chart_of(record: CellRecord) -> Chart:
    """The trajectory of a claim; of phenomena that are not known here, the accuracies or the loss."""
    if record.phenomenon == "edge_of_stability":
        return Chart({c.SHARPNESS_RATIO: ""}, "sharpness / stability threshold", banded=True)
    if record.phenomenon == "neural_collapse":
        return Chart({f"collapse.{record.claim_name}": ""}, record.claim.unit, banded=True, log_values=True)
    accuracies = {c.TRAIN_ACCURACY: "training", c.VALIDATION_ACCURACY: "validation"}
    return Chart(accuracies, "accuracy", log_steps=record.phenomenon == "grokking")


def recorded(store: Store, records: Sequence[CellRecord], room: int) -> dict[str, dict[str, Any]]:
    """Per stored run: its seed, how it ended, and per metric the steps (as differences) and values.

    Series are thinned until they fit into about `room` bytes, or have `LEAST_POINTS`.
    """
    wanted: dict[str, dict[str, bool]] = {}
    for record in records:
        chart = chart_of(record)
        for run in {run for group in record.groups for run in group.runs.values()}:
            wanted.setdefault(run, {}).update(dict.fromkeys(chart.metrics, chart.log_steps))
    found: dict[str, tuple[int, str, dict[str, tuple[Series, bool]]]] = {}
    for run_id, metrics in wanted.items():
        stored = next(store.recordings(run_id), None)
        if stored is None:
            continue
        series = {m: (stored.series(m), log) for m, log in metrics.items() if stored.steps(m)}
        if not series and stored.steps("train_loss"):
            series = {"train_loss": (stored.series("train_loss"), False)}
        found[run_id] = (stored.spec.seed, stored.state, series)
    count = sum(len(series) for _, _, series in found.values())
    most = (room - RUN_BYTES * len(found)) // (POINT_BYTES * max(1, count))
    most = min(MOST_POINTS, max(LEAST_POINTS, most))
    return {
        run_id: {
            "seed": seed,
            "state": state,
            "series": {metric: _encoded(s, most, log) for metric, (s, log) in series.items()},
        }
        for run_id, (seed, state, series) in found.items()
    }


def _encoded(series: Series, most: int, log_steps: bool) -> list[list[Any]]:
    kept = thinned(series, most, log_steps)
    steps = np.diff(kept.steps, prepend=0).tolist()
    return [steps, [rounded(float(v)) for v in kept.values]]


def thinned(series: Series, most: int, log_steps: bool = False) -> Series:
    """At most `most` points: the ends, and of each stretch of steps its lowest and highest value.

    Stretches are equally long on the axis that is drawn, so that nothing that would be seen is lost.
    Where a stretch holds values that are not finite, the first of them takes the place of the highest:
    lines break there.
    """
    n = len(series)
    if n <= most:
        return series
    x: NDArray[np.float64] = series.steps.astype(np.float64)
    x = np.log1p(x - x[0]) if log_steps else x - x[0]
    stretches = max(1, (most - 2) // 2)
    place = np.minimum((x / x[-1] * stretches).astype(int), stretches - 1)
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    keep = {0, n - 1}
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        values = series.values[start:stop]
        broken = np.flatnonzero(~np.isfinite(values))
        highest = broken[0] if len(broken) else values.argmax()
        lowest = np.where(np.isfinite(values), values, np.inf).argmin()
        keep |= {int(start + lowest), int(start + highest)}
    index = sorted(keep)
    return Series(series.steps[index], series.values[index])


def rounded(value: float) -> float | None:
    """Four significant digits; None for what JSON lacks."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
