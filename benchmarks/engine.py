"""Time of the training engine against what a user would write instead.

    python benchmarks/engine.py                 every section, some 20 minutes on two idle cores
    python benchmarks/engine.py --quick         fewer repeats, updates and networks
    python benchmarks/engine.py --json FILE     the numbers as well as the tables

Compared in one run, rounds interleaved, medians of at least five (three with --quick):

    plain   a DataLoader over a TensorDataset, one of torch's optimizers per network, torch's
            losses, images in torch's default format and `loss.item()` at every step, network
            after network; with torch's default threads and with one thread, in a process of its
            own, a new one every round, in which nothing of `universality.train.device.configure` is set
    bare    the same updates on tensors, without a loader and without looking at the loss; one thread
    ours    `train_stack` in as many processes as there are cores, one thread each

Overhead is CPU time of one network in one process; everything else is wall time, without the start
of Python and without reading data. Where a data set is not under the data root, random inputs of the
same shape stand in and the case says so. Where there is a GPU, `gpu` says what fusing brings and
`suites` how long whole suites take there.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from universality.errors import DataUnavailable
from universality.plan.stacks import most_members
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit import ImageAdapter
from universality.plugin.kit.data import data_root
from universality.plugin.kit.losses import objective
from universality.plugin.probe import Probe
from universality.plugin.registry import component
from universality.plugin.schedules import LogSpaced
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.task import Split, Splits
from universality.store.environment import cores, cpu_model
from universality.train.device import configure
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained, build_network
from universality.train.engine.optimizers import build_optimizer
from universality.train.messages import Engine

CPU = torch.device("cpu")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["universality.train.engine.loop", "universality.train.worker", "sklearn.datasets"]
)


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its data and recipe; `steps` take about a second."""

    name: str
    architecture: str
    task: str
    recipe: Recipe
    shape: tuple[int, ...] = ()
    """Of random inputs, where the task's data may be absent."""

    def with_steps(self, steps: int) -> Case:
        return replace(self, recipe=replace(self.recipe, steps=max(5, steps)))


SGD = Recipe(steps=1, lr=0.01, momentum=0.9, batch_size=64)
ADAMW = Recipe(steps=1, lr=1e-3, optimizer="adamw", weight_decay=1.0, beta2=0.98)
FASHION, TEXT = "fashion_mnist[subset=2000]", "char_lm[subset=5000]"
CASES = (
    Case("MLP, digits, batch 64", "mlp[width=64]", "digits", replace(SGD, steps=800)),
    Case("MLP, digits, full batch", "mlp[width=64]", "digits", replace(SGD, steps=300, batch_size=0)),
    Case("MLP, digits, AdamW", "mlp[width=64]", "digits", replace(ADAMW, steps=600, batch_size=64)),
    Case("CNN, Fashion-MNIST", "cnn[width=8]", FASHION, replace(SGD, steps=60, batch_size=128), (1, 28, 28)),
    Case(
        "ResNet, Fashion-MNIST",
        "resnet[width=8,blocks=1,stages=3]",
        FASHION,
        replace(SGD, steps=20, batch_size=128),
        (1, 28, 28),
    ),
    Case("transformer, p=31", "transformer[dim=32]", "modular[p=31]", replace(ADAMW, steps=80)),
    Case("LSTM, digits", "lstm[width=32]", "digits", replace(ADAMW, steps=200, batch_size=64)),
    Case("characters", "transformer[dim=32]", TEXT, replace(ADAMW, steps=40, batch_size=64), (32,)),
)
GROKKING = Case("one-block transformer, p=97", "transformer", "modular[p=97,train_fraction=0.3]", ADAMW)


# ---------------------------------------------------------------------------------- what is timed


@dataclass(kw_only=True)
class Nothing(Probe):
    """A record that costs nothing, so that what is timed is being called."""

    def record(self, training: Any) -> Mapping[str, float]:
        return {}


