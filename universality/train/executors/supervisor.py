"""Keeps worker processes at work: what dies, hangs or fails costs its own run and nothing else.

A stack that is lost with its worker costs no run an attempt: what it had not published is trained
one by one. A pool would not do: it breaks as a whole when one of its processes is killed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

from universality.errors import UniversalityError
from universality.store.store import FailureKind
from universality.train.executors.process import WorkerProcess, start_fork_server
from universality.train.messages import Crashed, Ready, RunReply, WorkerSettings
from universality.train.queue import JobQueue

LOOK_AGAIN = 5.0
"""Seconds between two looks at jobs that other processes hold."""

MAX_FAILED_STARTS = 3
"""Workers in a row that may die before they take a job."""


class Supervisor:
    """Keeps up to `slots` worker processes at work until every job has a final state.

    Args:
        timeout_s: wall time of one run; a stack has that of all its runs.
        target: `module:function` that a worker runs.
    """

    def __init__(
        self, queue: JobQueue, slots: int, timeout_s: float, target: str, settings: WorkerSettings
    ) -> None:
        self._queue, self._slots, self._timeout = queue, slots, timeout_s
        self._target, self._settings = target, settings
        self._workers: list[WorkerProcess] = []
        self._failed_starts = 0
        self._next_look = math.inf

    def run(self) -> None:
        """Raises `UniversalityError` where workers cannot start, or one raised it outside of a run."""
        start_fork_server()
        clean = False
        try:
            while True:
                self._employ()
                if not (self._queue.open or self._queue.held_by_others or any(w.jobs for w in self._workers)):
                    break
                watched = [item for w in self._workers for item in (w.connection, w.process.sentinel)]
                self._handle(wait(watched, self._patience()))
            clean = True
        finally:
            for worker in self._workers:
                worker.stop(grace=clean)

    def _employ(self) -> None:
        """Give jobs to idle workers, and start workers while there are more jobs than those."""
        if time.monotonic() >= self._next_look:
            self._queue.ask_again()
            self._next_look = math.inf
        for worker in self._workers:
            if worker.ready and not worker.jobs and (stack := self._queue.take(self._slots)):
                worker.assign(stack)
        without_job = sum(not worker.jobs for worker in self._workers)
        while len(self._workers) < self._slots and without_job < self._queue.open:
            slot = min(set(range(self._slots)) - {worker.slot for worker in self._workers})
            self._workers.append(WorkerProcess(self._target, self._settings, slot))
            without_job += 1
        if self._queue.held_by_others and math.isinf(self._next_look):
            self._next_look = time.monotonic() + LOOK_AGAIN

    def _patience(self) -> float | None:
        """Seconds until a run times out or jobs that others hold are looked at again."""
        rest = [self._limit(worker) - worker.seconds for worker in self._workers if worker.jobs]
        first = min([self._next_look - time.monotonic(), *rest])
        return None if math.isinf(first) else max(0.0, first)

    def _limit(self, worker: WorkerProcess) -> float:
        return self._timeout * worker.stack_size

    def _handle(self, ready: Sequence[Any]) -> None:
        for worker in tuple(self._workers):
            # A reply counts even where its sender died right after it.
            if worker.connection in ready:
                self._receive(worker)
            elif worker.process.sentinel in ready:
                self._settle_lost(worker)
            elif worker.jobs and worker.seconds >= self._limit(worker):
                self._end_overdue(worker)

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            reply = worker.connection.recv()
        except (EOFError, OSError):
            self._settle_lost(worker)
            return
        match reply:
            case Ready():
                worker.ready, self._failed_starts = True, 0
            case RunReply():
                if (job := worker.jobs.pop(reply.run_id, None)) is not None:
                    self._queue.finish(job, reply)
            case UniversalityError():
                raise reply
            case Crashed():
                self._settle_lost(worker, reply)

    def _settle_lost(self, worker: WorkerProcess, crash: Crashed | None = None) -> None:
        seconds, death = worker.seconds, worker.cause_of_death()
        cause, trace = (crash.message, crash.traceback) if crash else (death, "")
        self._charge(worker, "crashed", cause, seconds, traceback=trace)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise UniversalityError(
                    "worker processes die before they take a job",
                    where=self._target,
                    got=cause,
                    do="look at the messages above; --workers 0 trains in this process",
                )

    def _end_overdue(self, worker: WorkerProcess) -> None:
        seconds, memory = worker.seconds, worker.peak_memory()
        worker.stop(grace=False)
        cause = f"killed after {seconds:.1f} s, the limit is {self._limit(worker):g} s"
        self._charge(worker, "timeout", cause, seconds, memory_bytes=memory)

    def _charge(
        self, worker: WorkerProcess, kind: FailureKind, cause: str, seconds: float, **details: Any
    ) -> None:
        """Dismiss a worker that has ended; what it was training is tried again one by one, or has failed."""
        self._workers.remove(worker)
        jobs = tuple(worker.jobs.values())
        if worker.stack_size > 1:
            self._queue.split(jobs, cause, seconds)
        elif jobs:
            self._queue.fail(jobs[0], kind, cause, seconds, **details)
