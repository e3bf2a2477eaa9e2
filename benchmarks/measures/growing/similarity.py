"""Similarities of features, with their nulls. n: rows. d1, d2: widths. a, b: numbers of representations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from universality import measures

from .case import Growth, doubled


def many(count: int, n: int, d: int) -> list[torch.Tensor]:
    return [torch.randn(n, d) for _ in range(count)]


def pair(measure: Callable[..., Any], n: int, d: int) -> Callable[[], Any]:
    X, Y = many(2, n, d)
    return lambda: measure(X, Y)


def single(measure: Callable[..., Any], n: int, d: int) -> Callable[[], Any]:
    (X,) = many(1, n, d)
    return lambda: measure(X)


def matrix(count: int, n: int, d: int) -> Callable[[], Any]:
    Xs = many(count, n, d)
    return lambda: measures.cka_matrix(Xs)


def between(count: int, n: int, d: int) -> Callable[[], Any]:
    Xs, Ys = many(count, n, d), many(count, n, d)
    return lambda: measures.cka_matrix(Xs, Ys)


def summed(kind: Callable[[], Any], batches: list[Any]) -> Callable[[], Any]:
    def run() -> None:
        sums = kind()
        for batch in batches:
            sums.update(batch)
        sums.result()

    return run


def stream(n: int, d: int, count: int) -> Callable[[], Any]:
    return summed(measures.StreamingCKA, [many(count, 500, d) for _ in range(n // 500)])


def in_batches(count: int) -> Callable[[], Any]:
    return summed(measures.MinibatchCKA, [many(2, 300, 200) for _ in range(count)])


def maxima(permutations: int, n: int, a: int, b: int, d: int) -> Callable[[], Any]:
    Xs, Ys = many(a, n, d), many(b, n, d)
    return lambda: measures.max_cka_null(Xs, Ys, permutations, torch.Generator().manual_seed(0))


def permuted(permutations: int) -> Callable[[], Any]:
    X, Y = many(2, 300, 100)
    generator = torch.Generator().manual_seed(0)
    return lambda: measures.permutation_null(measures.debiased_cka, X, Y, permutations, generator)


NARROW, WIDE = "products of features: n > 2 d", "Gram matrices: n < d"

CASES: Sequence[Growth] = (
    Growth("gram", "n", doubled(500), lambda n: n**2, lambda n: single(measures.gram, n, 512)),
    Growth("gram", "d", doubled(512), lambda d: d, lambda d: single(measures.gram, 1000, d)),
    *(
        growth
        for name in ("biased_cka", "debiased_cka")
        for measure in [getattr(measures, name)]
        for growth in (
            Growth(name, "n", doubled(2000), lambda n: n, lambda n, m=measure: pair(m, n, 256), NARROW),
            Growth(
                name, "d1, d2", doubled(256), lambda d: d**2, lambda d, m=measure: pair(m, 2500, d), NARROW
            ),
            Growth(name, "n", doubled(500), lambda n: n**2, lambda n, m=measure: pair(m, n, 3500), WIDE),
            Growth(name, "d1, d2", doubled(1000), lambda d: d, lambda d, m=measure: pair(m, 350, d), WIDE),
        )
    ),
    Growth("cka_matrix", "n", doubled(700), lambda n: n**2, lambda n: matrix(3, n, 2800), WIDE),
    Growth("cka_matrix", "widths", doubled(1024), lambda d: d, lambda d: matrix(4, 800, d), WIDE),
    Growth(
        "cka_matrix",
        "a, b",
        doubled(8),
        lambda a: 2 * a * (512 + 150) + a * a,
        lambda a: between(a, 500, 512),
        "widths > a b",
    ),
    Growth(
        "cka_matrix",
        "a, b",
        doubled(100),
        lambda a: 2 * a * (40 + 150) + a * a,
        lambda a: between(a, 512, 40),
        "widths < a b",
    ),
    Growth("cka_matrix", "n", doubled(8000), lambda n: n, lambda n: matrix(4, n, 128), NARROW),
    Growth("cka_matrix", "widths", doubled(384), lambda d: d**2, lambda d: matrix(2, 5000, d), NARROW),
    Growth("cka_matrix", "a", doubled(4), lambda a: a * (a + 1), lambda a: matrix(a, 8000, 128), NARROW),
    Growth("StreamingCKA", "n", doubled(4000), lambda n: n, lambda n: stream(n, 128, 2)),
    Growth("StreamingCKA", "widths", doubled(384), lambda d: d**2, lambda d: stream(2000, d, 2)),
    Growth(
        "StreamingCKA",
        "pairs",
        (3, 10, 36),
        lambda p: p,
        lambda p: stream(4000, 128, {3: 2, 10: 4, 36: 8}[p]),
    ),
    Growth("MinibatchCKA", "batches", doubled(10), lambda b: b, in_batches),
    Growth("permutation_null", "permutations", doubled(10), lambda p: p, permuted),
    Growth(
        "max_cka_null", "permutations", doubled(100), lambda p: p, lambda p: maxima(p, 300, 3, 3, 60), WIDE
    ),
    Growth("max_cka_null", "n", doubled(200), lambda n: n**2, lambda n: maxima(60, n, 3, 3, 100), WIDE),
    Growth("max_cka_null", "a", doubled(16), lambda a: 20 + a, lambda a: maxima(20, 400, a, 16, 64), WIDE),
    Growth("max_cka_null", "b", doubled(4), lambda b: b, lambda b: maxima(60, 400, 2, b, 64), WIDE),
    Growth("max_cka_null", "n", doubled(8000), lambda n: n, lambda n: maxima(30, n, 2, 2, 32), NARROW),
    Growth(
        "max_cka_null",
        "d1, d2",
        doubled(100),
        lambda d: d**2 + 100 * d,
        lambda d: maxima(4, 16_000, 1, 1, d),
        NARROW,
    ),
    Growth(
        "canonical_correlations",
        "n",
        doubled(4000),
        lambda n: n,
        lambda n: pair(measures.canonical_correlations, n, 96),
    ),
    Growth(
        "canonical_correlations",
        "d1, d2",
        doubled(128),
        lambda d: d**2,
        lambda d: pair(measures.canonical_correlations, 6000, d),
    ),
    Growth(
        "procrustes_similarity",
        "n",
        doubled(4000),
        lambda n: n,
        lambda n: pair(measures.procrustes_similarity, n, 128),
        "n d1 d2",
    ),
    Growth(
        "procrustes_similarity",
        "d1, d2",
        doubled(400),
        lambda d: 1700 * d**2 + d**3,
        lambda d: pair(measures.procrustes_similarity, 1700, d),
        "n > d1, d2",
    ),
    Growth(
        "procrustes_similarity",
        "d1, d2",
        doubled(2000),
        lambda d: d,
        lambda d: pair(measures.procrustes_similarity, 250, d),
        "2 n^2 d: widths above n",
    ),
    Growth(
        "dissimilarities",
        "n",
        doubled(500),
        lambda n: n**2,
        lambda n: single(measures.dissimilarities, n, 1024),
    ),
    Growth(
        "dissimilarities", "d", doubled(1024), lambda d: d, lambda d: single(measures.dissimilarities, 800, d)
    ),
    Growth("rsa", "n", doubled(300), lambda n: n**2, lambda n: pair(measures.rsa, n, 1024)),
    Growth(
        "rsa", "d1, d2", doubled(4096), lambda d: d, lambda d: pair(measures.rsa, 400, d), "above the sorting"
    ),
)
