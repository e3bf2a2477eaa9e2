"""What it costs that workers find their work themselves, as ratios of wall times on the same cores.

    python benchmarks/workers.py                 some 20 minutes on two idle cores
    python benchmarks/workers.py --quick         smaller work, one round: a check that it runs
    python benchmarks/workers.py --json FILE     the numbers as well as the table

    two     two processes that join one results folder, a core each, against one process on one core: at most .55
    slots   16 slots of one process on one core against one slot on that core: at most 1.03

The work is real: runs of one network on a task, a worker per slot, nothing stacked, everything published. Each is timed
for `RUNS` runs and for three times as many: `whole` is the ratio of the times of the larger work, with the start of all
workers, `further` that of the differences, in which the starts cancel. Rounds are interleaved, medians are taken. On a
machine that does other work at the same time the ratios say nothing.

What `slots` measures is not coordination alone: 16 processes that share a core evict each other's caches. The same
trainings in 16 processes with no folder and no queue took 1.23 and 1.38 of one process's time on a core of an AMD EPYC, where
`further` was 1.16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from universality.plan.plan import Job
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.store.store import Store
from universality.train.device import configure
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings

RUNS, STEPS, ROUNDS = 24, 6000, 3
QUICK = 2, 200, 1
TARGETS = {"two": 0.55, "slots": 1.03}


def jobs(runs: int, steps: int, first: int = 0) -> list[Job]:
    network, task = registry.resolve("architecture", "mlp[width=64]"), registry.resolve("task", "digits")
    recipe = Recipe(steps=steps, lr=0.01, momentum=0.9, batch_size=64)
    specs = [RunSpec(component(network), component(task), recipe, first + seed) for seed in range(runs)]
    return [Job(spec, {"accuracy": (0, steps)}, 1.0) for spec in specs]


def join(root: Path, runs: int, slots: int, steps: int, cores: Sequence[int]) -> None:
    """Train what the folder lacks, once told to go: the fork server runs by then, and has served one run."""
    os.sched_setaffinity(0, cores)
    configure(threads=1)
    registry.load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        _train(jobs(1, 1), Store.create(Path(folder) / "warm").layout.root, 1)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return  # whoever asked is gone
    _train(jobs(runs, steps), root, slots)
    print("done", flush=True)


def _train(work: Sequence[Job], root: Path, slots: int) -> None:
    settings = WorkerSettings(store_root=root, device="cpu", plugins=(), data_root=Path())
    states = run_all(work, settings, slots=slots, timeout_s=3600, on_event=lambda event: None, wait=False)
    if set(states.values()) - {"done"}:
        raise SystemExit(f"ended as {sorted(set(states.values()))}")


def seconds(runs: int, steps: int, slots: int, cores: Sequence[Sequence[int]]) -> float:
    """Wall seconds until all is trained, by a process for each of `cores`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Store.create(Path(folder) / "r").layout.root
        common = [sys.executable, __file__, "--join", str(root), str(runs), str(slots), str(steps)]
        commands = [[*common, ",".join(map(str, each))] for each in cores]
        pipe = subprocess.PIPE
        processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for command in commands]
        for process in processes:
            _hear(process, "ready")
        start = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _hear(process, "done")
        taken = time.perf_counter() - start
        for process in processes:
            process.communicate()
        stored = Store.open(root)
        if not all(stored.covers(job.spec.id, job.observe) for job in jobs(runs, steps)):
            raise SystemExit("some runs are not stored")
        return taken


def _hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    if (said := process.stdout.readline().strip()) != word:
        raise SystemExit(f"a worker said {said!r} instead of {word!r}")


def measure(section: str, runs: int, steps: int, rounds: int) -> dict[str, float]:
    """Ratios of the medians, and the seconds of one run on one core."""
    first, *others = sorted(os.sched_getaffinity(0))
    one = (1, [[first]])
    many = (1, [[first], others[:1]]) if section == "two" else (16, [[first]])
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(rounds):
        for size in (runs, 3 * runs):
            for number, (slots, cores) in enumerate((one, many)):
                times.setdefault((number, size), []).append(seconds(size, steps, slots, cores))
    small, large = ([median(times[number, size]) for number in (0, 1)] for size in (runs, 3 * runs))
    return {
        "seconds": (large[0] - small[0]) / (2 * runs),
        "whole": large[1] / large[0],
        "further": (large[1] - small[1]) / (large[0] - small[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sections", nargs="+", choices=tuple(TARGETS), default=list(TARGETS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--join", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        root, runs, slots, steps, cores = options.join
        join(Path(root), int(runs), int(slots), int(steps), [int(core) for core in cores.split(",")])
        return
    registry.load_plugins()
    numbers = {}
    print(f"{'section':<8} {'seconds a run':>13} {'whole':>7} {'further':>8} {'at most':>8}")
    for section in options.sections:
        if section == "two" and len(os.sched_getaffinity(0)) < 2:
            print(f"{section:<8} needs two cores")
            continue
        row = numbers[section] = measure(section, *(QUICK if options.quick else (RUNS, STEPS, ROUNDS)))
        print(
            f"{section:<8} {row['seconds']:>13.2f} {row['whole']:>7.3f} {row['further']:>8.3f}"
            f" {TARGETS[section]:>8.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
