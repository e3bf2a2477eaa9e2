"""Numbers of products, gradients and fits that docstrings state, counted.

Counts are of calls, by wrapping what is called, not of what results say of themselves. Only what a
gradient costs is a ratio of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch

from universality import measures

from .growing.curvature import hessian, loss_of, network
from .growing.numbers import run_of, scaling
from .harness import Row, Table, number

ABOUT = 0.25
"""Share by which a number that is stated as `about` may differ."""


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self.function(*arguments, **options)


@contextmanager
def counting(target: Any, name: str) -> Iterator[Counted]:
    """Calls of `target.name`, which may be a method."""
    original = getattr(target, name)
    calls = Counted(original)

    def call(*arguments: Any, **options: Any) -> Any:
        return calls(*arguments, **options)

    with mock.patch.object(target, name, call):
        yield calls


def counted(least_seconds: Callable[..., list[float]], quick: bool) -> tuple[Table, dict[str, Any]]:
    torch.manual_seed(0)
    rows = [*curvature(), *chains(10 if quick else 30), *repeats(), ratio(least_seconds, quick)]
    table = Table(
        "Counts",
        ["measure", "of", "at", "stated", "counted"],
        [Row(cells, [("as stated", met)]) for *cells, met in rows],
        [f"`about` is within {ABOUT:.0%}. A gradient is a ratio of CPU times; all else are calls."],
    )
    return table, {"rows": rows}


Line = tuple[str, str, str, str, str, bool]


def exact(measure: str, of: str, at: str, stated: int, found: int) -> Line:
    return f"`{measure}`", of, at, str(stated), str(found), stated == found


def curvature() -> Iterator[Line]:
    spectrum = torch.linspace(-1, 1, 100)
    for sketch in (0, 5):
        # A tolerance that the first eight samples meet.
        calls = Counted(lambda v: spectrum * v + 10 * v)
        measures.hessian_trace(calls, 100, tolerance=10.0, sketch=sketch)
        yield exact("hessian_trace", "products", f"8 samples, s={sketch}", 8 + 2 * sketch, calls.calls)
    for order in (20, 150):
        calls = Counted(lambda v: spectrum * v)
        measures.spectral_density(calls, 100, probes=3, order=order)
        yield exact(
            "spectral_density",
            "products",
            f"3 probes, order {order}, dim 100",
            3 * min(order, 100),
            calls.calls,
        )

    net = network(20)
    loss = loss_of(net, 50)
    with counting(measures.HessianOperator, "__call__") as products:
        evaluated = Counted(loss)
        H = measures.HessianOperator(evaluated, list(net.parameters()))
        for _ in range(3):
            H(torch.randn(H.dim))
    yield exact("HessianOperator", "losses evaluated", f"{products.calls} products", 1, evaluated.calls)

    X = torch.randn(50, 64, dtype=torch.float64)
    evaluated = Counted(lambda n: n(X).square().mean())
    with counting(measures.HessianOperator, "__call__") as products:
        measures.check_hvp(net, evaluated)
    yield exact("check_hvp", "products", "a smooth network", 2, products.calls)
    more = evaluated.calls - 2
    yield (
        "`check_hvp`",
        "gradients beyond 2 with their graph",
        "a smooth network",
        "2 to 10",
        str(more),
        2 <= more <= 10,
    )

    X, T = torch.randn(240, 64), torch.randn(240, 10)
    evaluated = Counted(lambda rows: (net(X[rows]) - T[rows]).square().mean())
    with counting(measures.HessianOperator, "__call__") as products:
        measures.batch_sharpness(evaluated, 240, 20, list(net.parameters()), tolerance=1e-12)
    yield exact("batch_sharpness", "gradients with their graph", "12 batches", 12, evaluated.calls)
    yield exact("batch_sharpness", "products", "12 batches", 12, products.calls)

    linear = torch.nn.Linear(4, 3).eval()
    for measure, n, batch, passes in (
        (measures.empirical_ntk, 8, 256, 8 * 3),
        (measures.empirical_ntk, 8, 2, 8 * 3 * 5 // 2),
        (measures.trace_ntk, 8, 256, 8 * 3),
        (measures.pseudo_ntk, 8, 256, 8),
    ):
        with counting(torch.autograd, "grad") as passed:
            measure(linear, torch.randn(n, 4), batch)
        yield exact(measure.__name__, "backward passes", f"n={n}, C=3, batch {batch}", passes, passed.calls)


def chains(steps: int) -> Iterator[Line]:
    """Top eigenvalue along gradient descent, every step from cold and from the step before."""
    net = network(50)
    loss, parameters = loss_of(net, 300), list(net.parameters())
    cold, warm, start = [], [], None
    for step in range(steps):
        H = measures.HessianOperator(loss, parameters)
        for first, kept in ((None, cold), (start, warm)):
            if first is None and kept is warm:
                continue
            calls = Counted(H)
            generator = torch.Generator().manual_seed(step)
            found = measures.top_eigenvalues(calls, H.dim, start=first, generator=generator)
            kept.append(calls.calls)
        start = found.subspace
        with torch.no_grad():
            for parameter, gradient in zip(parameters, H.gradients, strict=True):
                parameter -= 0.1 * gradient
    for of, stated, found_ in (
        ("products, cold", 20, cold),
        ("products, from the subspace before", 12, warm),
    ):
        at, middle = f"median of {len(found_)}, {min(found_)} to {max(found_)}", median(found_)
        met = abs(middle / stated - 1) <= ABOUT
        yield "`top_eigenvalues`", of, at, f"about {stated}", f"{middle:g}", met


def repeats() -> Iterator[Line]:
    module = import_module("universality.measures.scaling.fits")
    for measure, name, seeds, stated in (
        (measures.fit_scaling, "fit_scaling", 4, 5),
        (measures.fit_scaling, "fit_scaling", 2, 1),
        (measures.compare_scaling, "compare_scaling", 4, 35),
        (measures.compare_scaling, "compare_scaling", 2, 7),
    ):
        with counting(module, "fit_form") as fits:
            scaling(measure, 10, seeds)()
        yield exact(name, "fits", f"{seeds} seeds", stated, fits.calls)
    module = import_module("universality.measures.grokking.times")
    with counting(module, "grokking_times") as runs:
        run_of(measures.fragility, 100)()
    yield exact("fragility", "`grokking_times`", "", 18, runs.calls)
    X, similarity = torch.randn(20, 3), Counted(measures.debiased_cka)
    measures.permutation_null(similarity, X, X, 7, torch.Generator())
    yield exact("permutation_null", "evaluations", "7 permutations", 7, similarity.calls)


def ratio(least_seconds: Callable[..., list[float]], quick: bool) -> Line:
    H, v, gradient = hessian(1797, 50 if quick else 200)
    product, backward = least_seconds([lambda: H(v), gradient], 0.2 if quick else 2.0)
    found = product / backward
    met = bool(np.abs(found / 1.7 - 1) <= ABOUT)
    return (
        "`HessianOperator`",
        "gradients a product",
        "1,797 rows, width 200",
        "about 1.7",
        number(found, 3),
        met,
    )
