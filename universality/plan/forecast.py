"""What a plan would take: time, memory and disk, and whether this machine has them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from universality.errors import BadParameter, StoreError
from universality.plan.plan import Job, Plan
from universality.plugin.registry import component
from universality.store.environment import memory_bytes
from universality.store.layout import Layout
from universality.text import clock, memory, plain

LONGEST = 7 * 24 * 3600.0
"""Seconds of one training on one machine: beyond a week it wants more machines, or a smaller suite."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would train, and on how many workers.

    Args:
        folder: of the results.
    """

    plan: Plan
    slots: int
    device: str
    folder: Path

    @property
    def workers(self) -> str:
        return f"{self.slots} {self.device} worker(s)" if self.slots else "this process"

    @property
    def memory(self) -> float:
        """Bytes that a worker needs for the largest run, beside torch."""
        return max((job.bytes for job in self.plan.open_jobs.values()), default=0.0)

    @property
    def disk(self) -> float:
        """Bytes of the runs that have no folder yet."""
        layout = Layout(self.folder)
        return sum(
            job.disk_bytes
            for run_id, job in self.plan.open_jobs.items()
            if not layout.recording(run_id, 1).exists()
        )

    def check_fits(self) -> None:
        """Refuse what this machine has no room for, before anything is trained.

        Raises:
            BadParameter: where all workers together need more memory than there is.
            StoreError: where the runs to come need more disk than is free.
        """
        there, workers = memory_bytes(), max(1, self.slots)
        if self.device == "cpu" and there is not None and workers * self.memory > there:
            fitting = int(there // self.memory)
            raise BadParameter(
                "these runs need more memory than this machine has",
                got=f"{memory(self.memory)} for each of {self.workers}",
                expected=f"{memory(there)} in all",
                do=f"--workers {fitting}" if fitting else "train smaller networks, or on less data",
            )
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        if (needed := self.disk) > (free := shutil.disk_usage(place).free):
            raise StoreError(
                "the runs to come need more disk than is free",
                where=str(self.folder),
                got=f"{memory(free)} free",
                expected=f"about {memory(needed)}",
                do="free some space, or put --results elsewhere",
            )

    def too_long(self, jobs: Iterable[Job]) -> str:
        """What would fit where these runs would keep this machine busy for more than a week; empty where they would not.

        Times are those of this machine's CPU: of a GPU and of a cluster nothing is known.
        """
        lasts = sum(job.seconds for job in jobs) / max(1, self.slots)
        if self.device != "cpu" or lasts <= LONGEST:
            return ""
        parts = math.ceil(lasts / LONGEST)
        return (
            f"--shard 1/{parts} here and the other parts on machines like this, --device cuda, --executor slurm or ray, "
            f"or fewer seeds, rows or cells"
        )

    def check_time(self, jobs: Iterable[Job]) -> None:
        """Refuse what would take more than a week here. Raises `BadParameter`."""
        if do := self.too_long(jobs := list(jobs)):
            days = sum(job.seconds for job in jobs) / max(1, self.slots) / 86400
            raise BadParameter(
                "this training would take more than a week",
                got=f"about {days:.0f} days on {self.workers}",
                expected=f"at most {LONGEST / 86400:.0f} days",
                do=do,
            )

    def lines(self) -> Iterator[str]:
        """What `--dry-run` prints."""
        plan = self.plan
        for cell in plan.cells:
            runs = {run for group in cell.groups for run in group.runs.values()}
            what = (
                f"not applicable: {plain(cell.not_applicable)}"
                if cell.not_applicable
                else f"{len(runs)} runs{', measured elsewhere' if cell.question in plan.adopted else ''}"
            )
            control = f"  ({cell.control.sign} control: {cell.control.name})" if cell.control else ""
            swept = "  (swept, not counted)" if cell.swept else ""
            name = f"{component(cell.phenomenon)}  {cell.architecture}  {cell.task}"
            yield f"{name}  {what}{control}{swept}"
        jobs = plan.open_jobs
        total = sum(job.seconds for job in jobs.values())
        probes = sum(job.probe_seconds for job in jobs.values())
        if do := self.too_long(jobs.values()):
            yield f"More than a week, which is refused; what fits: {do}"
        yield (
            f"{len(jobs)} distinct runs, about {clock(total)} on one core, "
            f"{clock(total / max(1, self.slots))} on {self.workers}; "
            f"probes take {probes / max(total, 1e-9):.0%} of it; "
            f"a worker needs about {memory(self.memory)} of memory beside that of torch; "
            f"runs that are not stored yet take about {memory(self.disk)} of disk"
        )
