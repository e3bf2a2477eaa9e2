"""Training by workers on other machines, each given a stack at a time.

This process holds the leases, counts attempts and keeps the store; a worker that is lost costs its run one of two attempts and is
replaced. Whether a worker sees the results folder is found by looking: it then publishes there, and else sends the
files of every recording, which are verified before they are published here.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from universality.errors import UniversalityError
from universality.plan.jobs_json import JobsRecord
from universality.plan.plan import Job
from universality.plugin.trajectory import RunState
from universality.store.recording import DamagedRecordingError
from universality.store.store import Store
from universality.text import plain
from universality.train.executors.remote_messages import (
    Failed,
    Finished,
    Hello,
    Order,
    Refused,
    Said,
    Split,
    encode_order,
    encode_stack,
)
from universality.train.executors.supervisor import LOOK_AGAIN, MAX_FAILED_STARTS
from universality.train.interruption import signals_raise
from universality.train.leases import Leases
from universality.train.messages import RunReply, WorkerSettings
from universality.train.queue import Event, JobQueue

TICK = 1.0
"""Seconds between two looks at the clock."""

GRACE = 120.0
"""Seconds beyond the time of its stack after which a worker that says nothing is given up: it ends its runs by itself, so
that one that does not has lost its network or was stopped."""

LATE = 90.0
"""Seconds after which a network file system shows a folder that another machine has made."""

WITHOUT = 60.0
"""Seconds without a worker after which the user is told what is waited for."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker says, with the files that belong to it."""

    said: Said
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker has no more to say of its stack."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, or nothing more can be heard of it."""

    why: str


class Cluster(Protocol):
    """Where workers are started. A worker is whatever `start` returns."""

    @property
    def waited_for(self) -> str:
        """What a worker that has not started waits for."""

    def start(self, order: bytes) -> Any:
        """A new worker, which says `Hello` or `Refused` when it has a place."""

    def give(self, worker: Any, stack: bytes) -> None:
        """Let a worker train a stack."""

    def listen(self, seconds: float) -> Iterable[tuple[Any, Told | Idle | Lost]]:
        """What workers have to say, waiting for it no longer than so many seconds."""

    def stop(self, workers: Sequence[Any]) -> None:
        """End workers, whatever they do."""


def run_all(
    jobs: Sequence[Job],
    settings: WorkerSettings,
    *,
    cluster: Cluster,
    planned: JobsRecord,
    own_data: bool,
    slots: int,
    timeout_s: float,
    on_event: Callable[[Event], None],
    wait: bool = True,
    retry_failed: bool = True,
) -> dict[str, RunState]:
    """As `universality.train.executors.local.run_all`, with up to `slots` workers of a cluster.

    Args:
        planned: the record of the jobs.
        own_data: whether every machine has a data root of its own, and not that of the settings.
    """
    store = Store.open(settings.store_root, writable=True)
    with signals_raise(), Leases(store.layout.leases) as leases:
        queue = JobQueue(jobs, store, leases, on_event, wait=wait, retry_failed=retry_failed)
        if queue.open:
            with store.work_folder() as folder:
                order = Order(
                    root=str(store.layout.root.resolve()),
                    proof=_proof(folder),
                    device=settings.device,
                    engine=settings.engine,
                    plugins=settings.plugins,
                    data_root="" if own_data else str(settings.data_root),
                    timeout_s=timeout_s,
                    planned=msgspec.structs.replace(planned, runs={}),
                )
                Dispatcher(queue, store, cluster, order, slots).run()
    return queue.states


def _proof(folder: Path) -> tuple[str, str]:
    """A new file there, and what it holds, which nobody can guess."""
    path, text = folder.resolve() / "proof", secrets.token_hex(16)
    path.write_text(text)
    return str(path), text


