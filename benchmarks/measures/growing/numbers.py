"""What takes few numbers: scaling fits, delays, records of runs. n: records. r, a, b: runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from universality import measures

from .case import Growth, doubled


def scaling(measure: Callable[..., Any], sizes: int, seeds: int, exponent: float = 0.5) -> Callable[[], Any]:
    N = torch.logspace(1.5, 4, sizes, dtype=torch.float64)
    noise = torch.randn(sizes, seeds, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = (0.2 + 4 * N**-exponent)[:, None] * torch.exp(0.01 * noise)
    return lambda: measure(N, losses)


def hyperbola(n: int) -> Callable[[], Any]:
    B = np.geomspace(1, 1e3, n)
    return lambda: measures.critical_batch_size(B, 20 * (1 + 50 / B))


def curves(n: int) -> Callable[[], Any]:
    losses = np.random.default_rng(0).random((4, 5, n // 20)) + 1
    return lambda: measures.curve_collapse(losses)


def delays(r: int) -> Callable[[], Any]:
    values, censored = np.random.default_rng(0).random(r), np.zeros(r, dtype=bool)
    return lambda: measures.delay_summary(values, censored)


def logrank(runs: int, permutations: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    first, second, none = rng.random(runs), rng.random(runs), np.zeros(runs, dtype=bool)
    return lambda: measures.permutation_logrank(first, none, second, none, rng, permutations)


def records(n: int, blips: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A run that groks; or one in which every second record reaches 1 and none holds it."""
    if blips:
        # From n on: near step 1 a single record would hold.
        steps = np.arange(n, 2 * n)
        return steps, (steps % 2) * 1.0, (steps % 2) * 1.0
    steps = np.arange(1, n + 1)
    return steps, np.ones(n), (steps > n // 2) * 1.0


def passage(n: int, blips: bool) -> Callable[[], Any]:
    steps, _, values = records(n, blips)
    return lambda: measures.sustained(steps, values, 0.9)


def settled(n: int) -> Callable[[], object]:
    steps = np.arange(n)
    values = np.minimum(0.2 + 1.6 * steps / n, 1.0) + 0.1 * np.sin(steps)
    loss = np.exp(-steps / n) * (1 + 0.05 * (-1.0) ** steps)
    return lambda: measures.settling(steps, values, loss, level=0.95)


def run_of(measure: Callable[..., Any], n: int, blips: bool = False) -> Callable[[], Any]:
    steps, train, validation = records(n, blips)
    return lambda: measure(steps, train, validation, budget=int(steps[-1]), chance=0.0)


def area(n: int) -> Callable[[], Any]:
    steps, train, validation = records(n, False)
    return lambda: measures.gap_area(steps, train, validation)


WORST = "no record holds"

CASES: Sequence[Growth] = (
    Growth("curve_collapse", "n", doubled(1_000_000), lambda n: n, curves),
    Growth("critical_batch_size", "n", doubled(50_000), lambda n: n, hyperbola),
    Growth(
        "fit_scaling", "seeds", doubled(8), lambda s: s + 1, lambda s: scaling(measures.fit_scaling, 8, s)
    ),
    Growth("fit_scaling", "sizes", doubled(400), lambda k: k, lambda k: scaling(measures.fit_scaling, k, 3)),
    Growth(
        "compare_scaling",
        "seeds",
        doubled(3),
        lambda s: s + 1,
        lambda s: scaling(measures.compare_scaling, 8, s),
    ),
    Growth(
        "compare_scaling",
        "sizes",
        doubled(1000),
        lambda k: k,
        lambda k: scaling(measures.compare_scaling, k, 3),
    ),
    Growth("log_slope", "sizes", doubled(2000), lambda k: k, lambda k: scaling(measures.log_slope, k, 100)),
    Growth("log_slope", "seeds", doubled(10_000), lambda s: s, lambda s: scaling(measures.log_slope, 20, s)),
    Growth("delay_summary", "r", doubled(20_000), lambda r: r * math.log(r), delays),
    Growth("permutation_logrank", "a, b", doubled(2000), lambda r: r, lambda r: logrank(r, 500)),
    Growth("permutation_logrank", "permutations", doubled(500), lambda p: p, lambda p: logrank(500, p)),
    Growth("gap_area", "n", doubled(50_000), lambda n: n, area),
    Growth("sustained", "n", doubled(50_000), lambda n: n * math.log(n), lambda n: passage(n, False)),
    Growth("sustained", "n", doubled(50_000), lambda n: n * math.log(n), lambda n: passage(n, True), WORST),
    Growth(
        "grokking_times",
        "n",
        doubled(50_000),
        lambda n: n * math.log(n),
        lambda n: run_of(measures.grokking_times, n),
    ),
    Growth(
        "grokking_times",
        "n",
        doubled(50_000),
        lambda n: n * math.log(n),
        lambda n: run_of(measures.grokking_times, n, True),
        WORST,
    ),
    Growth("settling", "n, updates", doubled(50_000), lambda n: n, settled),
    Growth(
        "fragility", "n", doubled(5000), lambda n: n * math.log(n), lambda n: run_of(measures.fragility, n)
    ),
)
