"""`universality report`: tables, figures and the page of a results folder, written anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import program, several

if TYPE_CHECKING:
    from universality.output.build import Summary
    from universality.store.store import Store


def report(
    folder: Path,
    *,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
    workers: int | None = None,
    timeout: float = 3600.0,
) -> Summary:
    """Write tables, figures and the page of a results folder anew, from its measurements. Where `run` has not finished,
    what is stored is measured first, and it is said what the next hour would bring.

    Args:
        folder: a results folder, or hf:owner/name, of which a copy is written
        workers: processes that measure; 0 works in this one (default: one per core)
        timeout: seconds to measure a cell (default: 3600)

    Raises:
        StoreError: where it holds no measurements, or cannot be written.
        UniversalityError: of an unfinished set, for a plugin that is not given.

    Examples:
        universality report results/quick
    """
    from universality.audit.loose_files import unused_damage, warning
    from universality.output.build import rebuild
    from universality.sharing.hub import local
    from universality.store.store import Store

    store = Store.open(local(folder, own=True), writable=True)
    outdated = any(path.exists() for path in store.layout.outdated)  # reading says what to do with these
    if store.layout.jobs.exists() and not outdated and not is_finished(store):
        _measure(store, several(plugins), data_root, workers, timeout)
    damaged = unused_damage(store.layout)  # before evidence.csv is written anew
    summary = rebuild(store)
    for damage in damaged:
        mended = " (written anew)" if damage.path == store.layout.evidence.name else ""
        print(f"{warning(store.layout, damage)}{mended}", file=sys.stderr)
    return summary


def is_finished(store: Store) -> bool:
    """Whether a folder has a table of which no run is untrained."""
    from universality.plan.plan_json import PlanRecord
    from universality.store.untrusted import UntrustedFile

    try:
        return not PlanRecord.read(store.layout.plan).untrained
    except UntrustedFile:
        return False


def _measure(
    store: Store, folders: Sequence[str | Path], data_root: Path | None, workers: int | None, timeout: float
) -> None:
    """Measure what is stored of the runs that were asked for last."""
    from universality.commands.conclude import conclude
    from universality.commands.run import check_numbers
    from universality.errors import StoreError
    from universality.judge.adopted import Adopted
    from universality.plan.jobs_json import read_jobs
    from universality.plan.planner import Planner
    from universality.plan.suite import parse
    from universality.plan.turns import complete_after
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.text import clock, plain
    from universality.train.device import configure
    from universality.train.executors.local import default_slots
    from universality.train.launch import missing
    from universality.train.messages import WorkerSettings

    started = time.monotonic()
    check_numbers(workers, timeout)
    configure(threads=1)
    registry.load_plugins(map(Path, folders))
    record = read_jobs(store.layout)
    suite = parse(record.definition, where=str(store.layout.jobs))
    plan = Planner(resolved(data_root)).add_suite(suite)
    adopted = Adopted.of(store.layout)
    adopted.mark(plan, store)
    if not plan.open_jobs.keys() <= record.runs.keys() <= plan.jobs.keys():
        raise StoreError(
            "these runs were planned by another version of universality, or with other plugins",
            where=str(store.layout.root),
            do="give the `universality run` again, with this version",
        )
    settings = WorkerSettings(
        store_root=store.layout.root,
        device="cpu",
        plugins=tuple(map(str, folders)),
        data_root=resolved(data_root),
        engine="auto",
    )
    slots = default_slots() if workers is None else workers
    left = missing(list(plan.open_jobs.values()), store)
    conclude(
        plan,
        suite,
        store,
        settings,
        adopted,
        slots=slots,
        timeout_s=timeout,
        data_root=data_root is not None,
        wall_seconds=time.monotonic() - started,
    )
    cells = sum(bool(cell.groups) for cell in plan.cells)
    now, then = (complete_after(plan, left, seconds) for seconds in (0, 3600 * default_slots()))
    print(
        f"unfinished: {plain(suite.name)} has {len(record.runs) - len(left)} of {len(record.runs)} runs, all runs of {now} of "
        f"{cells} cells and controls; {clock(sum(job.seconds for job in left))} are left on one core, and the next hour "
        f"on {default_slots()} completes {then - now} cells more",
        file=sys.stderr,
    )


def command_line(folder: Path, plugins: Sequence[str | Path], data_root: Path) -> list[str]:
    """What writes the tables of a folder with these options, in one process beside others that train."""
    return program("report", str(folder.resolve()), "--workers", "1", plugins=plugins, data_root=data_root)


def show(summary: Summary) -> int:
    from universality.output.build import print_summary

    print_summary(summary)
    return 0
