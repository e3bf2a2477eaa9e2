"""What it costs that workers find their work themselves, as ratios on the same cores.

    python benchmarks/workers.py                 some 25 minutes on two idle cores
    python benchmarks/workers.py --quick         smaller work, one round: a check that it runs
    python benchmarks/workers.py --json FILE     the numbers as well as the table

    two     two processes that join one results folder, a core each, against one process on one core: at most .55
    slots   16 slots of one process on one core against 16 processes on that core, each with a share of the runs and a
            folder of its own, and without queue, leases or supervision: at most 1.03

The work is real: runs of one network on a task, a worker per slot, nothing stacked, everything published. Each is timed
for a number of runs and for three times as many: `whole` is the ratio of the wall times of the larger work, with the start
of all workers, `further` that of the differences, in which the starts cancel, and `cpu` is `further` of the CPU seconds of
all processes (Linux): what shares a core with this leaves them nearly as they are. `two` is a matter of wall time, `slots`
of CPU time. Rounds are interleaved, medians are taken. On a machine that does other work wall times say nothing.

The other side of `slots` has 16 processes as well, since those that share a core evict each other's caches: with no folder
and no queue they took 1.23 and 1.38 of one process's time on a core of an AMD EPYC.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Self

from universality.plan.plan import Job
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.store.store import Store
from universality.train.device import configure
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings
from universality.train.queue import planned
from universality.train.worker import prepare

SIZES = {"two": (24, 6000, 3), "slots": (16, 3000, 2)}
"""Runs, steps of each, rounds."""
QUICK = 4, 200, 1
SLOTS = 16
TARGETS = {"two": 0.55, "slots": 1.03}


def jobs(runs: int, steps: int, first: int = 0) -> list[Job]:
    network, task = registry.resolve("architecture", "mlp[width=64]"), registry.resolve("task", "digits")
    recipe = Recipe(steps=steps, lr=0.01, momentum=0.9, batch_size=64)
    specs = [RunSpec(component(network), component(task), recipe, first + seed) for seed in range(runs)]
    return [Job(spec, {"accuracy": (0, steps)}, 1.0) for spec in specs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One that trains on a core: all runs of the folder that it shares in so many slots, or alone a share of the runs
    in a folder of its own."""

    core: int
    slots: int = 1
    share: tuple[int, int] | None = None


def start(root: Path, runs: int, steps: int, process: Process) -> None:
    """Train what the folder lacks, once told to go: what a process sets up once is set up by then."""
    os.sched_setaffinity(0, [process.core])
    configure(threads=1)
    registry.load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        _train(jobs(1, 1), Store.create(Path(folder) / "warm").layout.root, process)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return  # whoever asked is gone
    _train(_shared(jobs(runs, steps), process.share), root, process)
    print("done", flush=True)


def _shared(work: Sequence[Job], share: tuple[int, int] | None) -> Sequence[Job]:
    return work if share is None else work[share[0] :: share[1]]


def _train(work: Sequence[Job], root: Path, process: Process) -> None:
    settings = WorkerSettings(store_root=root, device="cpu", plugins=(), data_root=Path())
    if process.share is None:
        ended = run_all(
            work, settings, slots=process.slots, timeout_s=3600, on_event=lambda event: None, wait=False
        )
        states = set(ended.values())
    else:
        train = prepare(settings)
        states = {reply.state for job in work for reply in train(planned([job]))}
    if states - {"done"}:
        raise SystemExit(f"ended as {sorted(states)}")


