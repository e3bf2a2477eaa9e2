"""Start the training of jobs on this machine, with their progress shown."""

from __future__ import annotations

from collections.abc import Sequence

from universality.plan.plan import Job
from universality.plan.stacks import most_members
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings
from universality.train.progress import Progress


def train(jobs: Sequence[Job], settings: WorkerSettings, *, slots: int, timeout_s: float) -> None:
    """Train the jobs: calibrations, then longest first, so that no long one is left to a single worker at the end."""
    ordered = sorted(jobs, key=lambda job: (not job.calibrates, -job.seconds))
    for job in ordered:
        on_gpu = settings.device.startswith("cuda")
        job.stack = most_members(job.parameters, job.data_bytes, job.seconds, on_gpu=on_gpu)
    progress = Progress({job.spec.id: job.seconds for job in ordered}, slots)
    try:
        run_all(ordered, settings, slots=slots, timeout_s=timeout_s, on_event=progress.notice)
    finally:
        progress.close()
