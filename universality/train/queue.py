"""The queue of jobs of one process: what is open, what others hold, how each job ended.

A job ends `done` or `diverged` when the store holds it, else `failed`, `crashed` or `timeout`, with
a record under `failed/`. The store decides, not the worker: one that replies `done` without having
published has failed. So does it how often a run is tried: once, and where it crashed `MAX_CRASHES`
times, however many processes share the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from universality.plan.plan import Job
from universality.plan.runs_file import PlannedRun
from universality.plugin.trajectory import RunState
from universality.store.store import Failure, FailureKind, Store
from universality.train.leases import Leases
from universality.train.messages import RunReply
from universality.train.open_jobs import OpenJobs, cost

MAX_CRASHES = 2
"""Attempts at a run whose worker dies, of all processes together: a machine may have been short of memory."""


def planned(stack: Sequence[Job]) -> tuple[PlannedRun, ...]:
    """What a worker is told of these jobs."""
    return tuple(PlannedRun(spec=job.spec, observe=job.observe) for job in stack)


@dataclass(frozen=True, slots=True)
class Event:
    """An attempt at a run has ended, or another process had made it.

    Args:
        state: the final state; None where the run is tried again.
        seconds: of this attempt.
    """

    run_id: str
    state: RunState | None
    seconds: float = 0.0
    message: str = ""


class JobQueue:
    """Hands out jobs under leases and settles them, those that the store has or that have failed at once.

    Args:
        wait: whether the jobs that other processes hold are waited for.
        retry_failed: whether failures from before this queue was made do not count.

    Raises:
        ValueError: for two jobs of one run; whoever plans takes the union of what they observe.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        store: Store,
        leases: Leases,
        on_event: Callable[[Event], None],
        *,
        wait: bool = True,
        retry_failed: bool = True,
    ) -> None:
        ids = [job.spec.id for job in jobs]
        if len(set(ids)) < len(ids):
            raise ValueError("two jobs have the same run id")
        self._store, self._leases, self._on_event = store, leases, on_event
        self._held_by_others: list[Job] = []
        self._wait = wait
        self._alone: set[str] = set()
        self._forgiven = {run_id: store.attempts(run_id) for run_id in ids} if retry_failed else {}
        self.states: dict[str, RunState] = {}
        self._open = OpenJobs(job for job in jobs if not self._settle_if_ended(job))

    @property
    def open(self) -> int:
        """Jobs that may be taken now."""
        return len(self._open)

    @property
    def held_by_others(self) -> int:
        """Jobs that other processes held when last looked at."""
        return len(self._held_by_others)

    @property
    def awaited(self) -> int:
        """Of these, how many must be settled before there is nothing left to do."""
        return len(self._held_by_others) if self._wait else 0

    def key(self, job: Job) -> str:
        """What a reply names the job by."""
        return job.spec.id

    def message(self, stack: Sequence[Job]) -> tuple[PlannedRun, ...]:
        """What a worker is sent."""
        return planned(stack)

    def ask_again(self) -> None:
        """Open the jobs that others held, to see how they fared."""
        for job in self._held_by_others:
            self._open.append(job)
        self._held_by_others.clear()

    def take(self, slots: int = 1) -> list[Job]:
        """The next jobs that nobody else works on, under leases; none where there are none now.

        More than one where the first allows it and others are like it, but never more than a fair
        share of the work that is left, so that no slot runs out of work before the others.
        """
        open_cost = self._open.cost
        first = self._next()
        if first is None:
            return []
        stack, stack_cost = [first], cost(first)
        if self._may_stack(first):
            for job in self._open.alike(first):
                if len(stack) >= first.stack or stack_cost + cost(job) > open_cost / max(1, slots):
                    break
                if self._may_stack(job):
                    self._open.remove(job)
                    if self._acquire(job):
                        stack.append(job)
                        stack_cost += cost(job)
        return stack

    def split(self, stack: Sequence[Job], why: str, seconds: float) -> None:
        """Put back the jobs of a stack that was lost: each is tried again alone, its lease kept.

        No attempt is charged to any of them, since one may be to blame and the others not.
        """
        for job in reversed(stack):
            self._alone.add(job.spec.id)
            self._open.put_first(job)
            message = f"alone, since its group ended: {why}"
            self._on_event(Event(job.spec.id, None, seconds, message))

    def _next(self) -> Job | None:
        while self._open:
            job = self._open.take_first()
            if self._acquire(job):
                return job
        return None

    def _acquire(self, job: Job) -> bool:
        """Whether the job is ours to train now; else it is settled, or held by another process."""
        run_id = job.spec.id
        if self._settle_if_ended(job):
            return False
        if not self._leases.acquire(run_id):
            self._held_by_others.append(job)
            return False
        # Another process may have published, or failed and given up, just before we got the lease.
        return not self._settle_if_ended(job)

    def _may_stack(self, job: Job) -> bool:
        return job.stack > 1 and job.spec.id not in self._alone

    def finish(self, job: Job, reply: RunReply, host: str = "") -> None:
        """Settle a job by its worker's reply. `host`: of the worker, if that is another machine."""
        if reply.state == "failed":
            self.fail(job, "failed", reply.message, reply.seconds, reply.traceback, host=host)
            return
        run = self._store.trajectory(job.spec.id, job.observe)
        if run is None:
            message = f"the worker said {reply.state}, but the store holds no recording with what was asked"
            self.fail(job, "failed", message, reply.seconds, host=host)
            return
        self._settle(job.spec.id, run.state, reply.seconds)

    def fail(
        self,
        job: Job,
        kind: FailureKind,
        message: str,
        seconds: float,
        traceback: str = "",
        memory_bytes: int | None = None,
        host: str = "",
    ) -> None:
        """Record a failed attempt; a first crash puts the job back, its lease kept."""
        run_id = job.spec.id
        details: dict[str, Any] = {"traceback": traceback, "memory_bytes": memory_bytes, "host": host}
        self._store.fail(run_id, kind, message, seconds=seconds, **details)
        if kind == "crashed" and self._given_up(run_id) is None:
            self._open.put_first(job)
            self._on_event(Event(run_id, None, seconds, message))
        else:
            self._settle(run_id, kind, seconds, message)

    def _settle_if_ended(self, job: Job) -> bool:
        """Settle a job that the store has, or that some process has tried as often as it may be tried."""
        run_id = job.spec.id
        if (run := self._store.trajectory(run_id, job.observe)) is not None:
            self._settle(run_id, run.state, run.seconds)
        elif (failure := self._given_up(run_id)) is not None:
            self._settle(run_id, failure.kind, failure.seconds, failure.message)
        return run_id in self.states

    def _given_up(self, run_id: str) -> Failure | None:
        """The last failure of a run that is not to be tried again."""
        failures = self._store.failures(run_id, after=self._forgiven.get(run_id, 0))
        crashed = [failure.kind == "crashed" for failure in failures]
        return failures[-1] if sum(crashed) >= MAX_CRASHES or not all(crashed) else None

    def _settle(self, run_id: str, state: RunState, seconds: float, message: str = "") -> None:
        if state in ("done", "diverged") and self._leases.holds(run_id):
            self._store.forget_checkpoint(run_id)
        self._leases.release(run_id)
        self.states[run_id] = state
        self._on_event(Event(run_id, state, seconds, message))
