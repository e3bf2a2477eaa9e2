"""How the time of each measure grows, against what its docstring says.

The exponent is the slope of log time over log size, by least squares over three sizes; sizes are
interleaved. What is stated is an upper bound that holds for large sizes: at small ones a fixed cost
hides part of the growth, so only growth beyond it is a miss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from universality.measures import (
    StreamingCKA,
    max_cka_null,
    mean_cca,
    participation_ratio,
    procrustes_similarity,
    rsa,
    sampled_spectrum,
    trace_ntk,
)
from universality.measures.cka import cka_matrix
from universality.measures.collapse import neural_collapse
from universality.measures.hessian import HessianOperator
from universality.measures.lanczos import top_eigenvalues
from universality.measures.neighbours import nearest_neighbours

from .harness import Row, Table, number

SLACK = 0.25
"""By how much the exponent may exceed what is stated: noise, and caches that larger sizes outgrow."""
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Growth:
    """`make` prepares one size and returns what is timed. A ratio is of the largest size."""

    name: str
    varied: str
    stated: float
    sizes: Sequence[int]
    make: Callable[[int], Callable[[], Any]]


def hessian_product(rows: int, width: int = 200) -> Callable[[], Any]:
    H, v, _ = _hessian(rows, width)
    return lambda: H(v)


def _hessian(rows: int, width: int) -> tuple[HessianOperator, torch.Tensor, Callable[[], Any]]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)
    )
    X, T = torch.randn(rows, 64), torch.randn(rows, 10)
    parameters = list(net.parameters())

    def loss() -> torch.Tensor:
        return 0.5 * (net(X) - T).square().sum(1).mean()

    H = HessianOperator(loss, parameters)
    return H, torch.randn(H.dim), lambda: torch.autograd.grad(loss(), parameters)


def eigenvalues(d: int) -> Callable[[], Any]:
    """A diagonal operator: what is left is the solver's own work. Five outliers over a bulk."""
    spectrum = torch.cat([torch.tensor([10.0, 8.0, 7.0, 6.0, 5.0]), torch.linspace(0, 1, d - 5)])
    return lambda: top_eigenvalues(lambda v: spectrum * v, d)


def cka_rows(n: int) -> Callable[[], Any]:
    """Widths above the number of rows: Gram matrices."""
    Xs = [torch.randn(n, 1536) for _ in range(4)]
    return lambda: cka_matrix(Xs)


def cka_count(a: int) -> Callable[[], Any]:
    Xs = [torch.randn(512, 512) for _ in range(a)]
    return lambda: cka_matrix(Xs)


def cka_narrow(n: int) -> Callable[[], Any]:
    """Widths far below the number of rows: products of features."""
    Xs = [torch.randn(n, 64) for _ in range(4)]
    return lambda: cka_matrix(Xs)


def knn_rows(n: int) -> Callable[[], Any]:
    X = torch.randn(n, 512)
    return lambda: nearest_neighbours(X)


def collapse_of(n: int, d: int, C: int) -> Callable[[], Any]:
    labels, X, W = torch.arange(n) % C, torch.randn(n, d), torch.randn(C, d)
    X += 2 * W[labels]
    return lambda: neural_collapse(X, labels, W)


def knn_columns(d: int) -> Callable[[], Any]:
    X = torch.randn(1500, d)
    return lambda: nearest_neighbours(X)


def stream(n: int) -> Callable[[], Any]:
    X, Y = torch.randn(n, 128), torch.randn(n, 128)

    def run() -> None:
        sums = StreamingCKA()
        for rows, others in zip(X.split(512), Y.split(512), strict=True):
            sums.update([rows], [others])
        sums.result()

    return run


def pair_of(measure: Callable[..., Any], n: int, d: int) -> Callable[[], Any]:
    X, Y = torch.randn(n, d), torch.randn(n, d)
    return lambda: measure(X, Y)


