"""Neural collapse and class means. n, m: rows. d: width. C: classes, r = min(C - 1, d)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from universality import measures

from .case import Growth, doubled


def labelled(n: int, d: int, C: int, uneven: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    labels, W = torch.arange(n) % C, torch.randn(C, d)
    if uneven:
        labels[0] = 1
    X = torch.randn(n, d)
    X += 2 * W[labels]
    return X, labels, W


def collapse(n: int, d: int, C: int, uneven: bool = False) -> Callable[[], Any]:
    X, labels, W = labelled(n, d, C, uneven)
    return lambda: measures.neural_collapse(X, labels, W)


def collapse_of_batches(batches: int) -> Callable[[], Any]:
    X, labels, W = labelled(1000 * batches, 256, 100)
    parts = list(zip(X.split(1000), labels.split(1000), strict=True))
    return lambda: measures.batched_collapse(lambda: parts, W)


def means(n: int, d: int) -> Callable[[], Any]:
    X, labels, _ = labelled(n, d, 10)
    return lambda: measures.class_means(X, labels, 10)


def mismatches(m: int, d: int, C: int) -> Callable[[], Any]:
    X, _, W = labelled(m, d, C)
    M = torch.randn(C, d)
    return lambda: measures.nearest_mean_mismatch(X, M, W)


def operations(n: int, d: int, C: int) -> float:
    r = min(C - 1, d)
    return 2 * n * (d * (r + C) + r * C)


CASES: Sequence[Growth] = (
    Growth("neural_collapse", "n", doubled(16_000), lambda n: n, lambda n: collapse(n, 256, 100)),
    Growth(
        "neural_collapse",
        "d",
        doubled(256),
        lambda d: operations(8000, d, 100),
        lambda d: collapse(8000, d, 100),
    ),
    Growth(
        "neural_collapse",
        "C, r",
        doubled(100),
        lambda C: operations(8000, 512, C),
        lambda C: collapse(8000, 512, C),
    ),
    Growth(
        "neural_collapse",
        "C, r",
        doubled(100),
        lambda C: operations(8000, 512, C) + 2 * 8000 * (C - 1) ** 2,
        lambda C: collapse(8000, 512, C, uneven=True),
        "classes of unequal size",
    ),
    Growth("batched_collapse", "batches", doubled(16), lambda b: b, collapse_of_batches),
    Growth("class_means", "n", doubled(50_000), lambda n: n, lambda n: means(n, 256), "beyond L3"),
    Growth("class_means", "d", doubled(512), lambda d: d, lambda d: means(20_000, d), "beyond L3"),
    Growth("nearest_mean_mismatch", "m", doubled(8000), lambda m: m, lambda m: mismatches(m, 256, 100)),
    Growth("nearest_mean_mismatch", "d", doubled(512), lambda d: d, lambda d: mismatches(8000, d, 100)),
    Growth("nearest_mean_mismatch", "C", doubled(200), lambda C: C, lambda C: mismatches(4000, 512, C)),
)
