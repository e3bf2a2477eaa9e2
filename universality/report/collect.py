"""What figures draw, read from a results folder: trajectories in long form, layer similarities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from universality.plugin.records import CellRecord, GroupRecord, Outcome
from universality.report import columns as c
from universality.report.figures.similarity import Matrix, Pair
from universality.store.store import Store

_DRAWN: Mapping[str, tuple[str, ...]] = {
    "edge_of_stability": (c.SHARPNESS_RATIO,),
    "grokking": (c.TRAIN_ACCURACY, c.VALIDATION_ACCURACY),
    "neural_collapse": (c.NC1, c.NC2_NORMS, c.NC2_ANGLES, c.NC3),
}


def trajectories(store: Store, records: Sequence[CellRecord]) -> pd.DataFrame:
    """`columns.TRAJECTORY` of every stored run of every cell; controls and sweeps are left out."""
    seen: set[tuple[str, str]] = set()
    frames = [frame for record in records if record.crossed for frame in _cell(store, record, seen)]
    if not frames:
        return pd.DataFrame(columns=list(c.TRAJECTORY))
    return pd.concat(frames, ignore_index=True)


def _cell(store: Store, record: CellRecord, seen: set[tuple[str, str]]) -> Iterator[pd.DataFrame]:
    for group in record.groups:
        for role, run_id in group.runs.items():
            # The claims of one phenomenon share their runs.
            if (record.phenomenon, run_id) in seen:
                continue
            seen.add((record.phenomenon, run_id))
            run = next(store.recordings(run_id), None)
            for metric in _DRAWN.get(record.phenomenon, ()):
                if run is None or not run.steps(metric):
                    continue
                series = run.series(metric)
                yield pd.DataFrame(
                    {
                        c.PHENOMENON: record.phenomenon,
                        c.ARCHITECTURE: record.architecture,
                        c.TASK: record.task,
                        c.SEED: run.spec.seed,
                        c.VARIANT: role,
                        c.STEP: series.steps,
                        c.METRIC: metric,
                        c.VALUE: series.values,
                    }
                )


def layer_similarities(records: Sequence[CellRecord]) -> list[Pair]:
    """Similarities between layers, one for each task and unordered pair of architectures.

    Of the groups of a pair, e.g. its seeds, the first that kept matrices. Tasks, and within them
    pairs of one and of two architectures, take turns, so that any first few are a fair choice.
    """
    # Both cells of a pair hold its groups; the cell of its first network has run `a`.
    owners = {
        run_id: record.architecture
        for record in records
        for group in record.groups
        for role, run_id in group.runs.items()
        if role == "a"
    }
    found: dict[tuple[str, frozenset[str]], Pair] = {}
    for record in records:
        for group in record.groups if record.crossed else ():
            names = (record.architecture, owners.get(group.runs.get("b", ""), record.architecture))
            key = (record.task, frozenset(names))
            pair = _pair(group, names, record.task) if key not in found else None
            if pair is not None:
                found[key] = pair
    turns: dict[tuple[str, int], int] = {}
    order = []
    for task, networks in found:
        kind = (task, len(networks))
        turns[kind] = turns.get(kind, -1) + 1
        order.append(turns[kind])
    return [pair for _, pair in sorted(zip(order, found.values(), strict=True), key=lambda item: item[0])]


def _pair(group: GroupRecord, names: tuple[str, str], task: str) -> Pair | None:
    if group.outcome is None:
        return None
    title = f"{names[0]}, two seeds" if names[0] == names[1] else f"{names[0]} and {names[1]}"
    trained = _matrix(group.outcome, "trained", title, task)
    return trained and (trained, _matrix(group.outcome, "untrained", title, task))


def _matrix(outcome: Outcome, name: str, title: str, task: str) -> Matrix | None:
    stored = outcome.matrices.get(name)
    if stored is None:
        return None
    return Matrix(title, stored.rows, stored.columns, np.array(stored.values), task)
