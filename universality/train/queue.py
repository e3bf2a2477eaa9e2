"""The queue of jobs of one process: what is open, what others hold, how each job ended.

A job ends `done` or `diverged` when the store holds it, else `failed`, `crashed` or `timeout`, with
a record under `failed/`. The store decides, not the worker: one that replies `done` without having
published has failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from universality.plan.plan import Job
from universality.plan.plan_json import PlannedRun
from universality.plugin.trajectory import RunState
from universality.store.store import FailureKind, Store
from universality.train.leases import Leases
from universality.train.messages import RunReply

MAX_CRASHES = 2
"""Attempts at a run whose worker dies: the machine may have been short of memory for a while."""


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
    """Hands out jobs under leases and settles them, those that the store has at once.

    Raises:
        ValueError: for two jobs of one run; whoever plans takes the union of what they observe.
    """

    def __init__(
        self, jobs: Sequence[Job], store: Store, leases: Leases, on_event: Callable[[Event], None]
    ) -> None:
        ids = [job.spec.id for job in jobs]
        if len(set(ids)) < len(ids):
            raise ValueError("two jobs have the same run id")
        self._store, self._leases, self._on_event = store, leases, on_event
        self._held_by_others: list[Job] = []
        self._crashes: dict[str, int] = {}
        self._alone: set[str] = set()
        # Failures of earlier commands do not count: asking again tries again.
        self._attempts = {run_id: store.attempts(run_id) for run_id in ids}
        self.states: dict[str, RunState] = {}
        self._open = deque(job for job in jobs if not self._settle_if_stored(job))

    @property
    def open(self) -> int:
        """Jobs that may be taken now."""
        return len(self._open)

    @property
    def held_by_others(self) -> int:
        """Jobs that other processes held when last looked at."""
        return len(self._held_by_others)

    def key(self, job: Job) -> str:
        """What a reply names the job by."""
        return job.spec.id

    def message(self, stack: Sequence[Job]) -> tuple[PlannedRun, ...]:
        """What a worker is sent."""
        return planned(stack)

    def ask_again(self) -> None:
        """Open the jobs that others held, to see how they fared."""
        self._open.extend(self._held_by_others)
        self._held_by_others.clear()

    def take(self, slots: int = 1) -> list[Job]:
        """The next jobs that nobody else works on, under leases; none where there are none now.

        More than one where the first allows it and others are like it, but never more than a fair
        share of the work that is left, so that no slot runs out of work before the others.
        """
        open_cost = sum(map(_cost, self._open))
        first = self._next()
        if first is None:
            return []
        stack, cost = [first], _cost(first)
        if self._may_stack(first):
            kind = first.kind
            for job in tuple(self._open):
                if len(stack) >= first.stack or cost + _cost(job) > open_cost / max(1, slots):
                    break
                if self._may_stack(job) and job.kind == kind:
                    self._open.remove(job)
                    if self._acquire(job):
                        stack.append(job)
                        cost += _cost(job)
        return stack

    def split(self, stack: Sequence[Job], why: str, seconds: float) -> None:
        """Put back the jobs of a stack that was lost: each is tried again alone, its lease kept.

        No attempt is charged to any of them, since one may be to blame and the others not.
        """
        for job in reversed(stack):
            self._alone.add(job.spec.id)
            self._open.appendleft(job)
            message = f"alone, since its group ended: {why}"
            self._on_event(Event(job.spec.id, None, seconds, message))

    def _next(self) -> Job | None:
        while self._open:
            job = self._open.popleft()
            if self._acquire(job):
                return job
        return None

    def _acquire(self, job: Job) -> bool:
        """Whether the job is ours to train now; else it is settled, or held by another process."""
        run_id = job.spec.id
        if self._settle_if_stored(job):
            return False
        if not self._leases.acquire(run_id):
            self._held_by_others.append(job)
            return False
        # Another process may have published, or failed and given up, just before we got the lease.
        return not (self._settle_if_stored(job) or self._settle_if_failed_elsewhere(run_id))

    def _may_stack(self, job: Job) -> bool:
        return job.stack > 1 and job.spec.id not in self._alone

    def finish(self, job: Job, reply: RunReply) -> None:
        """Settle a job by its worker's reply."""
        if reply.state == "failed":
            self.fail(job, "failed", reply.message, reply.seconds, reply.traceback)
            return
        run = self._store.trajectory(job.spec.id, job.observe)
        if run is None:
            message = f"the worker said {reply.state}, but the store holds no recording with what was asked"
            self.fail(job, "failed", message, reply.seconds)
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
    ) -> None:
        """Record a failed attempt; a first crash puts the job back, its lease kept."""
        run_id = job.spec.id
        self._attempts[run_id] = self._store.fail(
            run_id, kind, message, traceback=traceback, seconds=seconds, memory_bytes=memory_bytes
        )
        if kind == "crashed":
            self._crashes[run_id] = self._crashes.get(run_id, 0) + 1
            if self._crashes[run_id] < MAX_CRASHES:
                self._open.appendleft(job)
                self._on_event(Event(run_id, None, seconds, message))
                return
        self._settle(run_id, kind, seconds, message)

    def _settle_if_stored(self, job: Job) -> bool:
        run = self._store.trajectory(job.spec.id, job.observe)
        if run is not None:
            self._settle(job.spec.id, run.state, run.seconds)
        return run is not None

    def _settle_if_failed_elsewhere(self, run_id: str) -> bool:
        """Settle a job at which another process has failed since this queue was made: a process
        that fails keeps the lease until there is nothing left to try."""
        if self._store.attempts(run_id) <= self._attempts[run_id]:
            return False
        failures = self._store.failures(run_id)
        if failures:
            last = failures[-1]
            self._settle(run_id, last.kind, last.seconds, last.message)
        return bool(failures)

    def _settle(self, run_id: str, state: RunState, seconds: float, message: str = "") -> None:
        self._leases.release(run_id)
        self.states[run_id] = state
        self._on_event(Event(run_id, state, seconds, message))


def _cost(job: Job) -> float:
    # Jobs without a prediction are equally long.
    return max(job.seconds, 1e-9)
