"""Start the training of jobs on this machine, with their progress shown.

Any number of processes may do so on one results folder, from any machine that sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from universality.errors import UniversalityError
from universality.plan.plan import Job
from universality.plan.stacks import most_members
from universality.plan.turns import ordered
from universality.plugin.trajectory import RunState
from universality.store.store import Store
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings
from universality.train.progress import Progress


@dataclass(frozen=True, slots=True)
class Trained:
    """How jobs stand when a process ends, by run id.

    Args:
        stored: trained now or before.
        failed: tried as often as they may be.
        held: by other processes when last looked at.
    """

    stored: tuple[str, ...]
    failed: tuple[str, ...]
    held: tuple[str, ...]


def missing(jobs: Sequence[Job], store: Store, *, anew: bool = False) -> list[Job]:
    """The jobs that the store lacks: all of them, where they are to be trained `anew` and what it has is deleted."""
    if anew:
        store.discard({job.spec.id for job in jobs})
    return [job for job in jobs if not store.covers(job.spec.id, job.observe)]


def check_tried(jobs: Sequence[Job], store: Store) -> None:
    """Raises `UniversalityError` where processes that were to train the jobs have left some of them untouched."""
    left = [
        job for job in jobs if not (store.covers(job.spec.id, job.observe) or store.attempts(job.spec.id))
    ]
    if left:
        raise UniversalityError(
            "the jobs ended before every run was trained",
            where=str(store.layout.root),
            got=f"{len(left)} of {len(jobs)} runs are missing",
            do="look at what the jobs printed, and give the same command again: what was published stays",
        )


def train(
    jobs: Sequence[Job],
    settings: WorkerSettings,
    *,
    slots: int,
    timeout_s: float,
    retry_failed: bool = True,
    wait: bool = True,
    elsewhere: Callable[..., Mapping[str, RunState]] | None = None,
) -> Trained:
    """Train the jobs in the order of `plan.turns`.

    Args:
        retry_failed, wait: see `universality.train.queue.JobQueue`.
        elsewhere: trains them as `universality.train.executors.local.run_all` does here, with workers of a cluster.
    """
    in_turn = ordered(jobs)
    for job in in_turn:
        on_gpu = settings.device.startswith("cuda")
        job.stack = most_members(job.parameters, job.data_bytes, job.seconds, on_gpu=on_gpu)
    progress = Progress({job.spec.id: job.seconds for job in in_turn}, slots)
    try:
        states = (elsewhere or run_all)(
            in_turn,
            settings,
            slots=slots,
            timeout_s=timeout_s,
            on_event=progress.notice,
            retry_failed=retry_failed,
            wait=wait,
        )
    finally:
        progress.close()
    ended = {run_id: state in ("done", "diverged") for run_id, state in states.items()}
    return Trained(
        stored=tuple(run_id for run_id, well in ended.items() if well),
        failed=tuple(run_id for run_id, well in ended.items() if not well),
        held=tuple(job.spec.id for job in in_turn if job.spec.id not in ended),
    )
