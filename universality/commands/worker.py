"""`universality worker`: join the training of a results folder, from any machine that sees it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from universality.commands.cli import program, several

if TYPE_CHECKING:
    from universality.train.launch import Trained


def worker(
    folder: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    engine: Literal["auto", "loop", "fused", "separate"] = "auto",
    timeout: float = 3600.0,
    on_existing: Literal["skip", "retry-failed"] = "skip",
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Trained:
    """Train runs that `universality run` has planned in a results folder, beside any number of others that do so. Ends
    when none is left, or all that are left are held by others; measuring is left to `universality run`.

    Args:
        folder: a results folder
        device: auto, cpu, cuda, cuda:1, ... (default: auto)
        workers: processes; 0 works in this one, several may share a GPU (default: one per core, one per GPU)
        engine: runs side by side: gradients one by one (loop) or at once (fused); separate: one after another
            (default: auto, what is faster there)
        timeout: seconds per run (default: 3600)
        on_existing: runs that have failed, or crashed twice, are left alone (skip) or tried again (retry-failed)
            (default: skip)

    Raises:
        UniversalityError: where nothing is planned, this machine lacks a plugin, data or the device that the runs
            need, or the folder cannot be written.

    Examples:
        universality worker results/standard --device cuda:1
    """
    from universality.commands.run import check_numbers
    from universality.plan.jobs_json import read_jobs
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.store.store import Store
    from universality.text import clock, plain
    from universality.train.device import configure, find_device, gpus
    from universality.train.executors.local import default_slots
    from universality.train.executors.process import leave_if_imported_by_worker
    from universality.train.launch import missing, train
    from universality.train.messages import WorkerSettings

    leave_if_imported_by_worker()
    check_numbers(workers, timeout)
    configure(threads=1)
    folders = several(plugins)
    registry.load_plugins(map(Path, folders))
    where = find_device(device)
    store = Store.open(Path(folder), writable=True)
    record = read_jobs(store.layout)
    jobs = record.jobs()
    if changed := record.changed_here():
        text = f"note: another source here than where the runs were planned: {', '.join(changed)}"
        print(plain(text, 600), file=sys.stderr)
    slots = default_slots(gpus(where)) if workers is None else workers
    to_train = missing(jobs, store)
    print(
        f"{plain(record.suite)}: {len(jobs)} runs, {len(jobs) - len(to_train)} stored, {len(to_train)} to train, "
        f"about {clock(sum(job.seconds for job in to_train) / max(1, slots))} for this worker alone",
        file=sys.stderr,
    )
    settings = WorkerSettings(
        store_root=store.layout.root,
        device=str(where),
        plugins=tuple(map(str, folders)),
        data_root=resolved(data_root),
        engine=engine,
    )
    return train(
        to_train,
        settings,
        slots=slots,
        timeout_s=timeout,
        retry_failed=on_existing == "retry-failed",
        wait=False,
    )


def command_line(
    device: str,
    workers: int | None,
    engine: str,
    timeout: float,
    plugins: Sequence[str | Path],
    data_root: Path,
) -> list[str]:
    """What starts a worker with these options on another machine, but for its folder."""
    options = ["--device", device, "--engine", engine, "--timeout", str(timeout)]
    if workers is not None:
        options += ["--workers", str(workers)]
    return program("worker", *options, plugins=plugins, data_root=data_root)


def show(result: Trained) -> int:
    """Returns 0, or 3 where some runs have failed, crashed or timed out."""
    if result.held:
        print(f"{len(result.held)} runs are held by other processes: nothing is left to do here")
    else:
        print("nothing is left to train here: `universality run` measures, once every run is stored")
    if result.failed:
        print(
            f"{len(result.failed)} runs failed; see `universality status`, and --on-existing retry-failed",
            file=sys.stderr,
        )
    return 3 if result.failed else 0
