"""`universality run`: plan, train what is missing, measure, report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from universality.errors import BadSuite
from universality.judge.measure import failed_measuring, measure_cell
from universality.plan import suite as suites
from universality.plan.planner import Job, Plan, Planner, total_seconds
from universality.plan.stacks import most_members
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite, check_name
from universality.plugin import registry
from universality.plugin.kit.data import data_root
from universality.plugin.records import CellRecord, missing_signs
from universality.plugin.registry import component
from universality.report.build import print_summary, rebuild
from universality.store.environment import cores, environment
from universality.store.files import encode_json
from universality.store.layout import published
from universality.store.store import Store
from universality.train.executors.local import default_slots, run_all
from universality.train.progress import Progress, clock
from universality.train.worker import configure, find_device, gpus

SILENCE = 10.0
"""Seconds of measuring after which it is said how far that is."""


def run(options: argparse.Namespace) -> int:
    """Returns 0, or 3 where some runs failed, crashed or timed out, or could not be measured."""
    started = time.monotonic()
    configure(threads=1)
    suite = chosen_suite(options)
    registry.load_plugins(Path(p) for p in options.plugins)
    device = find_device(options.device)
    root = data_root(options.data_root)
    plan = Planner(root).add_suite(suite)
    slots = default_slots(gpus(device)) if options.workers is None else options.workers
    workers = f"{slots} {device.type} worker(s)" if slots else "this process"
    for line in unvalidated(plan, suite):
        print(f"note: {line}", file=sys.stderr)
    if options.dry_run:
        describe(plan, slots, workers)
        return 0

    store = Store.create(Path(options.results) / suite.name)
    store.write(store.layout.suite, suite.toml())
    _write_plan(store, suite, plan, options, (), str(device), 0.0)
    todo = [job for job in plan.jobs.values() if not store.covers(job.spec.id, job.observe)]
    print(
        f"{suite.name}: {len(plan.cells)} cells and controls, {len(plan.jobs)} runs, "
        f"{len(plan.jobs) - len(todo)} stored, {len(todo)} to train on {workers}, "
        f"about {clock(total_seconds(todo) / max(1, slots))}",
        file=sys.stderr,
    )
    if todo:
        train(store, todo, slots, str(device), options, root)
    configure(threads=cores())
    records = measure(store, plan)
    _write_plan(store, suite, plan, options, records, str(device), time.monotonic() - started)
    print_summary(rebuild(store))
    unmeasured = failed_measuring(records)
    for line in unmeasured:
        print(f"not measured: {line}", file=sys.stderr)
    broken = [job for job in plan.jobs.values() if not store.covers(job.spec.id, job.observe)]
    if broken:
        print(
            f"{len(broken)} runs failed; see {store.layout.failed}, the same command tries them again",
            file=sys.stderr,
        )
    return 3 if broken or unmeasured else 0


def unvalidated(plan: Plan, suite: Suite) -> list[str]:
    """A line for each claim that no controls can validate, before anything is trained."""
    signs: dict[tuple[str, str], set[str]] = {}
    for cell in plan.cells:
        for claim in cell.phenomenon.claims if cell.control is None else cell.control.expects:
            known = signs.setdefault((cell.phenomenon.name, claim), set())
            if cell.control is not None:
                known.add(cell.control.sign)
    where = "" if suite.controls else " in this suite"
    return [
        f"{name}.{claim} has no {' and no '.join(lacking)} control{where}: its row will be unvalidated"
        for (name, claim), known in signs.items()
        if (lacking := missing_signs(known))
    ]


def chosen_suite(options: argparse.Namespace) -> Suite:
    """The suite named, or a cross of the user's own. Raises `BadSuite` for a mixture of the two."""
    lists = {k: getattr(options, k) for k in ("phenomena", "architectures", "tasks")}
    given = [f"--{key}" for key, value in lists.items() if value]
    if not given:
        if options.seeds is not None:
            raise BadSuite("--seeds belongs to a cross of your own", do="set seeds in the suite's file")
        suite = suites.load("quick" if options.suite is None else options.suite)
        return suite if options.name is None else replace(suite, name=check_name(options.name))
    if options.suite or len(given) < 3:
        raise BadSuite(
            "a cross of your own needs all three axes, and no --suite",
            got=" ".join(given + (["--suite"] if options.suite else [])),
            expected="--phenomena ... --architectures ... --tasks ...",
        )
    seeds = DEFAULT_SEEDS if options.seeds is None else options.seeds
    if seeds < 1:
        raise BadSuite("--seeds is a number of replicates", got=str(seeds), expected=">= 1")
    axes = {key: tuple(dict.fromkeys(value)) for key, value in lists.items()}
    return Suite(
        name=check_name("custom" if options.name is None else options.name),
        crosses=(CrossSpec(**axes, seeds=seeds),),
    )


