"""jobs.json: the runs that were asked for, so that any process that sees the folder can train them.

plan.json.gz is of what was measured, and stays as it is until new measurements are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from universality.errors import BadParameter, StoreError, UnknownName
from universality.plan import runs_file
from universality.plan.plan import Job, Plan
from universality.plan.plan_json import Count, Seconds, read_plan, sources_of_plan
from universality.plan.runs_file import PlannedRun
from universality.plan.suite import Suite
from universality.plugin.sources import PluginSource, source
from universality.store.layout import Layout, safe_name, without_machine
from universality.store.untrusted import UntrustedFile


class PlannedJob(PlannedRun, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training with what decides when it is taken and what it is trained beside: its predicted cost, its turn, and whether
    a calibration waits for it."""

    seconds: Seconds
    parameters: Count
    data_bytes: Count
    turn: Count
    calibrates: bool = False


class JobsRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be trained.

    Args:
        definition: the suite as TOML.
        plugins: folders that `--plugins` named, `without_machine`.
        runs: by run id.
        sources: which code the plugins were, by kind and name.
    """

    suite: str
    definition: str
    plugins: tuple[str, ...]
    runs: Mapping[str, PlannedJob]
    sources: Mapping[str, Mapping[str, PluginSource]]

    def __post_init__(self) -> None:
        for name in self.runs:
            safe_name(name)

    @classmethod
    def of(cls, plan: Plan, suite: Suite, plugins: Sequence[str] = ()) -> Self:
        """The record of a plan. `plugins` are folders as they were given."""
        return cls(
            suite=suite.name,
            definition=suite.toml(),
            plugins=tuple(map(without_machine, plugins)),
            runs={run_id: _planned(job) for run_id, job in plan.open_jobs.items()},
            sources=sources_of_plan(plan),
        )

    def file(self) -> bytes:
        return b"".join(runs_file.parts(self))

    def jobs(self) -> list[Job]:
        """What this process can train, its plugins loaded.

        Raises:
            StoreError: an id is not that of its run here: another version of the program planned.
            BadParameter: a plugin of the user's own is not loaded, or is another than was planned with.
        """
        for run_id, run in self.runs.items():
            if run.spec.id != run_id:
                raise StoreError(
                    "these runs were planned by another version of universality",
                    where=run_id,
                    got=f"the id {run.spec.id} here",
                    do="use the version that planned them, or give the `universality run` again with this one",
                )
        for kind, group in self.sources.items():
            for name, planned in group.items():
                if kind != "phenomenon" and not planned.builtin:
                    self._check_same(kind, name, planned)
        return [
            Job(
                run.spec,
                dict(run.observe),
                seconds=run.seconds,
                parameters=run.parameters,
                data_bytes=run.data_bytes,
                turn=run.turn,
                calibrates=run.calibrates,
            )
            for run in self.runs.values()
        ]

    def changed_here(self) -> list[str]:
        """Built-in plugins of which this process has another source than the one that planned."""
        return [
            f"{kind} {name}"
            for kind, group in self.sources.items()
            for name, planned in group.items()
            if kind != "phenomenon" and planned.builtin and source(kind, name) != planned
        ]

    def _check_same(self, kind: str, name: str, planned: PluginSource) -> None:
        do = f"give the folders of the run (--plugins {' --plugins '.join(self.plugins)}), in the same state"
        try:
            here = source(kind, name)
        except (UnknownName, BadParameter) as error:
            raise BadParameter(
                "a plugin of these runs is not loaded", where=f"{kind} '{name}'", do=do
            ) from error
        if here is None or here.sha256 != planned.sha256:
            raise BadParameter(
                "a plugin is another than these runs were planned with",
                where=f"{kind} '{name}', {planned.file}",
                got="another source" if here else "no source",
                do=do,
            )


def _planned(job: Job) -> PlannedJob:
    return PlannedJob(
        spec=job.spec,
        observe={probe: tuple(steps) for probe, steps in job.observe.items()},
        seconds=job.seconds,
        parameters=job.parameters,
        data_bytes=job.data_bytes,
        turn=job.turn,
        calibrates=job.calibrates,
    )


def read_jobs(layout: Layout) -> JobsRecord:
    """What is to be trained in a results folder. Raises `StoreError` where it cannot be read."""
    try:
        return runs_file.read(layout.jobs, JobsRecord, PlannedJob)
    except UntrustedFile as problem:
        raise StoreError(
            "what is to be trained here cannot be read",
            where=str(layout.jobs),
            got=str(problem),
            do="give the `universality run` that plans it",
        ) from None


def asked(layout: Layout) -> tuple[str, Mapping[str, PlannedRun]]:
    """The suite and the runs that were asked for last; of a published set, those of its plan.

    Raises `StoreError` where neither can be read.
    """
    if layout.jobs.exists():
        record = read_jobs(layout)
        return record.suite, record.runs
    plan = read_plan(layout)
    return plan.suite, plan.runs
