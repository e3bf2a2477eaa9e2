"""`universality run`: plan, train what is missing, measure, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.judge.resultset import ResultSet
    from universality.output.build import Summary
    from universality.plan.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: the results, ids of runs that failed, and what could not be measured."""

    summary: Summary
    failed: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @property
    def results(self) -> ResultSet:
        return self.summary.results


def run(
    *,
    suite: str | None = None,
    architectures: Sequence[str] = (),
    tasks: Sequence[str] = (),
    phenomena: Sequence[str] = (),
    seeds: int | None = None,
    name: str | None = None,
    results: Path = Path("results"),
    device: str = "auto",
    workers: int | None = None,
    engine: Literal["auto", "loop", "fused", "separate"] = "auto",
    timeout: float = 3600.0,
    dry_run: bool = False,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Finished | Forecast:
    """Train what is missing, measure, and write the table. Finished runs are never trained again: the same
    command resumes after an interruption.

    Args:
        suite: a built-in suite or a .toml file (default: quick)
        architectures: a cross of your own: its architectures
        tasks: a cross of your own: its tasks
        phenomena: a cross of your own: its phenomena
        seeds: replicates per cell of that cross (default: 5)
        name: the results go to RESULTS/NAME (default: the suite's name)
        results: the folder of all results (default: results)
        device: auto, cpu, cuda, cuda:1, ... (default: auto)
        workers: processes; 0 works in this one, several may share a GPU (default: one per core, one per GPU)
        engine: runs side by side: gradients one by one (loop) or at once (fused); separate: one after another
            (default: auto, what is faster there)
        timeout: seconds per run, and to measure a cell (default: 3600)
        dry_run: say what would be trained, and its cost

    Raises:
        UniversalityError: for anything that can be known to be wrong before training, and for a folder that
            cannot be written, or for runs that this machine has no room for.
    """
    import msgspec

    from universality.judge.foreseen import too_few_replicates
    from universality.judge.measure import failed_measuring
    from universality.judge.measuring import measure_all
    from universality.output.build import rebuild
    from universality.plan.edited import edited_plugins
    from universality.plan.forecast import Forecast
    from universality.plan.plan import unscaled, unvalidated
    from universality.plan.plan_json import PlanRecord
    from universality.plan.planner import Planner
    from universality.plan.suite import choose
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.store.environment import environment
    from universality.store.layout import Layout
    from universality.store.store import Store
    from universality.text import clock, plain
    from universality.train.device import configure, find_device, gpus
    from universality.train.executors.local import default_slots
    from universality.train.executors.process import leave_if_imported_by_worker
    from universality.train.launch import train
    from universality.train.messages import WorkerSettings

    leave_if_imported_by_worker()
    _check_numbers(workers, timeout)
    started = time.monotonic()
    configure(threads=1)
    axes = several(architectures), several(tasks), several(phenomena)
    chosen = choose(suite, *axes, seeds, name)
    folders = several(plugins)
    registry.load_plugins(map(Path, folders))
    where = find_device(device)
    root = resolved(data_root)
    folder = Path(results) / chosen.name
    if Layout(folder).manifest.exists():
        Store.open(folder)  # a dry run too refuses a folder of another version
    plan = Planner(root).add_suite(chosen)
    slots = default_slots(gpus(where)) if workers is None else workers
    for line in (*unvalidated(plan, chosen), *too_few_replicates(plan), *unscaled(plan)):
        print(f"note: {plain(line, 600)}", file=sys.stderr)
    forecast = Forecast(plan, slots, where.type, folder)
    forecast.check_fits()
    if dry_run:
        return forecast

    store = Store.create(folder)
    store.write(store.layout.suite, chosen.toml())

    record = PlanRecord.of(
        plan,
        chosen,
        environment(str(where)),
        plugins=list(map(str, folders)),
        data_root=data_root is not None,
    )
    store.write(store.layout.plan, record.file())
    missing = [job for job in plan.jobs.values() if not store.covers(job.spec.id, job.observe)]
    for line in edited_plugins(missing, store):
        print(f"note: {plain(line, 600)}", file=sys.stderr)
    print(
        f"{chosen.name}: {len(plan.cells)} cells and controls, {len(plan.jobs)} runs, "
        f"{len(plan.jobs) - len(missing)} stored, {len(missing)} to train on {forecast.workers}, "
        f"about {clock(sum(job.seconds for job in missing) / max(1, slots))}",
        file=sys.stderr,
    )
    settings = WorkerSettings(
        store_root=store.layout.root,
        device=str(where),
        plugins=tuple(map(str, folders)),
        data_root=root,
        engine=engine,
    )
    if missing:
        train(missing, settings, slots=slots, timeout_s=timeout)
    # No device is used for that: one GPU leaves most cores idle.
    measuring = default_slots() if workers is None else workers
    records = measure_all(plan, store, settings, slots=measuring, timeout_s=timeout)
    record = msgspec.structs.replace(
        record,
        environment=environment(str(where)),
        cells=tuple(each.id for each in records),
        wall_seconds=round(time.monotonic() - started, 1),
        run_seconds=round(store.seconds(plan.jobs), 1),
        probe_seconds=round(store.probe_seconds(plan.jobs), 1),
    )
    store.write(store.layout.plan, record.file())
    failed = tuple(id for id, job in plan.jobs.items() if not store.covers(id, job.observe))
    return Finished(rebuild(store), failed, tuple(failed_measuring(records)))


def show(result: Finished | Forecast) -> int:
    """Returns 0, or 3 where some runs failed, crashed or timed out, or could not be measured."""
    from universality.output.build import print_summary
    from universality.text import plain

    if not isinstance(result, Finished):
        print(plain("\n".join(result.lines()), None, lines=True))
        return 0
    print_summary(result.summary)
    for line in result.unmeasured:
        print(f"not measured: {plain(line, 600)}", file=sys.stderr)
    if result.failed:
        folder = result.results.layout.failed
        print(
            f"{len(result.failed)} runs failed; see {plain(folder, None)}, the same command tries them again",
            file=sys.stderr,
        )
    return 3 if result.failed or result.unmeasured else 0


def _check_numbers(workers: int | None, timeout: float) -> None:
    from universality.errors import BadParameter

    if workers is not None and workers < 0:
        raise BadParameter("--workers is a number of processes", got=str(workers), expected="0 or more")
    if not 0 < timeout < float("inf"):
        raise BadParameter("--timeout is a number of seconds", got=f"{timeout:g}", expected="above 0")
