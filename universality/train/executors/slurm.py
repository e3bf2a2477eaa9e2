"""Workers as jobs of a Slurm cluster, through submitit: each is one `universality worker` on the shared folder.

Nothing is sent to a job but a command, and nothing is read of what it leaves but the results folder. A job that Slurm
preempts, or that runs out of its time, is put back into the queue as it was, and joins again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from universality.errors import BadParameter, UniversalityError

CLUSTER = "slurm"
"""An executor of submitit."""

PATIENCE = 30.0
"""Seconds that a worker has to give back what it holds before Slurm takes its job."""


class Join:
    """What a job does: run a command until it ends."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def __call__(self) -> int:
        # A process of its own: in that of the job, signals of Slurm belong to submitit.
        with subprocess.Popen(self._command) as worker:
            try:
                return worker.wait()
            except BaseException:
                worker.terminate()
                worker.wait(PATIENCE)
                raise

    def checkpoint(self) -> Any:
        """What submitit puts into the queue in place of a job that is to make room."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_jobs(commands: Sequence[Sequence[str]], logs: Path, name: str, parameters: Mapping[str, Any]) -> None:
    """Submit an array of jobs, one for each command, and wait until all have ended; Ctrl-C cancels them.

    Args:
        logs: a folder that all nodes see, for scripts and output of the jobs.
        parameters: of submitit: `timeout_min`, `gpus_per_node`, `cpus_per_task`, `slurm_partition`, ...

    Raises:
        UniversalityError: submitit is not installed, or there is no Slurm here.
        BadParameter: submitit knows no such parameter.
    """
    try:
        import submitit
    except ImportError:
        raise UniversalityError(
            "--executor slurm needs submitit", do="pip install 'universality[slurm]'"
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=CLUSTER)
    except RuntimeError as error:
        raise UniversalityError(
            "there is no Slurm here", got=str(error), do="use a machine that has srun, or --shard"
        ) from None
    try:
        executor.update_parameters(name=name, **parameters)
    except (NameError, TypeError, ValueError, AssertionError) as error:
        raise BadParameter(
            "submitit refuses a parameter of its jobs", where="--slurm", got=str(error)
        ) from None
    jobs = executor.submit_array([Join(command) for command in commands])
    try:
        for job in jobs:
            job.wait()
    except BaseException:
        for job in jobs:
            job.cancel(check=False)
        raise


def parsed(parameters: Sequence[str]) -> dict[str, int | str]:
    """Parameters of submitit as they were typed. Raises `BadParameter`.

    >>> parsed(["slurm_partition=gpu", "timeout_min=600"])
    {'slurm_partition': 'gpu', 'timeout_min': 600}
    """
    values: dict[str, int | str] = {}
    for each in parameters:
        name, equals, value = each.partition("=")
        if not (equals and name.isidentifier()):
            raise BadParameter("--slurm takes parameters of submitit", got=each, expected="name=value")
        values[name] = int(value) if value.isascii() and value.isdecimal() else value
    return values