def tangent_kernel(n: int) -> Callable[[], Any]:
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4)).eval()
    X = torch.randn(n, 64)
    return lambda: trace_ntk(net, X)


def permuted_maxima(permutations: int) -> Callable[[], Any]:
    Xs = [torch.randn(300, 400) for _ in range(3)]
    return lambda: max_cka_null(Xs, Xs, permutations, torch.Generator().manual_seed(0))


def jackknifed(d: int) -> Callable[[], Any]:
    X = torch.randn(10 * d, d)
    return lambda: sampled_spectrum(X, participation_ratio)


def cases(quick: bool) -> list[Growth]:
    def three(smallest: int) -> list[int]:
        return [smallest // (4 if quick else 1) * factor for factor in (1, 2, 4)]

    return [
        Growth("HessianOperator, a product", "rows", 1.0, three(1000), hessian_product),
        Growth("top_eigenvalues, without its products", "d", 1.0, three(100_000), eigenvalues),
        Growth("cka_matrix, wide", "n", 2.0, three(512), cka_rows),
        Growth("cka_matrix, wide", "representations", 1.0, three(8), cka_count),
        Growth("cka_matrix, narrow", "n", 1.0, three(8000), cka_narrow),
        Growth("nearest_neighbours", "n", 2.0, three(1000), knn_rows),
        Growth("neural_collapse", "n", 1.0, three(10_000), lambda n: collapse_of(n, 256, 20)),
        Growth("neural_collapse", "d", 1.0, three(256), lambda d: collapse_of(10_000, d, 20)),
        Growth("neural_collapse", "C", 1.0, three(32), lambda C: collapse_of(10_000, 256, C)),
        Growth("nearest_neighbours", "d", 1.0, three(512), knn_columns),
        Growth("StreamingCKA", "n", 1.0, three(8000), stream),
        Growth(
            "procrustes_similarity", "n", 1.0, three(2000), lambda n: pair_of(procrustes_similarity, n, 256)
        ),
        Growth("canonical_correlations", "n", 1.0, three(2000), lambda n: pair_of(mean_cca, n, 128)),
        Growth("rsa", "n", 2.0, three(400), lambda n: pair_of(rsa, n, 256)),
        Growth("max_cka_null", "permutations", 1.0, three(40), permuted_maxima),
        # One row at a time up to a batch: backward passes n, products n^2.
        Growth("trace_ntk", "n", 2.0, three(64), tangent_kernel),
        # n d^2 + 21 d^3 at n = 10 d.
        Growth("sampled_spectrum", "d", 3.0, three(128), jackknifed),
    ]


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    torch.manual_seed(0)
    rows, kept = [], {}
    for case in cases(quick):
        seconds = _interleaved(
            [case.make(size) for size in case.sizes], min(3 if quick else ROUNDS, rounds or ROUNDS)
        )
        slope = float(np.polyfit(np.log(case.sizes), np.log(seconds), 1)[0])
        kept[f"{case.name}, {case.varied}"] = {"sizes": case.sizes, "seconds": seconds, "exponent": slope}
        sizes = ", ".join(map(str, case.sizes))
        rows.append(
            Row(
                [case.name, case.varied, sizes, f"{slope:.2f}"],
                [(f"<= {case.stated:g} + {SLACK:g}", slope <= case.stated + SLACK)],
            )
        )
    H, v, gradient = _hessian(1797, 50 if quick else 200)
    product, backward = _interleaved([lambda: H(v), gradient], 30)
    kept["product over gradient"] = {"seconds": [product, backward]}
    note = f"A Hessian product costs {number(product / backward)} gradients (docstring: about 1.7)."
    table = Table("Growth of time", ["measure", "varied", "sizes", "exponent"], rows, [note])
    yield table, kept


def _interleaved(runs: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median CPU seconds of each, the first round not counted."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for run, kept in zip(runs, seconds, strict=True):
            started = time.process_time()
            run()
            if turn:
                kept.append(time.process_time() - started)
    return [median(kept) for kept in seconds]
