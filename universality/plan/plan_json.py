"""plan.json.gz: what was asked of a results folder and measured, so that it can be read, judged and run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from universality.errors import StoreError
from universality.plan import runs_file
from universality.plan.plan import Plan
from universality.plan.runs_file import PlannedRun
from universality.plan.suite import Suite
from universality.plugin import registry
from universality.plugin.phenomenon import About
from universality.plugin.registry import component
from universality.plugin.sources import PluginSource, source, split_edition
from universality.plugin.spec import Component, parse_address
from universality.plugin.task import Tier
from universality.store.compressed import gzipped
from universality.store.layout import Layout, safe_name, without_machine
from universality.store.untrusted import UntrustedFile

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class Sitting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where some of the cells were measured before, in a result set that this one adopted.

    Args:
        cells: ids of the measurements.
        run_seconds: of the runs of that set, `probe_seconds` in it.
    """

    environment: Mapping[str, str | int | bool | None]
    cells: tuple[str, ...]
    run_seconds: Seconds
    probe_seconds: Seconds


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked.

    Args:
        plugins: folders that `--plugins` named, `without_machine`.
        data_root: whether `--data-root` was given; the path is not published.
        wall_seconds: of the last command; `run_seconds`, of all stored runs and of earlier sittings, `probe_seconds` in it.
        environment: in which all was measured that no earlier sitting has.
        phenomena: facts of each phenomenon, by name.
        settings: phenomena with all their parameters, by address.
        tiers: per task, what evidence from it is worth; tasks that do not say are left out.
        cells: ids of the measurements, in the order of the tables.
        runs: by run id.
        sources: which code the plugins were, by kind and name; UNSET in sets that were made without it.
        untrained: runs that were neither stored nor tried when this was written; UNSET for none.
        peak_memory_bytes: the most that a worker had held when it ended a run, torch itself with it; UNSET where no run says.
        sittings: what was adopted of other sets; UNSET for nothing.
        ended: by id of a measurement, when the first of its runs had ended, ISO 8601 in UTC; only of runs that say so.
    """

    suite: str
    description: str
    plugins: tuple[str, ...]
    data_root: bool
    wall_seconds: Seconds
    run_seconds: Seconds
    probe_seconds: Seconds
    environment: Mapping[str, str | int | bool | None]
    phenomena: Mapping[str, About]
    settings: Mapping[str, Component]
    tiers: Mapping[str, Tier]
    cells: tuple[str, ...]
    runs: Mapping[str, PlannedRun]
    sources: Mapping[str, Mapping[str, PluginSource]] | UnsetType = UNSET
    untrained: Count | UnsetType = UNSET
    sittings: tuple[Sitting, ...] | UnsetType = UNSET
    peak_memory_bytes: Count | UnsetType = UNSET
    ended: Mapping[str, Annotated[str, Meta(max_length=40)]] | UnsetType = UNSET

    def __post_init__(self) -> None:
        for name in (*self.cells, *self.runs):
            safe_name(name)
        for folder in self.plugins:
            if without_machine(folder) != folder:
                raise ValueError(f"{folder!r} is a path of somebody's machine")
        if len(set(self.cells)) < len(self.cells):
            raise ValueError("asks for a cell twice")
        before = [cell for sitting in self.earlier for cell in sitting.cells]
        if len(set(before)) < len(before) or not set(before) <= set(self.cells):
            raise ValueError("was measured twice, or not at all, in an earlier sitting")
        if not self.times.keys() <= set(self.cells):
            raise ValueError("says when runs of a cell ended that it does not ask for")

    @property
    def earlier(self) -> tuple[Sitting, ...]:
        """`sittings`, none where there was none."""
        return () if self.sittings is UNSET else self.sittings

    @property
    def times(self) -> Mapping[str, str]:
        """`ended`, of no cell where it is not known of any."""
        return {} if self.ended is UNSET else self.ended

    @classmethod
    def of(
        cls,
        plan: Plan,
        suite: Suite,
        environment: Mapping[str, str | int | bool | None],
        *,
        plugins: Sequence[str] = (),
        data_root: bool = False,
        cells: Sequence[str] = (),
        wall_seconds: float = 0.0,
        run_seconds: float = 0.0,
        probe_seconds: float = 0.0,
        untrained: int = 0,
        sittings: Sequence[Sitting] = (),
        peak_memory_bytes: int = 0,
        ended: Mapping[str, str] | None = None,
    ) -> Self:
        """The record of a plan. `plugins` are folders as they were given, `cells` ids of its measurements."""
        tasks = dict.fromkeys(cell.task for cell in plan.cells)
        return cls(
            suite=suite.name,
            description=suite.description,
            plugins=tuple(map(without_machine, plugins)),
            data_root=data_root,
            wall_seconds=wall_seconds,
            run_seconds=run_seconds,
            probe_seconds=probe_seconds,
            environment=environment,
            phenomena={cell.phenomenon.name: cell.phenomenon.about for cell in plan.cells},
            settings={str(part): part for part in (component(cell.phenomenon) for cell in plan.cells)},
            tiers={task: tier for task in tasks if (tier := registry.resolve("task", task).tier)},
            cells=tuple(cells),
            runs={
                run_id: PlannedRun(
                    spec=job.spec, observe={p: tuple(steps) for p, steps in job.observe.items()}
                )
                for run_id, job in plan.jobs.items()
            },
            sources=sources_of_plan(plan),
            untrained=untrained or UNSET,
            sittings=tuple(sittings) or UNSET,
            peak_memory_bytes=peak_memory_bytes or UNSET,
            ended=ended or UNSET,
        )

    def file(self) -> bytes:
        """Compressed: the specs of runs repeat each other."""
        return gzipped(runs_file.parts(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan in a file. Raises `UntrustedFile` for anything that `file` does not write."""
        if not path.exists() and (earlier := path.with_suffix("")).exists():
            raise UntrustedFile(f"is missing; {earlier.name} is of an earlier version of universality")
        return runs_file.read(path, cls, PlannedRun)


def sources_of_plan(plan: Plan) -> dict[str, dict[str, PluginSource]]:
    """Which code the plugins are, by kind and name: of everything that a plan uses and that a file declares."""
    specs = [job.spec for job in plan.jobs.values()]
    used = {
        "architecture": {spec.architecture.name for spec in specs},
        "modifier": {part.name for spec in specs for part in spec.architecture.modifiers or ()},
        "task": {spec.task.name for spec in specs},
        "probe": {parse_address(probe)[0] for job in plan.jobs.values() for probe in _addresses(job.observe)},
        "phenomenon": {cell.phenomenon.name for cell in plan.cells},
    }
    return {
        kind: {name: about for name in sorted(names) if (about := source(kind, name)) is not None}
        for kind, names in used.items()
    }


def _addresses(editions: Iterable[str]) -> Iterator[str]:
    return (split_edition(each)[0] for each in editions)


def read_plan(layout: Layout) -> PlanRecord:
    """The plan of a results folder. Raises `StoreError` where it cannot be read."""
    try:
        return PlanRecord.read(layout.plan)
    except UntrustedFile as problem:
        raise StoreError(
            "the plan of these results cannot be read",
            where=str(layout.plan),
            got=str(problem),
            do="run the same `universality run` again",
        ) from None