def splits_of(case: Case) -> tuple[Splits, bool]:
    """The case's data, and whether random inputs stand in."""
    task = registry.resolve("task", case.task)
    try:
        return task.load(np.random.default_rng(derive_seed("data", task.name, 0)), data_root()), False
    except DataUnavailable:
        if not case.shape:
            raise
    generator, rows = torch.Generator().manual_seed(0), task.subset
    text = len(case.shape) == 1
    inputs = (
        torch.randint(65, (rows, *case.shape), generator=generator)
        if text
        else torch.randn(rows, *case.shape, generator=generator)
    )
    outputs = 65 if text else 10
    spec = InputSpec("tokens", case.shape, 65) if text else InputSpec("image", case.shape)
    data = Split(inputs, torch.randint(outputs, (rows,), generator=generator))
    few = data.take(torch.arange(64))
    return Splits(data, few, few, spec, outputs), True


def members_of(case: Case, splits: Splits, seeds: Sequence[int], *, watched: bool = False) -> list[Member]:
    architecture, task = (
        registry.resolve("architecture", case.architecture),
        registry.resolve("task", case.task),
    )
    specs = [RunSpec(component(architecture), component(task), case.recipe, seed) for seed in seeds]
    steps = LogSpaced(30).steps(case.recipe.steps) if watched else ()
    return [Member(spec, architecture, splits, {"nothing": steps} if watched else {}) for spec in specs]


