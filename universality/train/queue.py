"""The queue of jobs of one process: what is open, what others hold, how each job ended.

A job ends `done` or `diverged` when the store holds it, else `failed`, `crashed` or `timeout`, with
a record under `failed/`. It is nobody's opinion but the disk's: a worker that says `done` without
having published has failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from universality.plugin.records import RunState
from universality.plugin.spec import RunSpec
from universality.store.store import FailureKind, Store
from universality.train.leases import Leases

_CRASHES = 2
"""Attempts at a run whose worker dies: a machine short of memory deserves a second one."""


class Job(Protocol):
    """A training and the steps at which each probe address must have recorded.

    `seconds` is its predicted cost, `stack` how many runs of its `kind` one worker may train side by side.
    """

    @property
    def spec(self) -> RunSpec: ...
    @property
    def observe(self) -> Mapping[str, Sequence[int]]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def stack(self) -> int: ...
    @property
    def kind(self) -> Hashable: ...


def job_record(job: Job) -> dict[str, Any]:
    """What is sent to a worker: plain data."""
    return {
        "spec": job.spec.record(),
        "observe": {address: [int(s) for s in steps] for address, steps in job.observe.items()},
    }


def message(group: Sequence[Job]) -> dict[str, Any]:
    """A single job as itself, several as `{"members": [...]}`."""
    return job_record(group[0]) if len(group) == 1 else {"members": [job_record(job) for job in group]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened to a run.

    Args:
        kind: a final state; `stored` where it was there already or another process published it;
            `started`; `retrying` after a crash; `elsewhere` while another process holds it.
        state: the final state, None while there is none.
        seconds: of this attempt.
        finished, total: jobs with a final state, all jobs.
    """

    kind: Literal["stored", "started", "retrying", "elsewhere"] | RunState
    run_id: str
    state: RunState | None
    seconds: float
    message: str
    finished: int
    total: int


class JobQueue:
    """Hands out jobs under leases and settles them.

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
        self._open = deque(jobs)
        self._elsewhere: list[Job] = []
        self._seen_elsewhere: set[str] = set()
        self._total = len(jobs)
        self._crashes: dict[str, int] = {}
        self._alone: set[str] = set()
        # Failures of earlier invocations do not count: asking again tries again.
        self._known_attempts = {run_id: store.attempts(run_id) for run_id in ids}
        self.states: dict[str, RunState] = {}

    @property
    def open(self) -> int:
        """Jobs that may be taken now."""
        return len(self._open)

    @property
    def elsewhere(self) -> int:
        """Jobs that other processes held when last looked at."""
        return len(self._elsewhere)

    def skip_stored(self) -> None:
        """Settle every open job that the store has already."""
        self._open = deque(job for job in self._open if not self._stored(job))

    def ask_again(self) -> None:
        """Open the jobs that others held, to see how they fared."""
        self._open.extend(self._elsewhere)
        self._elsewhere.clear()

    def take(self, slots: int = 1) -> list[Job]:
        """The next jobs that nobody else works on, under leases; none where there are none now.

        More than one where the first allows it and others are like it, but never more than a fair
        share of the work that is left, so that no slot runs out of work before the others.
        """
        left = sum(map(_cost, self._open))
        first = self._next()
        if first is None:
            return []
        group, cost = [first], _cost(first)
        if self._may_stack(first):
            kind = first.kind
            for job in tuple(self._open):
                full = len(group) >= first.stack or cost + _cost(job) > left / max(1, slots)
                if full:
                    break
                if self._may_stack(job) and job.kind == kind:
                    self._open.remove(job)
                    if self._claim(job):
                        group.append(job)
                        cost += _cost(job)
        return group

    def split(self, group: Sequence[Job], why: str, seconds: float) -> None:
        """Put back the jobs of a group that was lost: each is tried again alone, its lease kept.

        No attempt is charged to any of them, since one may be to blame and the others not.
        """
        for job in reversed(group):
            self._alone.add(job.spec.id)
            self._open.appendleft(job)
            self._emit(
                "retrying", job.spec.id, seconds=seconds, message=f"alone, since its group ended: {why}"
            )

    def _next(self) -> Job | None:
        while self._open:
            job = self._open.popleft()
            if self._claim(job):
                return job
        return None

    def _claim(self, job: Job) -> bool:
        """Whether the job is ours to train now; else it is settled, or held elsewhere."""
        run_id = job.spec.id
        if self._stored(job):
            return False
        if not self._leases.claim(run_id):
            self._elsewhere.append(job)
            if run_id not in self._seen_elsewhere:
                self._seen_elsewhere.add(run_id)
                self._emit("elsewhere", run_id)
            return False
        # Between the look and the claim somebody may have published, or failed and given up.
        if self._stored(job) or self._failed_elsewhere(run_id):
            return False
        self._emit("started", run_id)
        return True

    def _may_stack(self, job: Job) -> bool:
        return job.stack > 1 and job.spec.id not in self._alone

    def finish(self, job: Job, reply: Mapping[str, Any]) -> None:
        """Settle a job by its worker's reply."""
        state, seconds = reply.get("state"), float(reply.get("seconds", 0.0))
        if state not in ("done", "diverged"):
            self.fail(job, "failed", str(reply.get("message", "")), seconds, str(reply.get("traceback", "")))
            return
        stored = self._store.trajectory(job.spec.id, job.observe)
        if stored is None:
            message = f"the worker said {state}, but the store holds no recording with what was asked"
            self.fail(job, "failed", message, seconds)
            return
        self._settle(job.spec.id, stored.state, stored.state, seconds)

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
        self._known_attempts[run_id] = self._store.fail(
            run_id, kind, message, traceback=traceback, seconds=seconds, memory_bytes=memory_bytes
        )
        if kind == "crashed":
            self._crashes[run_id] = self._crashes.get(run_id, 0) + 1
            if self._crashes[run_id] < _CRASHES:
                self._open.appendleft(job)
                self._emit("retrying", run_id, seconds=seconds, message=message)
                return
        self._settle(run_id, kind, kind, seconds, message)

    def _stored(self, job: Job) -> bool:
        """Settle a job that the store has."""
        stored = self._store.trajectory(job.spec.id, job.observe)
        if stored is not None:
            self._settle(job.spec.id, "stored", stored.state, stored.seconds)
        return stored is not None

    def _failed_elsewhere(self, run_id: str) -> bool:
        """Settle a job at which another process has failed since this queue was made: whoever
        fails holds the lease until there is nothing left to try."""
        if self._store.attempts(run_id) <= self._known_attempts[run_id]:
            return False
        failures = self._store.failures(run_id)
        if failures:
            last = failures[-1]
            self._settle(run_id, last.kind, last.kind, last.seconds, last.message)
        return bool(failures)

    def _settle(
        self,
        run_id: str,
        kind: Literal["stored"] | RunState,
        state: RunState,
        seconds: float,
        message: str = "",
    ) -> None:
        self._leases.release(run_id)
        self.states[run_id] = state
        self._emit(kind, run_id, state=state, seconds=seconds, message=message)

    def _emit(
        self,
        kind: Literal["stored", "started", "retrying", "elsewhere"] | RunState,
        run_id: str,
        *,
        state: RunState | None = None,
        seconds: float = 0.0,
        message: str = "",
    ) -> None:
        self._on_event(
            Event(
                kind=kind,
                run_id=run_id,
                state=state,
                seconds=seconds,
                message=message,
                finished=len(self.states),
                total=self._total,
            )
        )


def _cost(job: Job) -> float:
    # Jobs without a prediction are equally long.
    return max(job.seconds, 1e-9)
