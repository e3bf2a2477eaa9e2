"""The jobs of a queue that nobody has taken, of which there may be a hundred thousand: no operation looks at all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from universality.plan.plan import Job


class OpenJobs:
    """Jobs in their order, found by what they can be trained beside."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._kinds: dict[str, Hashable] = {}
        self._alike: dict[Hashable, OrderedDict[str, Job]] = {}
        self._cost = 0.0
        for job in jobs:
            self.append(job)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def cost(self) -> float:
        """Of all jobs together."""
        return self._cost

    def append(self, job: Job) -> None:
        """Add a job behind all others."""
        self._jobs[job.spec.id] = job
        self._cost += cost(job)
        if job.stack > 1:
            self._alike.setdefault(self._kind(job), OrderedDict())[job.spec.id] = job

    def put_first(self, job: Job) -> None:
        """Add a job before all others."""
        self.append(job)
        self._jobs.move_to_end(job.spec.id, last=False)
        if job.stack > 1:
            self._alike[self._kind(job)].move_to_end(job.spec.id, last=False)

    def take_first(self) -> Job:
        """Remove the first job. Raises KeyError where there is none."""
        job = next(iter(self._jobs.values()), None)
        if job is None:
            raise KeyError("no job is open")
        self.remove(job)
        return job

    def remove(self, job: Job) -> None:
        """Raises KeyError for a job that is not open."""
        del self._jobs[job.spec.id]
        # Sums of what was added and taken away again are not exactly zero.
        self._cost = self._cost - cost(job) if self._jobs else 0.0
        if job.stack > 1:
            del self._alike[self._kind(job)][job.spec.id]

    def alike(self, job: Job) -> tuple[Job, ...]:
        """The open jobs that may be trained beside this one, in their order."""
        return tuple(self._alike.get(self._kind(job), {}).values())

    def _kind(self, job: Job) -> Hashable:
        run_id = job.spec.id
        if run_id not in self._kinds:
            self._kinds[run_id] = job.kind
        return self._kinds[run_id]


def cost(job: Job) -> float:
    """Predicted seconds; jobs without a prediction are equally long."""
    return max(job.seconds, 1e-9)
