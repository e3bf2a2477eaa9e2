"""What figures draw of runs, and pairs of networks whose layers were compared, read from a results folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from universality.output.charts import matrices_of
from universality.plan.plan_json import PlanRecord
from universality.plugin.charts import Matrices
from universality.plugin.outcome import Matrix
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord
from universality.store.recording import StoredTrajectory

SeriesOf = Mapping[str, Mapping[str, Series]]
"""Series by run and name."""


def run_ids(records: Sequence[CellRecord]) -> set[str]:
    return {run for record in records for group in record.groups for run in group.runs.values()}


class Recorded(Mapping[str, Mapping[str, Series]]):
    """All that is drawn of stored runs. A series is read when it is asked for, and not kept: together they may be more
    than fits into memory."""

    def __init__(self, runs: Mapping[str, tuple[StoredTrajectory, Collection[str]]]) -> None:
        self._runs = runs

    def __getitem__(self, run_id: str) -> Mapping[str, Series]:
        return _RecordedSeries(*self._runs[run_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


class _RecordedSeries(Mapping[str, Series]):
    """Of one run, those of these names."""

    def __init__(self, run: StoredTrajectory, names: Collection[str]) -> None:
        self._run, self._names = run, names

    def __getitem__(self, name: str) -> Series:
        if name not in self._names:
            raise KeyError(name)
        return self._run.series(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def thinned_before(runs: Mapping[str, Mapping[str, Any]]) -> SeriesOf:
    """What the page has of runs, where these are not stored: steps as differences, None for what is no number."""
    return {
        run_id: {
            name: Series(np.cumsum(np.array(gaps, np.int64)), np.array(values, np.float64))
            for name, (gaps, values) in run["series"].items()
        }
        for run_id, run in runs.items()
    }


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
        gaps = np.flatnonzero(~np.isfinite(values))
        highest = gaps[0] if len(gaps) else values.argmax()
        lowest = np.where(np.isfinite(values), values, np.inf).argmin()
        keep |= {int(start + lowest), int(start + highest)}
    index = sorted(keep)
    return Series(series.steps[index], series.values[index])


class Block(NamedTuple):
    """Matrices that stand side by side, each with its title; `title` names what they are of."""

    title: str
    task: str
    matrices: Sequence[tuple[str, Matrix]]
    alike: bool = False
    """Of one architecture."""


def blocks(plan: PlanRecord, records: Sequence[CellRecord], chart: Matrices) -> list[Block]:
    """The matrices of a chart, one block for each task and set of architectures that runs of a group have.

    Of groups that differ in seeds alone, the first that kept matrices. Tasks, and within them blocks of one and of
    several architectures, take turns, so that any first few are a fair choice.
    """
    found: dict[tuple[str, frozenset[str]], Block] = {}
    for record in records:
        for index, matrices in matrices_of(chart, record):
            group = record.groups[index]
            planned = (plan.runs[run].spec.architecture for run in group.runs.values() if run in plan.runs)
            names = list(dict.fromkeys(map(str, planned))) or [record.architecture]
            alike = len(names) == 1
            seeds = group.key.rpartition("/")[2]
            title = f"{record.architecture}, {seeds}" if alike else " and ".join(names)
            block = Block(title, record.task, matrices, alike)
            found.setdefault((record.task, frozenset(names)), block)
    turns: Counter[tuple[str, bool]] = Counter()

    def turn(key: tuple[str, frozenset[str]]) -> int:
        place = key[0], found[key].alike
        turns[place] += 1
        return turns[place]

    return [found[key] for key in sorted(found, key=turn)]
