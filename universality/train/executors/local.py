"""Training on this machine: in supervised worker processes, one per slot, or in this process."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from universality.plan.plan import Job
from universality.plugin.trajectory import RunState
from universality.store.environment import cores
from universality.store.store import Store
from universality.train.executors import supervisor
from universality.train.executors.supervisor import Supervisor
from universality.train.interruption import signals_raise
from universality.train.leases import Leases
from universality.train.messages import WorkerSettings
from universality.train.queue import Event, JobQueue, planned

WORKER = "universality.train.worker:prepare"


def default_slots(gpus: int = 0) -> int:
    """One slot per GPU, or without one per core that this process may use; a worker has one thread.

    A second slot on a GPU hides what a worker does between its runs and in probes (`--workers`).
    """
    return gpus or cores()


def run_all(
    jobs: Sequence[Job],
    settings: WorkerSettings,
    *,
    slots: int,
    timeout_s: float,
    on_event: Callable[[Event], None],
    target: str = WORKER,
    wait: bool = True,
    retry_failed: bool = True,
) -> dict[str, RunState]:
    """Train what the store lacks; returns the final state of every job by run id, those that others hold left out.

    A worker that dies costs its run one of two attempts and is replaced; the rest goes on. Ctrl-C, SIGTERM and SIGHUP kill the workers and are raised again;
    what was published stays.

    Args:
        slots: worker processes; 0 trains in the calling process, without a timeout and without
            protection from crashes, for debuggers and tests.
        timeout_s: wall time of one run, after which its worker is killed; a stack has that of all its runs.
        target: `module:function` that a worker calls with its settings, for a function from a stack of
            `PlannedRun`s to an iterator over a `RunReply` for each.
        wait, retry_failed: see `JobQueue`.

    Raises:
        UniversalityError: where workers cannot start, or one raised such an error outside of a run.
    """
    store = Store.open(settings.store_root, writable=True)
    with signals_raise(), Leases(store.layout.leases) as leases:
        queue = JobQueue(jobs, store, leases, on_event, wait=wait, retry_failed=retry_failed)
        if slots == 0:
            _train_here(queue, target, settings)
        elif queue.open:
            with store.work_folder() as folder:
                settings = replace(settings, shared_data=folder if slots > 1 else None)
                Supervisor(queue, slots, timeout_s, target, settings).run()
    return queue.states


def _train_here(queue: JobQueue, target: str, settings: WorkerSettings) -> None:
    train = pkgutil.resolve_name(target)(settings)
    looked = time.monotonic()
    while (stack := queue.take()) or queue.awaited:
        if stack:
            jobs = {job.spec.id: job for job in stack}
            for reply in train(planned(stack)):
                queue.finish(jobs[reply.run_id], reply)
        else:
            time.sleep(supervisor.LOOK_AGAIN)
        if time.monotonic() - looked >= supervisor.LOOK_AGAIN:
            queue.ask_again()
            looked = time.monotonic()
