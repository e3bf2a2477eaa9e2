"""Solvable models and what else is exact of few numbers. M, N, n: modes or rows. C: outputs or classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from universality import measures

from .case import Growth, doubled


def eigenlearning(M: int) -> Callable[[], Any]:
    values = np.arange(1.0, M + 1) ** -1.5
    return lambda: measures.eigenlearning_error(values, values, 100, 1e-6)


def kernel_regression(N: int, n: int, C: int = 1, draws: int = 4) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    K, Y = np.eye(N), rng.standard_normal((N, C))
    return lambda: measures.kernel_regression_error(K, Y, n, 1e-3, rng, draws=draws)


def modes(times: int, d: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    maps, correlation = rng.standard_normal((times, d, d)), np.diag(np.arange(1.0, d + 1))
    return lambda: measures.mode_strengths(maps, correlation)


def passages(count: int, times: int) -> Callable[[], Any]:
    steps = np.arange(float(times))
    strengths = np.tile(steps / times, (count, 1))
    return lambda: measures.passage_times(steps, strengths, 0.5)


def random_features(rows: int, draws: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * rows, rows))
    return lambda: measures.random_feature_errors(X, X[:, :1], rows, np.array([rows]), rng, draws=draws)


def ansatz(n: int, m: int) -> Callable[[], Any]:
    net, inputs = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, m)), torch.randn(n, 256)
    return lambda: measures.feature_matrices(net, net[2], inputs)


def cosine(d: int) -> Callable[[], Any]:
    A = torch.randn(d, d, dtype=torch.float64)
    return lambda: measures.traceless_cosine(A, A.T)


def minimum(n: int) -> Callable[[], Any]:
    x = np.linspace(0, 1, n)
    return lambda: measures.smooth_minimum(x, (x - 0.4) ** 2)


def answers(measure: Callable[..., Any], n: int, C: int) -> Callable[[], Any]:
    first, second, labels = torch.randint(C, (3, n), generator=torch.Generator().manual_seed(0))
    return lambda: measure(first, second, labels)


def barrier(points: int) -> Callable[[], Any]:
    first, second, inputs = nn.Linear(512, 512), nn.Linear(512, 512), torch.randn(512, 512)
    return lambda: measures.error_barrier(first, second, lambda f: float(f(inputs).square().mean()), points)


def perceptron(d: int, h: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, h, bias=False), nn.ReLU(), nn.Linear(h, 1, bias=False))


def ends(net: Any) -> list[tuple[nn.Linear, nn.Linear]]:
    return [(net[0], net[2])]


def matched(d: int, h: int) -> Callable[[], Any]:
    first, second = perceptron(d, h), perceptron(d, h)
    return lambda: measures.match_weights(first, second, ends, max_sweeps=1)


def permuted(P: int) -> Callable[[], Any]:
    net = perceptron(P // 1000, 1000)
    return lambda: measures.permute_units(net, ends, torch.Generator().manual_seed(0))


CASES: Sequence[Growth] = (
    Growth("eigenlearning_error", "M", doubled(500_000), lambda M: M, eigenlearning),
    Growth(
        "kernel_regression_error",
        "n",
        doubled(500),
        lambda n: n**3 + 2000 * n,
        lambda n: kernel_regression(2000, n),
    ),
    Growth(
        "kernel_regression_error", "N", doubled(2000), lambda N: N, lambda N: kernel_regression(N, 200, 500)
    ),
    Growth(
        "kernel_regression_error", "C", doubled(400), lambda C: C, lambda C: kernel_regression(2000, 200, C)
    ),
    Growth(
        "kernel_regression_error",
        "draws",
        doubled(8),
        lambda k: k,
        lambda k: kernel_regression(1000, 300, draws=k),
    ),
    Growth("mode_strengths", "times", doubled(2000), lambda t: t, lambda t: modes(t, 16)),
    Growth("mode_strengths", "out, in, modes", doubled(16), lambda d: d**3, lambda d: modes(1000, d)),
    Growth("passage_times", "modes", doubled(200), lambda k: k, lambda k: passages(k, 20_000)),
    Growth("passage_times", "times", doubled(20_000), lambda t: t, lambda t: passages(200, t)),
    Growth(
        "random_feature_errors", "rows, width", doubled(200), lambda r: r**3, lambda r: random_features(r, 2)
    ),
    Growth("random_feature_errors", "draws", doubled(4), lambda k: k, lambda k: random_features(200, k)),
    Growth("feature_matrices", "n", doubled(4000), lambda n: n, lambda n: ansatz(n, 10)),
    Growth("feature_matrices", "m", doubled(20), lambda m: m, lambda m: ansatz(2000, m)),
    Growth("traceless_cosine", "d", doubled(2000), lambda d: d**2, cosine, "beyond L3"),
    Growth("smooth_minimum", "n", doubled(500_000), lambda n: n, minimum),
    Growth(
        "error_consistency",
        "n",
        doubled(2_000_000),
        lambda n: n,
        lambda n: answers(measures.error_consistency, n, 10),
    ),
    Growth("wrong_alike", "n", doubled(500_000), lambda n: n, lambda n: answers(measures.wrong_alike, n, 10)),
    Growth("wrong_alike", "C", doubled(20), lambda C: C, lambda C: answers(measures.wrong_alike, 500_000, C)),
    Growth("error_barrier", "points", doubled(20), lambda k: k, barrier),
    Growth("match_weights", "h", doubled(300), lambda h: h**3, lambda h: matched(200, h)),
    Growth("match_weights", "d", doubled(20_000), lambda d: d, lambda d: matched(d, 200), "d far above h"),
    Growth("permute_units", "P", doubled(4_000_000), lambda P: P, permuted),
)
