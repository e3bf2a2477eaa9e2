"""What figures draw, read from a results folder: trajectories in long form, layer similarities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from universality import columns as c
from universality.records import CellRecord, Outcome
from universality.report.figures import Matrix
from universality.store import Store

_DRAWN: Mapping[str, tuple[str, ...]] = {
    "edge_of_stability": (c.SHARPNESS_RATIO,),
    "grokking": (c.TRAIN_ACCURACY, c.VALIDATION_ACCURACY),
    "neural_collapse": (c.NC1, c.NC2_NORMS, c.NC2_ANGLES, c.NC3),
}
_MOST_MATRICES = 6


def trajectories(store: Store, records: Sequence[CellRecord]) -> pd.DataFrame:
    """`columns.TRAJECTORY` of every stored run of every cell; controls are left out."""
    seen: set[tuple[str, str]] = set()
    frames = [frame for record in records if not record.control for frame in _cell(store, record, seen)]
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


def layer_similarities(records: Sequence[CellRecord]) -> list[tuple[Matrix, Matrix | None]]:
    """The first pair of networks of each cell that kept similarities between layers."""
    found: list[tuple[Matrix, Matrix | None]] = []
    for record in records:
        if record.control:
            continue
        outcome = next((g.outcome for g in record.groups if g.outcome and g.outcome.matrices), None)
        if outcome is not None:
            title = f"{record.architecture}, {record.task}\n{record.claim_name.partition('_')[2]}"
            trained = _matrix(outcome, "trained", title)
            if trained is not None:
                found.append((trained, _matrix(outcome, "untrained", title)))
    return found[:_MOST_MATRICES]


def _matrix(outcome: Outcome, name: str, title: str) -> Matrix | None:
    stored = outcome.matrices.get(name)
    if stored is None:
        return None
    return Matrix(title, stored.rows, stored.columns, np.array(stored.values))
