"""Curvature: operators on the parameters of a network, and solvers on operators that cost nothing.

d: parameters. Solvers get diagonal operators, so that what is left is their own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from universality import measures

from .case import Growth, doubled


def network(width: int, outputs: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    )


def parameters_of(width: int) -> int:
    return sum(parameter.numel() for parameter in network(width).parameters())


def loss_of(net: nn.Module, rows: int) -> Callable[[], Tensor]:
    X, T = torch.randn(rows, 64), torch.randn(rows, 10)
    return lambda: 0.5 * (net(X) - T).square().sum(1).mean()


def hessian(rows: int, width: int) -> tuple[measures.HessianOperator, Tensor, Callable[[], Any]]:
    """An operator, a vector, and the gradient beside it."""
    net = network(width)
    loss, parameters = loss_of(net, rows), list(net.parameters())
    H = measures.HessianOperator(loss, parameters)
    return H, torch.randn(H.dim), lambda: torch.autograd.grad(loss(), parameters)


def product(rows: int, width: int) -> Callable[[], Any]:
    H, v, _ = hessian(rows, width)
    return lambda: H(v)


def sharpness_of_batches(batches: int, batch_rows: int) -> Callable[[], Any]:
    net, rows = network(100), batches * batch_rows
    X, T = torch.randn(rows, 64), torch.randn(rows, 10)

    def loss(chosen: Tensor) -> Tensor:
        return 0.5 * (net(X[chosen]) - T[chosen]).square().sum(1).mean()

    # All of the batches: no error is as small as the tolerance before.
    parameters = list(net.parameters())
    return lambda: measures.batch_sharpness(loss, rows, batch_rows, parameters, tolerance=1e-12)


def flow(updates: int, substeps: int) -> Callable[[], Any]:
    X, T = torch.randn(400, 64, dtype=torch.float64), torch.randn(400, dtype=torch.float64)
    w = torch.randn(64 * 8, dtype=torch.float64) / 8

    def loss(v: Tensor) -> Tensor:
        value: Tensor = (torch.tanh(X @ v.view(64, 8)).sum(1) - T).square().mean()
        return value

    return lambda: measures.central_flow(loss, w, lr=1e-4, updates=updates, substeps=substeps)


def noise_of_batches(K: int) -> Callable[[], Any]:
    net = network(100)
    X, T = torch.randn(K * 100, 64), torch.randn(K * 100, 10)

    def loss(rows: Tensor) -> Tensor:
        return 0.5 * (net(X[rows]) - T[rows]).square().sum(1).mean()

    return lambda: measures.gradient_noise_scale(loss, K * 100, 100, list(net.parameters()))


def checked_products(rows: int) -> Callable[[], Any]:
    net, X = network(100), torch.randn(rows, 64, dtype=torch.float64)
    return lambda: measures.check_hvp(net, lambda n: n(X.to(next(n.parameters()).dtype)).square().mean())


def eigenvalues(d: int) -> Callable[[], Any]:
    """Five outliers over a bulk."""
    spectrum = torch.cat([torch.tensor([10.0, 8.0, 7.0, 6.0, 5.0]), torch.linspace(0, 1, d - 5)])
    return lambda: measures.top_eigenvalues(lambda v: spectrum * v, d)


def trace(d: int, samples: int, sketch: int = 0) -> Callable[[], Any]:
    # Not diagonal: of that the signs would leave no variance, and the estimate would stop at once.
    return lambda: measures.hessian_trace(
        lambda v: v + v.flip(0), d, tolerance=1e-9, max_matvecs=samples + 2 * sketch, sketch=sketch
    )


def density(d: int, probes: int, order: int) -> Callable[[], Any]:
    spectrum = torch.linspace(-1, 1, d)
    return lambda: measures.spectral_density(lambda v: spectrum * v, d, probes=probes, order=order)


def divisor(d: int) -> Callable[[], Any]:
    weight = nn.Parameter(torch.randn(d))
    optimizer, gradients = torch.optim.RMSprop([weight]), [torch.randn(d)]
    return lambda: measures.preconditioner(optimizer, [weight], gradients)


def divided(d: int) -> Callable[[], Any]:
    operator, v = measures.preconditioned(lambda v: v, torch.rand(d) + 1, decay=0.1), torch.randn(d)
    return lambda: operator(v)


def left_as_found(d: int, kind: str) -> Callable[[], Any]:
    net = nn.Module()
    if kind == "buffers":
        net.register_buffer("held", torch.zeros(d))
    else:
        net.weight = nn.Parameter(torch.zeros(d))
        net.weight.grad = torch.zeros(d)

    def run() -> None:
        with measures.preserved(net):
            pass

    return run


CASES: Sequence[Growth] = (
    Growth("HessianOperator", "rows", doubled(1000), lambda rows: rows, lambda rows: product(rows, 200)),
    Growth(
        "HessianOperator",
        "d",
        doubled(200),
        parameters_of,
        lambda width: product(500, width),
        "sizes are widths",
    ),
    Growth("central_flow", "updates", doubled(10), lambda n: n, lambda n: flow(n, 2)),
    Growth("central_flow", "substeps", doubled(4), lambda k: k, lambda k: flow(5, k)),
    Growth("batch_sharpness", "batches", doubled(10), lambda b: b, lambda b: sharpness_of_batches(b, 400)),
    Growth("batch_sharpness", "batch_rows", doubled(800), lambda m: m, lambda m: sharpness_of_batches(10, m)),
    Growth("gradient_noise_scale", "K", doubled(50), lambda K: K, noise_of_batches),
    Growth("check_hvp", "rows", doubled(1000), lambda rows: rows, checked_products),
    Growth(
        "top_eigenvalues", "d", doubled(1_000_000), lambda d: d, eigenvalues, "beside products; beyond L3"
    ),
    Growth("hessian_trace", "samples", doubled(50), lambda n: n, lambda n: trace(100_000, n)),
    Growth("hessian_trace", "d", doubled(500_000), lambda d: d, lambda d: trace(d, 8), "no sketch"),
    Growth(
        "hessian_trace",
        "s, sketch",
        (1200, 1700, 2400),
        lambda s: s**2 * (4000 - s / 3),
        lambda s: trace(4000, 8, s),
        "basis of the sketch",
        "LAPACK's QR alone grows with 1.7 at these sizes, and a fifth of the time is the 2 s products, each a draw and "
        "a call",
    ),
    Growth("spectral_density", "probes", doubled(2), lambda p: p, lambda p: density(20_000, p, 64)),
    Growth(
        "spectral_density",
        "order",
        doubled(64),
        lambda m: m * m,
        lambda m: density(20_000, 2, m),
        "4 dim order^2",
    ),
    Growth(
        "spectral_density", "dim", doubled(1_000_000), lambda d: d, lambda d: density(d, 2, 8), "beyond L3"
    ),
    Growth("preconditioner", "d", doubled(4_000_000), lambda d: d, divisor, "beyond L3"),
    Growth("preconditioned", "d", doubled(8_000_000), lambda d: d, divided, "beyond L3"),
    Growth(
        "preserved",
        "buffers",
        doubled(8_000_000),
        lambda d: d,
        lambda d: left_as_found(d, "buffers"),
        "beyond L3",
    ),
    Growth(
        "preserved",
        "gradients",
        doubled(8_000_000),
        lambda d: d,
        lambda d: left_as_found(d, "grad"),
        "beyond L3",
    ),
)
