"""How the time of each measure grows, against what its docstring says.

The exponent is the slope of log CPU time over log size, by least squares over three sizes. Noise
only adds time, so a size has the least of its rounds, which are interleaved with those of the others.
Beside it stands the slope of the operations that the docstring states for the same sizes, and the two
must agree within SLACK, either way.

A statement about growth is one about large sizes. So sizes are such that the stated term is above fixed
costs and above the other terms (which one is meant stands in the table), and, for what only streams
through memory, that all three lie on one side of the caches (1 MiB of L2 a core, 32 MiB of L3): a size
that fits and one that does not have different costs of a number.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .counts import counted
from .growing import CASES, Growth
from .harness import Row, Table

SLACK = 0.25
"""By how much the exponents may differ."""
SECONDS = 0.4
"""CPU time for the rounds of a case, of which there are 2 to 15."""


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    keep_memory()
    rows, kept = [], {}
    for case in CASES:
        row, samples = timed(case, quick, rounds)
        rows.append(row)
        kept[f"{case.measure}, {case.varied}, {case.regime}"] = samples
    missed = [case for case, row in zip(CASES, rows, strict=True) if not row.targets[0][1]]
    yield (
        Table(
            "Growth of time",
            ["measure", "varied", "regime", "sizes", "stated exponent", "measured", "ms"],
            rows,
            [
                f"{len(rows)} cases of {len({case.measure for case in CASES})} measures, {len(missed)} missed.",
                *(f"`{case.measure}`, {case.varied}: {case.reason or 'no reason known'}." for case in missed),
                "ms: CPU time at the smallest and the largest size.",
            ],
        ),
        kept,
    )
    yield counted(least_seconds, quick)


def timed(case: Growth, quick: bool = False, rounds: int | None = None) -> tuple[Row, dict[str, Any]]:
    torch.manual_seed(0)
    runs = [case.make(size) for size in case.sizes]
    seconds = least_seconds(runs, SECONDS, 1 if quick else rounds)
    stated, measured = (
        float(np.polyfit(np.log(case.sizes), np.log(values), 1)[0])
        for values in ([case.operations(size) for size in case.sizes], seconds)
    )
    row = Row(
        [
            f"`{case.measure}`",
            case.varied,
            case.regime,
            ", ".join(f"{size:,}" for size in case.sizes),
            f"{stated:.2f}",
            f"{measured:.2f}",
            f"{1000 * seconds[0]:.3g} to {1000 * seconds[-1]:.3g}",
        ],
        [(f"{stated:.2f} +- {SLACK:g}", abs(measured - stated) <= SLACK)],
    )
    del runs
    gc.collect()
    return row, {"sizes": list(case.sizes), "seconds": seconds, "stated": stated, "measured": measured}


def least_seconds(runs: Sequence[Callable[[], Any]], budget: float, rounds: int | None = None) -> list[float]:
    """Least CPU seconds of each over interleaved rounds, after one run of the first that is not counted."""
    runs[0]()
    least = [float("inf")] * len(runs)
    spent = 0.0
    for turn in range(min(15, rounds or 15)):
        if turn >= 2 and spent > budget:
            break
        for i, run in enumerate(runs):
            started = time.process_time()
            run()
            took = time.process_time() - started
            least[i] = min(least[i], took)
            spent += took
    return least


def keep_memory() -> None:
    """glibc maps large blocks anew, page by page, on every call, and from 32 MiB on always: a step in the cost
    of a number that is the allocator's. Here freed memory stays and is used again."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
