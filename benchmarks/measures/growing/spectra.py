"""Ranks, decays and tails of spectra. n: rows. d: columns. k: values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from universality import measures

from .case import Growth, doubled


def rank(*shape: int) -> Callable[[], Any]:
    values = torch.randn(*shape, dtype=torch.float64).abs()
    return lambda: measures.effective_rank(values)


def jackknifed(n: int, d: int, blocks: int = 20) -> Callable[[], Any]:
    X = torch.randn(n, d, dtype=torch.float64)
    return lambda: measures.sampled_spectrum(X, measures.participation_ratio, blocks=blocks)


def decay(k: int) -> Callable[[], Any]:
    values = torch.arange(1, k + 1, dtype=torch.float64) ** -1.0 * (
        1 + 0.1 * torch.rand(k, dtype=torch.float64)
    )
    values = values[torch.randperm(k)]
    return lambda: measures.spectral_decay(values, 10, k)


def tail(k: int, draws: int) -> Callable[[], Any]:
    values = torch.rand(k, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** -0.5
    return lambda: measures.fit_tail(values, torch.Generator().manual_seed(0), draws=draws)


CASES: Sequence[Growth] = (
    Growth("effective_rank", "n", doubled(4000), lambda n: n, lambda n: rank(n, 128), "n > d"),
    Growth("effective_rank", "d", doubled(160), lambda d: d**2, lambda d: rank(4000, d), "n > d"),
    Growth("effective_rank", "k", doubled(2_500_000), lambda k: k, rank, "values alone"),
    Growth("sampled_spectrum", "n", doubled(50_000), lambda n: n, lambda n: jackknifed(n, 48), "n d^2"),
    Growth(
        "sampled_spectrum",
        "d",
        doubled(250),
        lambda d: 2 * 200 * d**2 + 6 * d**3,
        lambda d: jackknifed(200, d, 5),
        "d^3",
        "LAPACK's eigenvalues take d^3 operations, of which more a second the larger d is: .18 ns each at "
        "d = 200, .09 at 1,000, .06 at 2,000",
    ),
    Growth(
        "sampled_spectrum", "blocks", doubled(10), lambda g: g + 1, lambda g: jackknifed(200, 200, g), "d^3"
    ),
    Growth("spectral_decay", "k", doubled(200_000), lambda k: k * math.log(k), decay),
    Growth("fit_tail", "k", doubled(16_000), lambda k: k, lambda k: tail(k, 50)),
    Growth("fit_tail", "draws", doubled(100), lambda draws: draws, lambda draws: tail(2000, draws)),
)
