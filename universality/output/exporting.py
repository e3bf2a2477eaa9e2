"""Result sets for people who watch runs in TensorBoard or trackio: series of stored runs, and verdicts as a table."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from universality.errors import StoreError, UniversalityError
from universality.judge.resultset import ResultSet
from universality.output.tables import evidence_table
from universality.store.recording import StoredTrajectory
from universality.store.store import Store
from universality.text import markdown_table, number

QUIET = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
"""Of trackio: nothing of this machine beside the numbers."""
VERDICTS = "verdicts"
"""What the run is called that has the tables."""
COLUMNS = ("claim", "architecture", "task", "control", "verdict", "effect", "low", "high", "reason")


def to_tensorboard(results: ResultSet, store: Store, out: Path) -> int:
    """Write an event file for each stored run, a scalar for each number of each series, and the verdicts as text; returns
    how many runs.

    Raises:
        StoreError: `out` is there already and not empty, since TensorBoard would show both.
        UniversalityError: without `tensorboard`.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise _missing("tensorboard", error) from None
    if out.exists() and any(out.iterdir()):
        raise StoreError("a folder that is not empty", where=str(out), do="give another, or remove it")
    count = 0
    for run in _runs(store):
        with SummaryWriter(str(out / run.spec.id)) as writer:
            for name, step, value in _numbers(run):
                writer.add_scalar(name.replace(".", "/"), value, step)
        count += 1
    with SummaryWriter(str(out / VERDICTS)) as writer:
        for phenomenon, rows in _verdicts(results).groupby("phenomenon", sort=False):
            texts = [[_shown(row[name]) for name in COLUMNS] for _, row in rows.iterrows()]
            writer.add_text(f"{VERDICTS}/{phenomenon}", markdown_table(COLUMNS, texts))
    return count


def to_trackio(results: ResultSet, store: Store) -> int:
    """Log each stored run to the trackio project that has the set's name, and the verdicts as a table; returns how many
    runs. Where projects lie is trackio's affair (`TRACKIO_DIR`).

    Raises:
        StoreError: the project has runs already, beside which these would be a second time.
        UniversalityError: without `trackio`.
    """
    try:
        import trackio
    except ImportError as error:
        raise _missing("trackio", error) from None
    project = results.label
    with suppress(ValueError):  # there is none of this name
        list(trackio.Api().runs(project))
        raise StoreError(
            "a trackio project of this name is there already",
            where=project,
            do="delete it, or set TRACKIO_DIR",
        )
    count = 0
    with redirect_stdout(io.StringIO()):  # two lines for each run
        for run in _runs(store):
            spec = run.spec
            config = {
                "architecture": str(spec.architecture),
                "task": str(spec.task),
                "seed": spec.seed,
                "state": run.state,
            }
            trackio.init(project=project, name=spec.id, config=config, **QUIET)
            rows: dict[int, dict[str, float]] = {}
            for name, step, value in _numbers(run):
                rows.setdefault(step, {})[name.replace(".", "/")] = value
            for step in sorted(rows):
                trackio.log(rows[step], step=step)
            trackio.finish()
            count += 1
        trackio.init(project=project, name=VERDICTS, config={"suite": results.plan.suite}, **QUIET)
        trackio.log({VERDICTS: trackio.Table(dataframe=_verdicts(results).map(_shown))})
        trackio.finish()
    return count


def _runs(store: Store) -> Iterator[StoredTrajectory]:
    for run_id in store.run_ids():
        yield from store.recordings(run_id)


def _numbers(run: StoredTrajectory) -> Iterator[tuple[str, int, float]]:
    """Of every series, those that are finite: neither tool draws others."""
    names = (key for key in run.names if key.startswith("series/") and key.endswith("/steps"))
    for name in sorted(key.removeprefix("series/").removesuffix("/steps") for key in names):
        series = run.series(name)
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            if math.isfinite(value):
                yield name, step, value


def _verdicts(results: ResultSet) -> pd.DataFrame:
    return evidence_table(results)[["phenomenon", *COLUMNS]]


def _shown(value: Any) -> str:
    return number(None if math.isnan(value) else value) if isinstance(value, float) else str(value)


def _missing(library: str, error: ImportError) -> UniversalityError:
    return UniversalityError(
        f"exporting to {library} needs {library}", got=str(error), do=f"pip install 'universality[{library}]'"
    )
