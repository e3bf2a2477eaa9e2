"""What is done to rows of features: neighbours, centring in classes, compression, capture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from universality import measures

from .case import Growth, doubled
from .similarity import many, pair, single


def matrix(count: int, n: int, d: int) -> Callable[[], Any]:
    Xs, Ys = many(count, n, d), many(count, n, d)
    return lambda: measures.mutual_knn_matrix(Xs, Ys)


def with_nulls(pairs: int) -> Callable[[], Any]:
    Xs, Ys = many(2, 1500, 8), many(pairs // 2, 1500, 8)
    return lambda: measures.mutual_knn_null(Xs, Ys)


def maxima(permutations: int, n: int, a: int, b: int, k: int) -> Callable[[], Any]:
    Xs, Ys = many(a, n, 4), many(b, n, 4)
    return lambda: measures.max_knn_null(Xs, Ys, permutations, torch.Generator().manual_seed(0), k)


def lists(n: int, k: int) -> torch.Tensor:
    """k different others of each row."""
    steps = torch.randperm(n - 1)[:k] + 1
    return (torch.arange(n)[:, None] + steps) % n


def of_lists(measure: Callable[..., Any], n: int, k: int) -> Callable[[], Any]:
    first, second = lists(n, k), lists(n, k)
    return lambda: measure(first, second)


def residuals(n: int, d: int) -> Callable[[], Any]:
    X, labels = torch.randn(n, d), torch.arange(n) % 10
    return lambda: measures.within_class(X, labels)


def captured(n: int) -> Callable[[], Any]:
    net, X = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256)), torch.randn(n, 256)
    return lambda: measures.capture(net, {"hidden": net[1]}, net[2], X)


CASES: Sequence[Growth] = (
    Growth(
        "nearest_neighbours",
        "n",
        doubled(1000),
        lambda n: n**2,
        lambda n: single(measures.nearest_neighbours, n, 256),
    ),
    Growth(
        "nearest_neighbours",
        "d",
        doubled(512),
        lambda d: d,
        lambda d: single(measures.nearest_neighbours, 1000, d),
    ),
    Growth("mutual_knn", "n", doubled(1000), lambda n: n**2, lambda n: pair(measures.mutual_knn, n, 128)),
    Growth("mutual_knn", "d1, d2", doubled(512), lambda d: d, lambda d: pair(measures.mutual_knn, 800, d)),
    Growth("mutual_knn_matrix", "n", doubled(1000), lambda n: n**2, lambda n: matrix(1, n, 128)),
    Growth("mutual_knn_matrix", "widths", doubled(1024), lambda d: d, lambda d: matrix(2, 700, d)),
    Growth(
        "mutual_knn_matrix",
        "a, b",
        doubled(2),
        lambda a: a,
        lambda a: matrix(a, 600, 512),
        "widths above look-ups",
    ),
    Growth(
        "mutual_knn_null",
        "pairs",
        doubled(8),
        lambda p: p + 4,
        with_nulls,
        "2 Xs; neighbours of 2 + pairs / 2",
    ),
    Growth("max_knn_null", "permutations", doubled(100), lambda p: p, lambda p: maxima(p, 200, 2, 16, 10)),
    Growth("max_knn_null", "n", doubled(100), lambda n: n, lambda n: maxima(200, n, 1, 32, 10)),
    Growth("max_knn_null", "k", doubled(20), lambda k: k, lambda k: maxima(200, 200, 1, 32, k)),
    Growth("max_knn_null", "a", doubled(1), lambda a: a, lambda a: maxima(200, 200, a, 16, 20)),
    Growth("max_knn_null", "b", doubled(16), lambda b: b, lambda b: maxima(200, 200, 1, b, 20)),
    Growth(
        "neighbour_overlap",
        "n",
        doubled(10_000),
        lambda n: n**2,
        lambda n: of_lists(measures.neighbour_overlap, n, 5),
        "n^2 bytes filled",
    ),
    Growth(
        "neighbour_overlap",
        "k",
        doubled(100),
        lambda k: k * math.log(k),
        lambda k: of_lists(measures.neighbour_overlap, 2000, k),
        "k log k for the check",
    ),
    Growth(
        "neighbour_null",
        "n",
        doubled(10_000),
        lambda n: n * math.log(10 * n),
        lambda n: of_lists(measures.neighbour_null, n, 10),
    ),
    Growth(
        "neighbour_null",
        "k",
        doubled(10),
        lambda k: k * math.log(5000 * k),
        lambda k: of_lists(measures.neighbour_null, 5000, k),
    ),
    Growth("within_class", "n", doubled(50_000), lambda n: n, lambda n: residuals(n, 128), "beyond L3"),
    Growth("within_class", "d", doubled(256), lambda d: d, lambda d: residuals(25_000, d), "beyond L3"),
    Growth(
        "isometric_compress",
        "n",
        doubled(256),
        lambda n: n**2 * (6000 - n / 3),
        lambda n: single(measures.isometric_compress, n, 6000),
        "d > n",
    ),
    Growth(
        "isometric_compress",
        "d",
        doubled(2000),
        lambda d: d,
        lambda d: single(measures.isometric_compress, 256, d),
        "d > n",
    ),
    Growth("capture", "n", doubled(4000), lambda n: n, captured),
)
