"""Tangent kernels and estimates from kernels. n, N: rows. C: outputs. p: parameters. k: targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from universality import measures

from .case import Growth, doubled

Kernel = Callable[..., Any]


def small(kernel: Kernel, n: int, C: int, batch: int = 256) -> Callable[[], Any]:
    """Few parameters: backward passes of one row are nearly all of it."""
    net, X = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, C)).eval(), torch.randn(n, 8)
    return lambda: kernel(net, X, batch)


def large(kernel: Kernel, n: int, C: int, inputs: int) -> Callable[[], Any]:
    """One layer of `inputs` * C parameters: products and copies of Jacobians are nearly all of it."""
    net, X = nn.Linear(inputs, C, bias=False).eval(), torch.randn(n, inputs)
    return lambda: kernel(net, X)


def gram(n: int) -> torch.Tensor:
    X = torch.randn(n, 50, dtype=torch.float64)
    return X @ X.T


def of_two(measure: Kernel, n: int) -> Callable[[], Any]:
    K, L = gram(n), gram(n)
    return lambda: measure(K, L)


def alignment(n: int, k: int) -> Callable[[], Any]:
    K, Y = gram(n), torch.randn(n, k)
    return lambda: measures.target_alignment(K, Y)


PASSES, PRODUCTS, FAR = "passes of few parameters", "products and copies of many", "beyond L3"
APART = (2000, 2800, 4000)
"""No powers of 2, at whose strides a transposed matrix collides in the cache."""

CASES: Sequence[Growth] = (
    Growth(
        "empirical_ntk", "n", doubled(32), lambda n: n, lambda n: small(measures.empirical_ntk, n, 4), PASSES
    ),
    Growth(
        "empirical_ntk",
        "n",
        doubled(64),
        lambda n: n * (n / 16 + 1) / 2,
        lambda n: small(measures.empirical_ntk, n, 2, batch=16),
        "passes, n > batch",
    ),
    Growth(
        "empirical_ntk",
        "batch",
        doubled(8),
        lambda b: (128 / b + 1) / 2,
        lambda b: small(measures.empirical_ntk, 128, 2, b),
        "passes, n > batch",
    ),
    Growth(
        "empirical_ntk", "C", doubled(4), lambda C: C, lambda C: small(measures.empirical_ntk, 32, C), PASSES
    ),
    Growth(
        "empirical_ntk",
        "n",
        doubled(64),
        lambda n: 2 * n * (200 + 2 * n),
        lambda n: large(measures.empirical_ntk, n, 2, 20_000),
        PRODUCTS,
    ),
    Growth(
        "empirical_ntk",
        "p",
        doubled(50_000),
        lambda p: p,
        lambda p: large(measures.empirical_ntk, 64, 2, p // 2),
        PRODUCTS,
    ),
    Growth("trace_ntk", "n", doubled(32), lambda n: n, lambda n: small(measures.trace_ntk, n, 4), PASSES),
    Growth("trace_ntk", "C", doubled(4), lambda C: C, lambda C: small(measures.trace_ntk, 32, C), PASSES),
    Growth(
        "trace_ntk",
        "n",
        doubled(128),
        lambda n: n * (200 + n),
        lambda n: large(measures.trace_ntk, n, 1, 50_000),
        PRODUCTS,
    ),
    Growth(
        "trace_ntk",
        "p",
        doubled(50_000),
        lambda p: p,
        lambda p: large(measures.trace_ntk, 128, 1, p),
        PRODUCTS,
    ),
    Growth("pseudo_ntk", "n", doubled(64), lambda n: n, lambda n: small(measures.pseudo_ntk, n, 4), PASSES),
    Growth(
        "pseudo_ntk",
        "p",
        doubled(50_000),
        lambda p: p,
        lambda p: large(measures.pseudo_ntk, 128, 1, p),
        PRODUCTS,
    ),
    Growth("kernel_distance", "N", APART, lambda n: n**2, lambda n: of_two(measures.kernel_distance, n), FAR),
    Growth("kernel_change", "N", APART, lambda n: n**2, lambda n: of_two(measures.kernel_change, n), FAR),
    Growth("target_alignment", "n", APART, lambda n: n**2, lambda n: alignment(n, 10), FAR),
    Growth("target_alignment", "k", doubled(1000), lambda k: k, lambda k: alignment(800, k), "k > n"),
)
