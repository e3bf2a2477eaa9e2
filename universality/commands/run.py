"""`universality run`: plan, train what is missing, measure, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.judge.resultset import ResultSet
    from universality.output.build import Summary
    from universality.plan.forecast import Forecast
    from universality.train.launch import Trained


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: the results, ids of runs that failed, and what could not be measured."""

    summary: Summary
    failed: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @property
    def results(self) -> ResultSet:
        return self.summary.results

    def _repr_html_(self) -> str:
        return self.summary._repr_html_()


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
    on_existing: Literal["skip", "retry-failed", "force"] = "retry-failed",
    adopt: Sequence[Path] = (),
    shard: str | None = None,
    executor: Literal["local", "slurm", "ray"] = "local",
    jobs: int = 1,
    slurm: Sequence[str] = (),
    ray: Sequence[str] = (),
    dry_run: bool = False,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Finished | Forecast | Trained:
    """Train what is missing, measure, and write the table, of what is there every few minutes. Finished runs are never
    trained again: the same command resumes after an interruption.

    Args:
        suite: a built-in suite or a .toml file (default: quick)
        architectures: a cross of your own: its architectures
        tasks: a cross of your own: its tasks
        phenomena: a cross of your own: its phenomena
        seeds: replicates per cell of that cross (default: 5)
        name: the results go to RESULTS/NAME (default: the suite's name)
        results: the folder of all results: runs that another set in it holds, made on a machine like this, are taken over
            (default: results)
        device: auto, cpu, cuda, cuda:1, ... (default: auto)
        workers: processes; 0 works in this one, several may share a GPU (default: one per core, one per GPU)
        engine: runs side by side: gradients one by one (loop) or at once (fused); separate: one after another
            (default: auto, what is faster there)
        timeout: seconds per run, and to measure a cell (default: 3600)
        on_existing: runs that have failed, or crashed twice, are left alone (skip) or tried again (retry-failed);
            force also deletes what is stored of the suite's runs and trains it anew (default: retry-failed)
        adopt: a result set, or hf:owner/name, whose measurements are believed: cells that it has measured, of the same runs by the same versions,
            are taken over, and their runs are not trained; so a suite takes several sittings, or machines. May be given
            several times
        shard: i/n: train only the i-th of n parts of the runs and measure nothing; the same command without it
            measures them all, and trains what is missing then
        executor: where runs are trained: here, by jobs of a Slurm cluster whose nodes see the results folder, or by
            workers on a Ray cluster, which need not see it (default: local)
        jobs: of the Slurm cluster, each a worker with these options (default: 1)
        slurm: parameters of the jobs, as submitit names them: timeout_min=600 gpus_per_node=1 slurm_partition=gpu
        ray: the cluster and what one worker has of it: address=HOST:PORT working_dir=. num_cpus=1 num_gpus=0.25
            (default: the cluster that runs here, or one of this machine alone, and a CPU)
        dry_run: say what would be trained, and its cost

    Raises:
        UniversalityError: for anything that can be known to be wrong before training, and for a folder that
            cannot be written, or for runs that this machine has no room for.

    Examples:
        universality run --suite quick --dry-run
        universality run --architectures mlp 'cnn[width=8]' --tasks digits --phenomena neural_collapse --seeds 5
        universality run --suite cross --adopt results/cross-cpu
    """
    from universality.commands.conclude import conclude
    from universality.commands.interim import interim_reports
    from universality.commands.report import command_line as report_command
    from universality.commands.report import is_finished
    from universality.commands.worker import command_line
    from universality.errors import BadParameter
    from universality.judge.adopted import Adopted
    from universality.judge.foreseen import too_few_replicates
    from universality.judge.measure import failed_measuring
    from universality.output.build import rebuild
    from universality.plan.edited import edited_plugins
    from universality.plan.forecast import Forecast
    from universality.plan.jobs_json import JobsRecord
    from universality.plan.plan import unscaled, unvalidated
    from universality.plan.planner import Planner
    from universality.plan.shards import share
    from universality.plan.suite import choose
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.sharing.hub import local
    from universality.store.environment import environment
    from universality.store.layout import Layout
    from universality.store.siblings import take_over
    from universality.store.store import Store
    from universality.text import clock, plain
    from universality.train.device import configure, find_device, gpus
    from universality.train.executors.local import default_slots
    from universality.train.executors.process import leave_if_imported_by_worker
    from universality.train.executors.ray import RayCluster, RayOptions, imported
    from universality.train.executors.remote import run_all
    from universality.train.executors.slurm import parsed, run_jobs
    from universality.train.launch import check_tried, missing, train
    from universality.train.messages import WorkerSettings

    leave_if_imported_by_worker()
    check_numbers(workers, timeout, jobs)
    part, parameters, of_cluster = shard or "1/1", parsed(slurm), RayOptions.parsed(ray)
    share((), part)  # refused before anything is planned
    if shard and executor != "local":
        raise BadParameter(
            "a shard is trained here", got=f"--shard {shard} --executor {executor}", do="leave out one"
        )
    if executor == "ray":
        imported()
    started = time.monotonic()
    configure(threads=1)
    axes = several(architectures), several(tasks), several(phenomena)
    chosen = choose(suite, *axes, seeds, name)
    folders = several(plugins)
    registry.load_plugins(map(Path, folders))
    where = find_device(device)
    root = resolved(data_root)
    folder = Path(results) / chosen.name
    # A dry run too refuses a folder of another version.
    present = Store.open(folder) if Layout(folder).manifest.exists() else None
    anew = on_existing == "force"
    if anew and adopt:
        raise BadParameter(
            "what is trained anew is not taken over", got="--on-existing force --adopt", do="leave out one"
        )
    adopted = Adopted() if anew else Adopted.of(Layout(folder), map(local, several(adopt)))
    plan = Planner(root).add_suite(chosen)
    adopted.mark(plan, present)
    slots = default_slots(gpus(where)) if workers is None else workers
    kind, cluster = where.type, None
    if executor == "ray":
        kind = "ray"
        if not dry_run:
            cluster = RayCluster(of_cluster, str(where), workers)
            slots = cluster.slots
    for line in (*unvalidated(plan, chosen), *too_few_replicates(plan), *unscaled(plan)):
        print(f"note: {plain(line, 600)}", file=sys.stderr)
    forecast = Forecast(plan, slots, kind, folder)
    forecast.check_fits()
    if dry_run:
        return forecast

    store = Store.create(folder)
    if anew:
        store.forget_adopted()
    adopted.keep(store)
    planned = JobsRecord.of(plan, chosen, list(map(str, folders)))
    store.write(store.layout.jobs, planned.file())
    asked = share(list(plan.open_jobs.values()), part)
    to_train = missing(asked, store, anew=anew)
    if not anew:
        wanted = {job.spec.id: job.observe for job in to_train}
        for other, number in take_over(wanted, store, environment(str(where))).items():
            print(f"note: {number} runs taken over from {plain(other)}", file=sys.stderr)
        to_train = missing(to_train, store)
    if executor == "local":
        forecast.check_time(to_train)
    for line in edited_plugins(to_train, store):
        print(f"note: {plain(line, 600)}", file=sys.stderr)
    if plan.adopted:
        line = f"note: {len(plan.adopted)} cells and controls are taken over, and {len(plan.jobs) - len(plan.open_jobs)} runs not needed"
        print(line, file=sys.stderr)
    print(
        f"{chosen.name}: {len(plan.cells)} cells and controls, {len(asked)} runs{f' in shard {shard}' if shard else ''}, "
        f"{len(asked) - len(to_train)} stored, {len(to_train)} to train on {forecast.workers}, "
        f"about {clock(sum(job.seconds for job in to_train) / max(1, slots))}",
        file=sys.stderr,
    )
    settings = WorkerSettings(
        store_root=store.layout.root,
        device=str(where),
        plugins=tuple(map(str, folders)),
        data_root=root,
        engine=engine,
    )
    retry = on_existing != "skip"
    if executor == "slurm" and to_train:
        options = command_line(device, workers, engine, timeout, folders, root)
        # Only the first forgives earlier failures: the others would forgive what has just failed.
        forgiving = ["retry-failed" if retry and number == 0 else "skip" for number in range(jobs)]
        commands = [[*options, str(folder.resolve()), "--on-existing", each] for each in forgiving]
        run_jobs(commands, folder.with_name(f"{folder.name}.slurm"), chosen.name, parameters)
        check_tried(to_train, store)
    elif cluster is not None:
        with closing(cluster):
            remote = partial(run_all, cluster=cluster, planned=planned, own_data=data_root is None)
            copied = tuple(map(of_cluster.path, settings.plugins))
            there = replace(settings, device=cluster.device, plugins=copied)
            train(to_train, there, slots=slots, timeout_s=timeout, retry_failed=retry, elsewhere=remote)
    elif to_train or shard:
        # A finished table stands until there is another.
        tables = shard or is_finished(store)
        command = report_command(folder, folders, root)
        with nullcontext() if tables else interim_reports(command, store.layout.runs):
            trained = train(
                to_train, settings, slots=slots, timeout_s=timeout, retry_failed=retry, wait=not shard
            )
        if shard:
            return trained
    # No device is used for that: one GPU leaves most cores idle.
    measuring = default_slots() if workers is None or cluster else workers
    records = conclude(
        plan,
        chosen,
        store,
        settings,
        adopted,
        slots=measuring,
        timeout_s=timeout,
        data_root=data_root is not None,
        wall_seconds=time.monotonic() - started,
    )
    failed = tuple(id for id, job in plan.open_jobs.items() if not store.covers(id, job.observe))
    return Finished(rebuild(store), failed, tuple(failed_measuring(records)))


def show(result: Finished | Forecast | Trained) -> int:
    """Returns 0, or 3 where some runs failed, crashed or timed out, or could not be measured."""
    from universality.commands.worker import show as show_trained
    from universality.judge.foreseen import foreseen_prevalence
    from universality.output.build import print_summary
    from universality.plan.forecast import Forecast
    from universality.text import plain

    if isinstance(result, Forecast):
        lines = [*result.lines(), *foreseen_prevalence(result.plan)]
        print(plain("\n".join(lines), None, lines=True))
        return 0
    if not isinstance(result, Finished):
        return show_trained(result)
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


def check_numbers(workers: int | None, timeout: float, jobs: int = 1) -> None:
    """Raises `BadParameter`."""
    from universality.errors import BadParameter

    if workers is not None and workers < 0:
        raise BadParameter("--workers is a number of processes", got=str(workers), expected="0 or more")
    if jobs < 1:
        raise BadParameter("--jobs is a number of jobs", got=str(jobs), expected="1 or more")
    if not 0 < timeout < float("inf"):
        raise BadParameter("--timeout is a number of seconds", got=f"{timeout:g}", expected="above 0")