def train(
    store: Store, todo: list[Job], slots: int, device: str, options: argparse.Namespace, root: Path
) -> None:
    """Train the jobs, longest first, so that no long one is left to a single worker at the end."""
    ordered = sorted(todo, key=lambda job: -job.seconds)
    for job in ordered:
        job.stack = most_members(
            job.parameters, job.data_bytes, job.seconds, on_gpu=device.startswith("cuda")
        )
    progress = Progress({job.spec.id: job.seconds for job in ordered}, slots)
    try:
        run_all(
            ordered,
            slots=slots,
            store_root=store.layout.root,
            device=device,
            plugins=tuple(options.plugins),
            data_root=str(root),
            timeout_s=options.timeout,
            on_event=progress.notice,
            engine=options.engine,
        )
    finally:
        progress.close()


def measure(store: Store, plan: Plan) -> list[CellRecord]:
    """Measure every cell and control from what is stored; the folder then holds these and no others."""
    records: list[CellRecord] = []
    wanted: set[Path] = set()
    said = time.monotonic()
    for done, cell in enumerate(plan.cells):
        if time.monotonic() - said > SILENCE:
            said = time.monotonic()
            print(f"measured {done} of {len(plan.cells)} cells and controls", file=sys.stderr, flush=True)
        for record in measure_cell(cell, store):
            records.append(record)
            wanted.add(store.save_measurement(record))
    for path in store.layout.measurements.glob("*.json"):
        if path not in wanted:
            path.unlink()
    return records


def describe(plan: Plan, slots: int, workers: str) -> None:
    """What `--dry-run` prints."""
    for cell in plan.cells:
        runs = {run for group in cell.groups for run in group.runs.values()}
        what = f"not applicable: {cell.not_applicable}" if cell.not_applicable else f"{len(runs)} runs"
        control = f"  ({cell.control.sign} control: {cell.control.name})" if cell.control else ""
        swept = "  (swept, not counted)" if cell.swept else ""
        print(f"{component(cell.phenomenon)}  {cell.architecture}  {cell.task}  {what}{control}{swept}")
    total = total_seconds(plan.jobs.values())
    probes = sum(job.probe_seconds for job in plan.jobs.values())
    print(
        f"{len(plan.jobs)} distinct runs, about {clock(total)} on one core, "
        f"{clock(total / max(1, slots))} on {workers}; probes take {probes / max(total, 1e-9):.0%} of it"
    )


def _write_plan(
    store: Store,
    suite: Suite,
    plan: Plan,
    options: argparse.Namespace,
    records: Sequence[CellRecord],
    device: str,
    seconds: float,
) -> None:
    phenomena = {cell.phenomenon.name: cell.phenomenon for cell in plan.cells}
    content: dict[str, Any] = {
        "suite": suite.name,
        "description": suite.description,
        "plugins": [published(folder) for folder in options.plugins],
        "data_root": options.data_root is not None,
        "wall_seconds": round(seconds, 1),
        "run_seconds": round(store.seconds(plan.jobs), 1),
        "probe_seconds": round(store.probe_seconds(plan.jobs), 1),
        "environment": environment(device),
        "phenomena": {
            name: {"title": p.title, "strand": p.strand, "sense": p.sense, "source": p.source}
            for name, p in phenomena.items()
        },
        "variants": {
            str(part): {"name": part.name, "params": dict(part.params)}
            for part in (component(cell.phenomenon) for cell in plan.cells)
        },
        "tasks": {
            address: {"tier": tier}
            for address in dict.fromkeys(cell.task for cell in plan.cells)
            if (tier := registry.resolve("task", address).tier)
        },
        "cells": [record.id for record in records],
        "runs": {run_id: job.observe for run_id, job in plan.jobs.items()},
        "specs": {run_id: job.spec.record() for run_id, job in plan.jobs.items()},
    }
    store.write(store.layout.plan, encode_json(content).decode())