def seconds(runs: int, steps: int, processes: Sequence[Process]) -> tuple[float, float]:
    """Wall seconds until all is trained, and CPU seconds of all processes; NaN where nobody counts them."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        shared = Store.create(Path(folder) / "shared").layout.root
        roots = [
            shared if process.share is None else Store.create(Path(folder) / f"{number}").layout.root
            for number, process in enumerate(processes)
        ]
        pipe = subprocess.PIPE
        started = [
            running.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        __file__,
                        "--start",
                        json.dumps([str(root), runs, steps, asdict(process)]),
                    ],
                    stdin=pipe,
                    stdout=pipe,
                    text=True,
                )
            )
            for root, process in zip(roots, processes, strict=True)
        ]
        for each in started:
            _hear(each, "ready")
        counted = running.enter_context(_Counted([each.pid for each in started]))
        begun = time.perf_counter()
        for each in started:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        for each in started:
            _hear(each, "done")
        taken = time.perf_counter() - begun, counted.seconds
        for root, process in zip(roots, processes, strict=True):
            stored = Store.open(root)
            if not all(
                stored.covers(job.spec.id, job.observe) for job in _shared(jobs(runs, steps), process.share)
            ):
                raise SystemExit("some runs are not stored")
        return taken


class _Counted:
    """CPU seconds of processes and of all that descend from them, also of those that end before all do (up to half a
    second of each)."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids, self._end = pids, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = _spent(self._pids)
        self._last = dict(self._before)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            self._last.update(_spent(self._pids))

    @property
    def seconds(self) -> float:
        self._last.update(_spent(self._pids))
        return sum(self._last.values()) - sum(self._before.values()) if self._last else math.nan


def _spent(pids: Sequence[int]) -> dict[int, float]:
    """CPU seconds by process, of these and their descendants; of none where there is no /proc."""
    parents, ticks = dict[int, int](), dict[int, int]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = file.read_text().rpartition(")")[2].split()
            pid = int(file.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours, more = set[int](), set(pids) & parents.keys()
    while more:
        ours |= more
        more = {pid for pid, parent in parents.items() if parent in more}
    return {pid: ticks[pid] / os.sysconf("SC_CLK_TCK") for pid in ours}


def _hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    if (said := process.stdout.readline().strip()) != word:
        raise SystemExit(f"a worker said {said!r} instead of {word!r}")


def sides(section: str, runs: int) -> tuple[list[Process], list[Process]]:
    """What is compared: of the second against the first. No more slots than runs."""
    first, *others = sorted(os.sched_getaffinity(0))
    if section == "two":
        return [Process(core=first)], [Process(core=core) for core in (first, *others[:1])]
    slots = min(SLOTS, runs)
    apart = [Process(core=first, share=(number, slots)) for number in range(slots)]
    return apart, [Process(core=first, slots=slots)]


def measure(section: str, runs: int, steps: int, rounds: int) -> dict[str, float]:
    """Ratios of the medians, and the wall seconds of one run on the first side."""
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for size in (runs, 3 * runs):
            for number, processes in enumerate(sides(section, runs)):
                found.setdefault((number, size), []).append(seconds(size, steps, processes))

    def of(side: int, size: int, kind: int) -> float:
        return median(each[kind] for each in found[side, size])

    def further(side: int, kind: int) -> float:
        return of(side, 3 * runs, kind) - of(side, runs, kind)

    return {
        "seconds": further(0, 0) / (2 * runs),
        "whole": of(1, 3 * runs, 0) / of(0, 3 * runs, 0),
        "further": further(1, 0) / further(0, 0),
        "cpu": further(1, 1) / further(0, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sections", nargs="+", choices=tuple(TARGETS), default=list(TARGETS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        root, runs, steps, process = json.loads(options.start)
        start(Path(root), runs, steps, Process(**process))
        return
    registry.load_plugins()
    numbers = {}
    print(f"{'section':<8} {'seconds a run':>13} {'whole':>7} {'further':>8} {'cpu':>7} {'at most':>8}")
    for section in options.sections:
        if section == "two" and len(os.sched_getaffinity(0)) < 2:
            print(f"{section:<8} needs two cores")
            continue
        row = numbers[section] = measure(section, *(QUICK if options.quick else SIZES[section]))
        print(
            f"{section:<8} {row['seconds']:>13.2f} {row['whole']:>7.3f} {row['further']:>8.3f}"
            f" {row['cpu']:>7.3f} {TARGETS[section]:>8.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
