"""What figures draw, read from a results folder: trajectories in long form, layer similarities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from universality.output import columns as c
from universality.output.charts import CHARTS
from universality.plugin.outcome import Matrix
from universality.store.cells import CellRecord
from universality.store.recording import StoredTrajectory


class Pair(NamedTuple):
    """Similarities of the layers of two networks, trained and, where it was measured, untrained.

    `title` names the networks, the one of the rows first; `alike`: of one architecture.
    """

    title: str
    task: str
    trained: Matrix
    untrained: Matrix | None = None
    alike: bool = False


def run_ids(records: Sequence[CellRecord]) -> set[str]:
    return {run for record in records for group in record.groups for run in group.runs.values()}


def trajectories(
    runs: Mapping[str, tuple[StoredTrajectory, object]], records: Sequence[CellRecord]
) -> pd.DataFrame:
    """`columns.TRAJECTORY` of the runs of every cell; controls and sweeps are left out."""
    # The claims of one phenomenon share their runs.
    cells: dict[tuple[str, str], tuple[CellRecord, str]] = {}
    for record in records:
        for role, run_id in (item for group in record.groups for item in group.runs.items()):
            if record.crossed and record.phenomenon in CHARTS and run_id in runs:
                cells.setdefault((record.phenomenon, run_id), (record, role))
    frames = []
    for (phenomenon, run_id), (record, role) in cells.items():
        run, _ = runs[run_id]
        for metric in filter(run.steps, CHARTS[phenomenon].metrics):
            series = run.series(metric)
            place = (phenomenon, record.architecture, record.task, run.spec.seed, role)
            row = (*place, series.steps, metric, series.values)
            frames.append(pd.DataFrame(dict(zip(c.TRAJECTORY, row, strict=True))))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(c.TRAJECTORY))


def layer_similarities(records: Sequence[CellRecord]) -> list[Pair]:
    """Similarities between layers, one for each task and unordered pair of architectures.

    Of the groups of a pair, e.g. its seeds, the first that kept matrices. Tasks, and within them
    pairs of one and of two architectures, take turns, so that any first few are a fair choice.
    """
    # Both cells of a pair hold its groups; the cell of its first network has run `a`.
    owners = {g.runs["a"]: record.architecture for record in records for g in record.groups if "a" in g.runs}
    pairs: dict[tuple[str, frozenset[str]], Pair] = {}
    for record in records:
        for group in record.groups if record.crossed else ():
            one, other = record.architecture, owners.get(group.runs.get("b", ""), record.architecture)
            matrices = group.outcome.matrices if group.outcome else {}
            if "trained" in matrices:
                title = f"{one}, two seeds" if one == other else f"{one} and {other}"
                pair = Pair(title, record.task, matrices["trained"], matrices.get("untrained"), one == other)
                pairs.setdefault((record.task, frozenset((one, other))), pair)
    turns: Counter[tuple[str, int]] = Counter()

    def turn(key: tuple[str, frozenset[str]]) -> int:
        turns[key[0], len(key[1])] += 1
        return turns[key[0], len(key[1])]

    return [pairs[key] for key in sorted(pairs, key=turn)]
