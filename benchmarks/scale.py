"""Time and memory of the commands against the number of cells and runs.

    python benchmarks/scale.py                        1,000, 10,000 and 100,000 runs in 200, 2,000 and 20,000 cells
    python benchmarks/scale.py --cells 200 2000       of these only
    python benchmarks/scale.py --keep FOLDER          leave the sets there; those that are there are used again
    python benchmarks/scale.py --json FILE            the numbers as well as the table

Sets are made up: the planner plans them, their runs are random curves, and all else is what the commands make of them.
Every step is a process of its own; its time is CPU time, its memory the peak. `measure` is the command `run` with all
runs stored, which plans, measures and reports; `measure again` is the same with nothing changed. Growth is the exponent
of the time from the size before, 1 where it is proportional to cells. The largest set takes some 3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from universality.commands import check, compare, leaderboard, report, run, status
from universality.judge.resultset import ResultSet
from universality.output.page.render import frame
from universality.plan.plan_json import PlanRecord
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite, load
from universality.plugin import registry
from universality.plugin.kit.data import data_root
from universality.plugin.spec import RunSpec
from universality.plugin.trajectory import Series
from universality.store import measurements
from universality.store.environment import environment
from universality.store.recording import Observed, Recording, encode_recording
from universality.store.store import Store

CROSSES = {200: (5, 4), 2_000: (20, 10), 20_000: (50, 40)}
"""Architectures and tasks, by the number of cells: each pair is asked of ten phenomena, over five seeds."""

LIMIT = 60.0
"""CPU seconds for each of the commands that only plan or read."""

UNLIMITED = ("make", "measure", "copy")

PLUGINS = Path(__file__).parent / "scale_plugins"


def suite(root: Path, cells: int) -> Suite:
    architectures, tasks = CROSSES[cells]
    cross = CrossSpec(
        phenomena=tuple(f"falling_{number}" for number in range(10)),
        architectures=tuple(f"mlp[width={8 + number}]" for number in range(architectures)),
        tasks=tuple(f"gaussian_mixture[subset={400 + number}]" for number in range(tasks)),
    )
    return Suite(name=root.name, crosses=(cross,), description="made up")


def make(root: Path) -> None:
    """What `run` leaves when all is trained, with random curves for runs."""
    store, chosen = Store.create(root), load(str(suite_file(root)))
    registry.load_plugins([PLUGINS])
    plan = Planner(data_root(None)).add_suite(chosen)
    store.write(store.layout.suite, chosen.toml())
    store.write(
        store.layout.plan, PlanRecord.of(plan, chosen, environment("cpu"), plugins=[str(PLUGINS)]).file()
    )
    for job in plan.jobs.values():
        folder = store.layout.recording(job.spec.id, 1)
        folder.mkdir()
        for name, data in encode_recording(made_up(job.spec, job.observe), environment("cpu")).items():
            (folder / name).write_bytes(data)


def made_up(spec: RunSpec, observe: Observed) -> Recording:
    """Accuracies that rise, and a loss that falls nearly to, or below, what is claimed of it."""
    random = np.random.default_rng(abs(hash(str(spec.architecture) + str(spec.task))) % 2**32 + spec.seed)
    ratio = (0.3, 0.88, 1.2)[hash(str(spec.task)) % 3] * math.exp(0.05 * random.standard_normal())
    loss = np.geomspace(1.0, ratio, spec.recipe.steps) * np.exp(
        0.01 * random.standard_normal(spec.recipe.steps)
    )
    series = {"train_loss": Series(np.arange(spec.recipe.steps), loss)}
    for split in ("train", "validation"):
        (steps,) = (np.array(steps) for steps in observe.values())
        series[f"accuracy.{split}"] = Series(steps, np.sort(random.random(len(steps))))
    return Recording(
        spec=spec,
        state="done",
        series=series,
        arrays={},
        observed=observe,
        facts={"lr": spec.recipe.lr, "probe_seconds": 0.01},
        seconds=0.3,
        log="made up\n",
    )


def copy(root: Path) -> None:
    """A second set without runs, whose effects differ a little."""
    other, random = beside(root), np.random.default_rng(1)
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("runs", "tmp", "report"))
    store, changed = Store.open(other), []
    for record in measurements.read(store.layout.measurements):
        groups = []
        for group in record.groups:
            assert group.outcome is not None
            noise = math.exp(0.02 * random.standard_normal())
            outcome = msgspec.structs.replace(group.outcome, effect=noise * (group.outcome.effect or 0.0))
            groups.append(msgspec.structs.replace(group, outcome=outcome))
        changed.append(msgspec.structs.replace(record, groups=tuple(groups)))
    store.write_measurements(changed, store.layout.plan.read_bytes())


def page(root: Path) -> None:
    (root.parent / f"{root.name}.html").write_text(frame(ResultSet.load(root), "", 0))


def suite_file(root: Path) -> Path:
    return root.parent / f"{root.name}.toml"


def beside(root: Path) -> Path:
    return root.parent / f"{root.name}-again"


def planned(root: Path, *, dry_run: bool) -> None:
    options: Mapping[str, Any] = {
        "suite": str(suite_file(root)),
        "results": root.parent,
        "plugins": [PLUGINS],
    }
    run.show(run.run(**options, workers=0, dry_run=dry_run))


STEPS: Mapping[str, Callable[[Path], Any]] = {
    "plan": lambda root: planned(root, dry_run=True),
    "make": make,
    "measure": lambda root: planned(root, dry_run=False),
    "measure again": lambda root: planned(root, dry_run=False),
    "status": lambda root: status.show(status.status(root)),
    "report": lambda root: report.show(report.report(root)),
    "page": page,
    "check": lambda root: check.show(check.check([str(root)])),
    "copy": copy,
    "compare": lambda root: compare.show(compare.compare(root, beside(root))),
    "leaderboard": lambda root: leaderboard.show(leaderboard.leaderboard([root])),
}


def measured(folder: Path, cells: int, steps: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each step at one size."""
    root = folder / f"scale-{cells}"
    suite_file(root).write_text(suite(root, cells).toml())
    for name in steps:
        if name in UNLIMITED and (root.parent / f".{root.name}-{name}").exists():
            continue
        command = [sys.executable, __file__, "--step", name, "--keep", str(root)]
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ)
        said = process.stderr.read().decode() if process.stderr else ""
        _, code, used = os.wait4(process.pid, 0)
        row = {
            "cells": cells,
            "step": name,
            "seconds": round(used.ru_utime + used.ru_stime, 2),
            "mb": round(used.ru_maxrss / 1024),
        }
        print(f"{cells:>6} cells, {name}: {row['seconds']:.1f} s, {row['mb']} MB", file=sys.stderr)
        if code:
            raise SystemExit(f"{name} failed:\n{said}")
        if name in UNLIMITED:
            (root.parent / f".{root.name}-{name}").touch()
        yield row


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Seconds, memory and growth of each step, a column for each size."""
    sizes = sorted({row["cells"] for row in rows})
    found = {(row["step"], row["cells"]): row for row in rows}
    lines = ["step".ljust(16) + "".join(f"{size:>7,} cells: s, MB, growth" for size in sizes)]
    for name in STEPS:
        texts = []
        for place, size in enumerate(sizes):
            row, before = found.get((name, size)), found.get((name, sizes[place - 1])) if place else None
            growth = ""
            if row and before and before["seconds"]:
                growth = (
                    f"{math.log(row['seconds'] / before['seconds']) / math.log(size / before['cells']):.2f}"
                )
            texts.append(f"{row['seconds']:10.1f} {row['mb']:7} {growth:>8}" if row else " " * 27)
        lines.append(name.ljust(16) + " ".join(texts))
    return "\n".join(lines)


def main() -> int:
    described = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=described)
    parser.add_argument("--cells", type=int, nargs="+", choices=CROSSES, default=list(CROSSES))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.keep)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for cells in options.cells for row in measured(folder.resolve(), cells, options.steps)]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["seconds"] > LIMIT for row in rows if row["step"] not in UNLIMITED))


if __name__ == "__main__":
    sys.exit(main())