def plain(member: Member, *, evaluate: bool = False, all_positions: bool = False) -> nn.Module:
    """What a user would write.

    Args:
        evaluate: the validation loss at every step too.
        all_positions: a transformer's last block computes what nobody reads, too.
    """
    recipe, data = member.spec.recipe, member.splits.train
    net = build_network(member.spec, member.architecture, member.splits)
    if member.splits.inputs.kind == "image" and isinstance(net.adapter, ImageAdapter):
        net.adapter = nn.Identity()
    for module in net.modules() if all_positions else ():
        if hasattr(module, "last"):
            module.last = False  # type: ignore[assignment]
    optimizer, loss_of = build_optimizer(recipe, net.parameters(), recipe.lr), nn.CrossEntropyLoss()
    full = not 0 < recipe.batch_size < len(data)
    loader = (
        DataLoader(
            TensorDataset(data.inputs, data.targets),
            batch_size=recipe.batch_size,
            shuffle=True,
            drop_last=True,
        )
        if not full
        else [(data.inputs, data.targets)]
    )
    losses, step = [], 0
    while step < recipe.steps:
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(net(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if evaluate:
                with torch.no_grad():
                    losses.append(
                        loss_of(net(member.splits.validation.inputs), member.splits.validation.targets).item()
                    )
            step += 1
            if step == recipe.steps:
                break
    return net


def plain_in_its_process(case: Case, seeds: Sequence[int], threads: int, **how: bool) -> float:
    """Seconds of `plain` over these networks, in a new process as a user would start it.

    The way a worker holds on to freed memory and flushes denormal numbers would help the plain
    loop too: a ResNet of width 8 takes some 5,000 page faults an update without. A few updates go
    before, for what a process does but once.
    """
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as pool:
        return pool.submit(_time_plain, case, seeds, threads, **how).result()


def _time_plain(case: Case, seeds: Sequence[int], threads: int, **how: bool) -> float:
    registry.load_plugins()
    torch.set_num_threads(threads)
    splits = _splits(case)
    plain(members_of(case.with_steps(5), splits, [0])[0], **how)
    members = members_of(case, splits, seeds)
    started = time.perf_counter()
    for member in members:
        plain(member, **how)
    return time.perf_counter() - started


def bare(member: Member) -> nn.Module:
    """The same updates as ours, and nothing else."""
    recipe, data, seed = member.spec.recipe, member.splits.train, member.spec.seed
    net = build_network(member.spec, member.architecture, member.splits)
    optimizer, loss_of = build_optimizer(recipe, net.parameters(), recipe.lr), objective(recipe)
    inputs, targets, size = data.inputs, data.targets, recipe.batch_size
    per_epoch = len(targets) // size if 0 < size < len(targets) else 0
    order = torch.empty(0, dtype=torch.int64)
    for step in range(recipe.steps):
        batch, labels = inputs, targets
        if per_epoch:
            epoch, turn = divmod(step, per_epoch)
            if turn == 0:
                generator = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
                order = torch.randperm(len(targets), generator=generator)
            rows = order[turn * size : (turn + 1) * size]
            batch, labels = inputs.index_select(0, rows), targets.index_select(0, rows)
        optimizer.zero_grad()
        loss_of(net(batch), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net


def share(case: Case, seeds: Sequence[int], stack: int) -> int:
    """What one worker process does: its seeds in stacks; returns its peak memory in bytes."""
    splits = _splits(case)
    for begin in range(0, len(seeds), stack):
        train_stack(members_of(case, splits, seeds[begin : begin + stack]), CPU)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


_KEPT: dict[tuple[str, str], Splits] = {}


def _splits(case: Case) -> Splits:
    key = case.task, str(case.shape)
    if key not in _KEPT:
        _KEPT[key] = splits_of(case)[0]
    return _KEPT[key]


def _prepare() -> None:
    configure(threads=1)
    registry.load_plugins()
    registry._plugins["probe"]["nothing"] = Nothing


# ------------------------------------------------------------------------------------- sections


@dataclass(slots=True)
class Report:
    """Tables for people, and the same numbers for programs."""

    numbers: dict[str, Any]

    def table(self, title: str, note: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print(f"\n## {title}\n\n{note}\n")
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)
        self.numbers[title] = [dict(zip(head, row, strict=True)) for row in rows]


def interleaved(
    repeats: int, clock: Callable[[], float], ways: Mapping[str, Callable[[], object]]
) -> dict[str, list[float]]:
    """Seconds of every way in every round; the first round is not counted. A way that returns a
    number has timed itself."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            gc.collect()
            started = clock()
            found = way()
            taken[name].append(found if isinstance(found, float) else clock() - started)
    return {name: seconds[1:] for name, seconds in taken.items()}


def overhead(report: Report, cases: Sequence[Case], repeats: int) -> None:
    """Ours over bare: one network, one thread, CPU seconds; a probe that does nothing at 30 steps."""
    rows = []
    torch.set_num_threads(1)
    for case in cases:
        splits = _splits(case)
        (one,), (watched,) = members_of(case, splits, [0]), members_of(case, splits, [0], watched=True)
        taken = interleaved(
            repeats,
            time.process_time,
            {"ours": partial(train_stack, [watched], CPU), "bare": partial(bare, one)},
        )
        same = all(
            torch.equal(a, b)
            for a, b in zip(
                train_stack([watched], CPU)[0].net.parameters(), bare(one).parameters(), strict=True
            )
        )
        ours, theirs = median(taken["ours"]), median(taken["bare"])
        each = [f"{1e6 * seconds / case.recipe.steps:.0f}" for seconds in (ours, theirs)]
        rows.append([case.name, *each, f"{ours / theirs:.3f}", "yes" if same else "NO"])
    note = (
        "One network, one thread, CPU microseconds per update. Wanted: a ratio below 1.03, and equal weights."
    )
    report.table("Overhead over a bare loop", note, ["case", "ours", "bare", "ratio", "weights equal"], rows)


def throughput(report: Report, cases: Sequence[Case], repeats: int, counts: Sequence[int]) -> None:
    """N networks: ours on all cores against the plain loop on torch's default threads and on one."""
    slots, rows = cores(), []
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(slots, mp_context=PROCESSES, initializer=_prepare) as pool:
        # Long enough that every process starts and takes one.
        list(pool.map(time.sleep, [2.0] * slots))
        for case in cases:
            splits = _splits(case)
            net = build_network(
                *(lambda m: (m.spec, m.architecture, m.splits))(members_of(case, splits, [0])[0])
            )
            size, bytes_ = sum(p.numel() for p in net.parameters()), splits.train.inputs.nbytes
            for count in counts:
                fewer = case.with_steps(case.recipe.steps // math.isqrt(count))
                stack = most_members(size, bytes_, 1.0, on_gpu=False)
                stack = max(1, min(stack, math.ceil(count / slots)))
                peaks: list[int] = []

                def ours(
                    fewer: Case = fewer, count: int = count, stack: int = stack, peaks: list[int] = peaks
                ) -> None:
                    shares = [list(range(count))[begin::slots] for begin in range(min(slots, count))]
                    peaks[:] = [f.result() for f in [pool.submit(share, fewer, s, stack) for s in shares]]

                user = partial(plain_in_its_process, fewer, range(count))
                taken = interleaved(
                    repeats,
                    time.perf_counter,
                    {"ours": ours, "default": partial(user, slots), "one": partial(user, 1)},
                )
                t = {name: median(seconds) for name, seconds in taken.items()}
                rows.append(
                    [
                        case.name,
                        str(count),
                        str(stack),
                        *(
                            f"{1e3 * t[w] / count / fewer.recipe.steps:.3f}"
                            for w in ("ours", "default", "one")
                        ),
                        f"{t['default'] / t['ours']:.2f}",
                        f"{t['one'] / t['ours']:.2f}",
                        f"{max(peaks) / 2**20:.0f}",
                    ]
                )
    note = (
        f"Wall milliseconds per network and update. Ours uses {slots} processes of one thread; plain trains one "
        f"network after another in a process as a user starts it, with torch's default {slots} threads, and with "
        "one. Wanted for 8 networks: at "
        "least 2 for small MLPs, at least 1.7 for all. Memory: the largest worker so far, MiB, libraries included."
    )
    head = [
        "case",
        "networks",
        "stack",
        "ours",
        "plain, default",
        "plain, one",
        "default/ours",
        "one/ours",
        "MiB",
    ]
    report.table("Against the plain loop", note, head, rows)


def peaks_of(case: Case, networks: int) -> tuple[int, int]:
    """Bytes of this process before it trained anything, and at most while it trained a stack."""
    splits = _splits(case)
    before = _kernel_says("VmRSS")
    train_stack(members_of(case, splits, range(networks)), CPU)
    return before, _kernel_says("VmHWM")


def _kernel_says(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def memory(report: Report, cases: Sequence[Case]) -> None:
    """What a run takes beside its worker, alone and as a further one of a stack; each in a process of its own."""
    rows = []
    for case in cases:
        few, found = case.with_steps(10), {}
        for networks in (1, 4):
            with ProcessPoolExecutor(1, mp_context=PROCESSES, initializer=_prepare) as pool:
                found[networks] = pool.submit(peaks_of, few, networks).result()
        (before, one), (_, four) = found[1], found[4]
        each = (before, one - before, max(0, four - one) / 3)
        rows.append([case.name, *(f"{bytes_ / 2**20:.1f}" for bytes_ in each)])
    note = (
        "MiB: a worker that has its libraries and the data, what its first run adds (code of torch that is "
        "loaded at the first use, too), and each further network in a stack (from 1 to 4)."
    )
    report.table("Memory", note, ["case", "idle worker", "first run", "each further in a stack"], rows)


def grokking(report: Report, repeats: int, steps: int) -> None:
    """Full-batch training on modular addition, p = 97: updates per second."""
    case = GROKKING.with_steps(steps)
    (member,) = members_of(case, _splits(case), [0])
    rows = []
    for threads in sorted({1, cores()}):
        torch.set_num_threads(threads)
        public = partial(plain_in_its_process, case, [0], threads, all_positions=True)
        taken = interleaved(
            repeats,
            time.perf_counter,
            {
                "ours": lambda: train_stack([member], CPU),
                "prieto": public,
                "nanda": partial(public, evaluate=True),
                "same network": lambda: plain(member),
            },
        )
        rate = {name: case.recipe.steps / median(seconds) for name, seconds in taken.items()}
        ratios = [f"{rate['ours'] / rate[name]:.2f}" for name in list(rate)[1:]]
        rows.append([str(threads), *(f"{rate[w]:.1f}" for w in rate), *ratios])
    torch.set_num_threads(1)
    note = (
        "Updates per second of one network in one process. Loops re-created from their descriptions: the fastest "
        "public one is a plain full-batch loop that looks at the training loss (Prieto et al. 2025, "
        "arXiv:2501.04697, between its evaluations); the best known one takes the test loss at every step as well "
        "(Nanda et al. 2023, arXiv:2301.05217). Theirs compute all positions of the last block, ours the one that "
        "is read out, and run in a process of their own; `plain` is Prieto's loop with our network in our "
        "process, which isolates the loops."
    )
    head = [
        "threads",
        "ours",
        "Prieto et al.",
        "Nanda et al.",
        "plain",
        "ours/Prieto",
        "ours/Nanda",
        "ours/plain",
    ]
    report.table("Grokking, p = 97", note, head, rows)


def growth(report: Report, repeats: int, steps: int) -> None:
    """CPU time over three sizes each, and the exponent of its growth."""
    recipe = replace(SGD, steps=steps)
    digits = Case("", "mlp[width=64]", "digits", recipe)
    torch.set_num_threads(1)

    def runs(n: int) -> Callable[[], object]:
        singles = members_of(digits, _splits(digits), range(n))
        return lambda: [train_stack([one], CPU) for one in singles]

    def members(n: int) -> Callable[[], object]:
        group = members_of(digits, _splits(digits), range(n))
        return lambda: train_stack(group, CPU)

    def parameters(width: int) -> Callable[[], object]:
        case = replace(digits, architecture=f"mlp[width={width}]")
        group = members_of(case, _splits(digits), [0])
        return lambda: train_stack(group, CPU)

    def rows_of_data(n: int) -> Callable[[], object]:
        case = replace(digits, task=f"digits[subset={n}]", recipe=replace(recipe, batch_size=0))
        group = members_of(case, splits_of(case)[0], [0])
        return lambda: train_stack(group, CPU)

    # Parameters of the hidden layer grow as the square of the width.
    axes = (
        ("runs", "1", (1, 2, 4), (1, 2, 4), runs),
        ("members of a stack", "1, less at first", (2, 4, 8), (2, 4, 8), members),
        ("parameters (width 256, 512, 1024)", "1, less at first", (256, 512, 1024), (1, 4, 16), parameters),
        ("rows, full batch", "1, less at first", (300, 600, 1200), (1, 2, 4), rows_of_data),
    )
    rows = []
    for name, predicted, values, sizes, make in axes:
        taken = interleaved(repeats, time.process_time, {str(v): make(v) for v in values})
        seconds = [median(taken[str(v)]) for v in values]
        slopes = [
            math.log(b / a) / math.log(y / x)
            for a, b, x, y in zip(seconds, seconds[1:], sizes, sizes[1:], strict=False)
        ]
        rows.append([name, *(f"{s:.3f}" for s in seconds), *(f"{s:.2f}" for s in slopes), predicted])
    note = "CPU seconds at three sizes, and the exponents from the first to the second and on to the third."
    report.table(
        "Growth", note, ["of", "small", "middle", "large", "exponent", "exponent", "predicted"], rows
    )


HEAVY = ("mm", "conv", "rnn", "attention")


def limits(report: Report, cases: Sequence[Case]) -> None:
    """Where an update of one network spends its time, from torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    rows = []
    for case in cases:
        steps = 10
        (one,) = members_of(case.with_steps(steps), _splits(case), [0])
        train_stack([one], CPU)
        started = time.process_time()
        train_stack([one], CPU)
        unprofiled = time.process_time() - started
        for _ in range(2):  # the first profile of a process pays for the profiler
            with profile(activities=[ProfilerActivity.CPU]) as found:
                train_stack([one], CPU)
        events = [e for e in found.key_averages() if e.key.startswith(("aten::", "mkldnn"))]
        total = sum(e.self_cpu_time_total for e in events)
        heavy = sum(e.self_cpu_time_total for e in events if any(h in e.key for h in HEAVY))
        calls = sum(e.count for e in events) / steps
        top = sorted(events, key=lambda e: -e.self_cpu_time_total)[:3]
        what = (
            "arithmetic"
            if heavy > 0.6 * total
            else "dispatch"
            if total / 1e6 < 8e-6 * calls * steps
            else "bandwidth"
        )
        rows.append(
            [
                case.name,
                f"{1e6 * unprofiled / steps:.0f}",
                f"{calls:.0f}",
                f"{total / calls / steps:.1f}",
                f"{100 * heavy / total:.0f} %",
                ", ".join(
                    f"{e.key.removeprefix('aten::')} {100 * e.self_cpu_time_total / total:.0f} %" for e in top
                ),
                what,
            ]
        )
    note = (
        "One network, one thread, profiled (which slows small operations). Arithmetic: products and convolutions "
        "take over 60 % of the time of all operations. Else dispatch where an operation takes less than 8 us on "
        "average, and bandwidth where it takes longer."
    )
    head = ["case", "us per update", "operations", "us each", "products", "most time", "limited by"]
    report.table("What limits an update", note, head, rows)


def gpu(report: Report, cases: Sequence[Case], repeats: int) -> None:
    """Crossover of the two engines, and both against one network after another, on CUDA."""
    device = torch.device("cuda")
    rows, faster = [], defaultdict[str, list[tuple[int, bool]]](list)
    for case in cases:
        splits = _splits(case)
        for count in (1, 2, 4, 8, 16, 32):
            group = members_of(case, splits, range(count))

            def timed(engine: Engine, group: Sequence[Member] = group) -> Callable[[], object]:
                def at_once() -> None:
                    train_stack(group, device, engine)
                    torch.cuda.synchronize()

                return at_once

            def sequential(group: Sequence[Member] = group) -> None:
                for member in group:
                    train_stack([member], device, "loop")
                torch.cuda.synchronize()

            ways = {"sequential": sequential, "loop": timed("loop"), "fused": timed("fused")}
            taken = {name: median(s) for name, s in interleaved(repeats, time.perf_counter, ways).items()}
            runs, cpu = train_stack(group, device, "fused"), train_stack(group, CPU)
            how, chosen = runs[0].facts["engine"], train_stack(group, device)[0].facts["engine"]["mode"]
            faster[case.name].append((count, taken["fused"] < taken["loop"]))
            rows.append(
                [
                    case.name,
                    str(count),
                    *(f"{1e3 * s / case.recipe.steps:.3f}" for s in taken.values()),
                    f"{taken['sequential'] / taken['fused']:.2f}",
                    f"{count * taken['fused'] / taken['sequential']:.1f}",
                    how["mode"]
                    + (", captured" if how.get("captured") else "")
                    + (f": {how['fallback']}" if how["fallback"] else ""),
                    chosen,
                    *(f"{100 * busy(group, device, engine):.0f} %" for engine in ("loop", "fused")),
                    f"{max(apart(run, other) for run, other in zip(runs, cpu, strict=True)):.1e}",
                ]
            )
    note = (
        f"{torch.cuda.get_device_name()}. Milliseconds per update of all networks. Wanted: all 32 fused in the time "
        "of at most 3 in sequence, MLP and small transformer. Busy: time of kernels over wall time. Last: largest "
        "relative distance of a training loss of any network from the CPU's."
    )
    head = [
        "case",
        "networks",
        "sequential",
        "loop",
        "fused",
        "sequential/fused",
        "in the time of",
        "asked for fused",
    ]
    head += ["auto takes", "loop busy", "fused busy", "from the CPU"]
    report.table("On a GPU", note, head, rows)
    from_ = [
        [name, next((str(n) for n, won in found if won and all(w for m, w in found if m >= n)), "never")]
        for name, found in faster.items()
    ]
    report.table(
        "Crossover on a GPU", "Networks from which fused is faster than the loop.", ["case", "from"], from_
    )


def busy(group: Sequence[Member], device: torch.device, engine: Engine) -> float:
    """Share of the wall time of a training in which a kernel runs, from torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        started = time.perf_counter()
        train_stack(group, device, engine)
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
    return float(sum(event.self_device_time_total for event in found.key_averages())) / 1e6 / seconds


def apart(run: Trained, other: Trained) -> float:
    """Largest relative distance of the training losses of two runs."""
    a, b = run.series["train_loss"].values, other.series["train_loss"].values
    return float(np.max(np.abs(a - b) / np.abs(b)))


def suites(report: Report) -> None:
    """Wall time of whole suites on CUDA by the number of workers that share the GPU, start and report included."""
    rows = []
    for suite, workers in (("quick", 1), ("quick", 4), ("standard", 4)):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "universality", "run", "--suite", suite, "--device", "cuda"]
            command += ["--workers", str(workers), "--results", folder]
            started = time.perf_counter()
            code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
            minutes = (time.perf_counter() - started) / 60
            runs = [json.loads(path.read_text()) for path in Path(folder, suite, "runs").glob("*/facts.json")]
        modes = Counter(run["facts"]["engine"]["mode"] for run in runs)
        said = ", ".join(f"{count} {mode}" for mode, count in modes.most_common())
        rows.append([suite, str(workers), f"{minutes:.1f}", str(len(runs)), said, str(code)])
    note = "Wanted: standard in under 10 minutes."
    report.table(
        "Suites on a GPU", note, ["suite", "workers", "minutes", "runs", "engines", "exit code"], rows
    )


def machine() -> str:
    """What the numbers were taken on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    return f"{cpu_model()}, {cores()} cores, torch {torch.__version__}, load {load:.1f} at the start"


SECTIONS = ("overhead", "throughput", "memory", "grokking", "growth", "limits", "gpu", "suites")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time of the training engine against plain loops.")
    parser.add_argument(
        "--quick", action="store_true", help="3 rounds, a fifth of the updates, 1 and 8 networks"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--repeats", type=int, help="rounds (default: 5, with --quick 3)")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--cases", nargs="+", default=[], help="only cases whose name contains one of these")
    options = parser.parse_args(argv)
    _prepare()
    repeats = options.repeats or (3 if options.quick else 5)
    part = 5 if options.quick else 1
    chosen = [c for c in CASES if not options.cases or any(word in c.name for word in options.cases)]
    cases = [case.with_steps(case.recipe.steps // part) for case in chosen]
    print(f"# Training engine\n\n{machine()}; medians of {repeats} interleaved rounds")
    absent = [case.name for case in cases if splits_of(case)[1]]
    if absent:
        print(f"\nRandom inputs of the same shape for want of the data: {', '.join(absent)}.")
    report = Report({"machine": machine(), "repeats": repeats, "random inputs": absent})
    if "overhead" in options.sections:
        # Of few updates a start of some milliseconds would be a percent or two.
        overhead(report, [case.with_steps(3 * case.recipe.steps) for case in chosen], repeats)
    if "throughput" in options.sections:
        throughput(report, cases, repeats, (1, 8) if options.quick else (1, 8, 32))
    if "memory" in options.sections:
        memory(report, cases)
    if "grokking" in options.sections:
        grokking(report, repeats, 30 // part)
    if "growth" in options.sections:
        growth(report, repeats, 300 // part)
    if "limits" in options.sections:
        limits(report, cases)
    if not torch.cuda.is_available() and {"gpu", "suites"} & set(options.sections):
        print("\n## On a GPU\n\nNo CUDA device here; not measured.")
    elif "gpu" in options.sections:
        gpu(report, cases, repeats)
    if torch.cuda.is_available() and "suites" in options.sections:
        suites(report)
    if options.json:
        options.json.write_text(json.dumps(report.numbers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
