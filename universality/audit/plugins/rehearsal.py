"""A phenomenon rehearsed: its controls trained for a few updates, and its claims measured on them.

So few updates show nothing of the phenomenon. They show that what is read is recorded, that the effect runs and
that charts name what the outcome has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from universality.audit.plugins.questions import Finding, NotAskedError, finding
from universality.errors import BadParameter, MeasurementError, described, first_line
from universality.judge.measured_run import MeasuredRun
from universality.judge.outcomes import measure_group
from universality.plan.groups import Group, groups_of
from universality.plan.plan import PlannedGroup
from universality.plan.requests import spec_of
from universality.plan.runs_file import PlannedRun
from universality.plugin.cell import Cell
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.claim import Claim
from universality.plugin.foreign import placed
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cross, Phenomenon
from universality.plugin.runs import Request
from universality.plugin.sources import edition
from universality.plugin.trajectory import Trajectory
from universality.store.store import Store
from universality.train.messages import WorkerSettings
from universality.train.worker import replies

UPDATES = 3
SEEDS = 2
"""As few as make a pair, and leave something when one is left out."""

_MISTAKES = (AttributeError, BadParameter, ImportError, KeyError, NameError, TypeError)
"""Errors of the code whatever the numbers are; others may come from the few updates."""


def rehearse(
    phenomenon: Phenomenon, cells: Mapping[str, tuple[Phenomenon, Cell, Cross]], data_root: Path
) -> Iterator[Finding]:
    """Two findings for each claim. `cells`: by claim, the setting of the control that it is rehearsed on."""
    with TemporaryDirectory() as folder:
        stage = _Stage(Store.create(Path(folder) / "rehearsal"), data_root)
        for name, (setting, cell, cross) in cells.items():
            claim = phenomenon.claims[name]
            outcomes: list[tuple[Outcome, dict[str, Trajectory]]] = []

            def measure(
                setting: Phenomenon = setting,
                cell: Cell = cell,
                cross: Cross = cross,
                claim: Claim = claim,
                outcomes: list[tuple[Outcome, dict[str, Trajectory]]] = outcomes,
            ) -> None:
                group = next(g for g in groups_of(setting, cell, cross) if g.bears_on(claim))
                planned, runs = stage.play(group, cell)
                outcomes.append((_measured(setting, claim, planned, runs), runs))

            measuring = finding(f"{name}: is measured after {UPDATES} updates", measure)
            yield measuring
            if outcomes:
                yield finding(f"{name}: its charts have what they draw", lambda: _drawn(claim, *outcomes[0]))  # noqa: B023


class _Stage:
    """Trains shortened runs into a store, each once."""

    def __init__(self, store: Store, data_root: Path) -> None:
        self._store, self._data_root = store, data_root
        self._settings = WorkerSettings(
            store_root=store.layout.root, device="cpu", plugins=(), data_root=data_root
        )

    def play(self, group: Group, cell: Cell) -> tuple[PlannedGroup, dict[str, Trajectory]]:
        """The group with what its runs left. Raises `NotAskedError` or `BadParameter` where one of them
        raises."""
        runs: dict[str, Trajectory] = {}
        for role, request in group.runs.items():
            short = _shortened(request)
            signature = cell.signature if short.task == cell.task else short.task.signature(self._data_root)
            spec = spec_of(short, signature)
            observe = {edition(o.probe): o.at.steps(short.recipe.steps) for o in short.observe}
            if not self._store.covers(spec.id, observe):
                (reply,) = replies([PlannedRun(spec=spec, observe=observe)], self._store, self._settings)
                if reply.message.startswith(MeasurementError.__name__):
                    raise NotAskedError(f"{role}: {first_line(reply.message)}")
                if reply.message:
                    raise BadParameter(f"{role} cannot be trained: {first_line(reply.message)}")
            stored = self._store.trajectory(spec.id, observe)
            assert stored is not None
            runs[role] = MeasuredRun(stored, self._data_root)
        ids = {role: run.spec.id for role, run in runs.items()}
        planned = PlannedGroup(group.key, group.units, ids, {}, group.run_set, group.keys, group.left_out)
        return planned, runs


def _shortened(request: Request) -> Request:
    steps = min(UPDATES, request.recipe.steps)
    fork = None if request.fork is None else (min(request.fork[0], max(steps - 1, 0)), request.fork[1])
    return replace(request, recipe=replace(request.recipe, steps=steps), fork=fork)


def _measured(
    phenomenon: Phenomenon, claim: Claim, group: PlannedGroup, runs: Mapping[str, Trajectory]
) -> Outcome:
    try:
        return measure_group(phenomenon, claim, group, runs)
    except _MISTAKES:
        raise
    except Exception as error:
        line = placed("", error)
        text = f"{line}: {described(error)}" if line else described(error)
        raise NotAskedError(f"in {UPDATES} updates, which may be too few for it, {text}") from error


def _drawn(claim: Claim, outcome: Outcome, runs: Mapping[str, Trajectory]) -> str:
    lines = [chart for chart in claim.charts if isinstance(chart, Lines)]
    others = [chart for chart in claim.charts if not isinstance(chart, Lines)]
    for chart in lines + others:
        for lack in _lacks(chart, outcome, runs):
            if chart in others and outcome.effect is None:
                raise NotAskedError("so short a run has no effect, with which they come")
            return lack
    return ""


def _lacks(chart: Chart, outcome: Outcome, runs: Mapping[str, Trajectory]) -> Iterator[str]:
    points, bare = set(outcome.points or ()), {name.partition(":")[0] for name in outcome.points or ()}
    wanted: set[str]
    match chart:
        case Lines():
            for name in dict(chart.series):
                if not any(run.steps(name) for run in runs.values()):
                    yield f"no run has the series {name}"
            return
        case Curves():
            what, has = "points", points | bare
            wanted = {*dict(chart.points), *([chart.theory] if chart.theory else [])}
        case Dots() | Bars():
            what, has, wanted = "points", points, {chart.points}
        case Levels():
            what, has, wanted = "details", set(outcome.details), {chart.value, *dict(chart.nulls)}
        case Matrices():
            what, has, wanted = "matrices", set(outcome.matrices), set(dict(chart.names))
    for name in sorted(wanted - has):
        yield f"the outcome has no {what} '{name}', it has {', '.join(sorted(has)) or 'none'}"