class _Worker:
    """What is known of a worker. `jobs`: those of its stack that it has said nothing of, by run id."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.hello: Hello | None = None
        self.jobs: dict[str, Job] = {}
        self.busy = False
        self.stack_size = 0
        self.start = time.monotonic()

    @property
    def host(self) -> str:
        return self.hello.host if self.hello else ""

    @property
    def seconds(self) -> float:
        """Since its stack was given to it."""
        return time.monotonic() - self.start


class Dispatcher:
    """Keeps up to `slots` workers of a cluster at work until every job is settled."""

    def __init__(self, queue: JobQueue, store: Store, cluster: Cluster, order: Order, slots: int) -> None:
        self._queue, self._store, self._cluster = queue, store, cluster
        self._order, self._slots = order, slots
        self._workers: list[_Worker] = []
        self._late: list[tuple[float, Job, RunReply, str]] = []
        self._failed_starts = 0
        self._next_look = 0.0
        self._last_ready = time.monotonic()
        self._noted: set[str] = set()

    def run(self) -> None:
        """Raises `UniversalityError` where workers cannot start, or one refused."""
        order = encode_order(self._order)
        try:
            while True:
                self._employ(order)
                busy = any(worker.jobs for worker in self._workers)
                if not (self._queue.open or self._queue.awaited or busy or self._late):
                    break
                for handle, word in self._cluster.listen(TICK):
                    worker = next((w for w in self._workers if w.handle is handle), None)
                    if worker is not None:
                        self._handle(worker, word)
                self._look_at_clock()
        finally:
            self._cluster.stop([worker.handle for worker in self._workers])

    def _employ(self, order: bytes) -> None:
        for worker in self._workers:
            if worker.hello and not worker.busy and (stack := self._queue.take(self._slots)):
                worker.jobs = {job.spec.id: job for job in stack}
                worker.busy, worker.stack_size, worker.start = True, len(stack), time.monotonic()
                self._cluster.give(worker.handle, encode_stack(self._queue.message(stack)))
        without_job = sum(not worker.busy for worker in self._workers)
        for _ in range(min(self._slots - len(self._workers), self._queue.open - without_job)):
            self._workers.append(_Worker(self._cluster.start(order)))

    def _handle(self, worker: _Worker, word: Told | Idle | Lost) -> None:
        match word:
            case Told(said, files):
                self._hear(worker, said, files)
            case Idle():
                worker.busy = False
                if worker.jobs:
                    self._give_up(worker, "the worker said nothing of how it ended")
            case Lost(why):
                self._give_up(worker, why)

    def _hear(self, worker: _Worker, said: Said, files: Mapping[str, bytes]) -> None:
        match said:
            case Hello():
                worker.hello, self._failed_starts = said, 0
                if not said.sees_folder:
                    self._note(
                        f"{said.host} does not see the results folder: recordings come back through the cluster"
                    )
            case Refused():
                raise said.error()
            case Finished(reply=reply) if job := worker.jobs.pop(reply.run_id, None):
                self._finish(job, reply, files, worker)
            case Failed() if job := worker.jobs.pop(said.run_id, None):
                trace, memory = said.traceback, said.memory_bytes
                self._queue.fail(job, said.kind, said.message, said.seconds, trace, memory, worker.host)
            case Split():
                lost = [job for run_id in said.run_ids if (job := worker.jobs.pop(run_id, None))]
                self._queue.split(lost, said.why, said.seconds)

    def _finish(self, job: Job, reply: RunReply, files: Mapping[str, bytes], worker: _Worker) -> None:
        if files:
            try:
                self._store.adopt(job.spec.id, files, job.observe)
            except DamagedRecordingError as damage:
                message = f"what came back from {worker.host} is no recording of it: {damage}"
                self._queue.fail(job, "failed", message, reply.seconds, host=worker.host)
                return
        elif reply.state != "failed" and not self._store.covers(job.spec.id, job.observe):
            self._late.append((time.monotonic() + LATE, job, reply, worker.host))
            return
        self._queue.finish(job, reply, worker.host)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        late, self._late = self._late, []
        for deadline, job, reply, host in late:
            if now < deadline and not self._store.covers(job.spec.id, job.observe):
                self._late.append((deadline, job, reply, host))
            else:
                self._queue.finish(job, reply, host)
        for worker in tuple(self._workers):
            limit = self._order.timeout_s * worker.stack_size + GRACE
            if worker.busy and worker.seconds > limit:
                self._give_up(worker, f"nothing was heard of the worker within {limit:g} s")
        if self._queue.held_by_others and now >= self._next_look:
            self._queue.ask_again()
            self._next_look = now + LOOK_AGAIN
        if any(worker.hello for worker in self._workers) or not self._workers:
            self._last_ready = now
        elif now - self._last_ready > WITHOUT:
            self._note(f"no worker has started for {WITHOUT:g} s: {self._cluster.waited_for}")

    def _give_up(self, worker: _Worker, why: str) -> None:
        """What a worker that is lost was training is tried again one by one, or was an attempt at one run."""
        self._workers.remove(worker)
        self._cluster.stop([worker.handle])
        jobs = list(worker.jobs.values())
        if worker.stack_size > 1:
            self._queue.split(jobs, why, worker.seconds)
        elif jobs:
            self._queue.fail(jobs[0], "crashed", why, worker.seconds, host=worker.host)
        if worker.hello is None:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise UniversalityError(
                    "workers of the cluster die before they take a run",
                    got=why,
                    do="install this universality on all nodes, or send it along: --ray working_dir=CHECKOUT",
                )

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            print(f"note: {plain(text, 600)}", file=sys.stderr)
