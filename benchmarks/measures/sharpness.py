"""The top Hessian eigenvalue at successive checkpoints of one training.

A tanh network on scikit-learn's digits, half squared error, full-batch gradient descent at
lr 2/15: sharpness rises to 15 and then stays there, with neighbours of the top eigenvalue crowding
in. All solvers see the same weights, float32. What a solver carries from one checkpoint to the next
is part of it; building its operator is timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from universality.measures.curvature.hessian import HessianOperator
from universality.measures.curvature.lanczos import top_eigenvalues

from .harness import Bench, Job, Method, Row, Sample, Table, against, number

LR = 2 / 15
TOLERANCE = 1e-3
PRODUCTS = 13
"""Targets: relative error of every checkpoint, and products a checkpoint."""

Solver = Callable[[nn.Module, Tensor, Tensor], tuple[float, int, float]]
"""Network, inputs and one-hot targets to the eigenvalue, its products and its own error estimate."""


class HalfSquares(nn.Module):
    """Mean over rows of half the squared error. `reduction` is read by curvlinops."""

    reduction = "mean"

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum(1).mean()


def network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)
    )


def prepare(path: Path, *, rows: int, width: int, checkpoints: int, every: int) -> None:
    """Train, and save the weights of every checkpoint with the float64 eigenvalue."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    X = torch.tensor(images[:rows])
    X = ((X - X.mean(0)) / X.std(0).clamp_min(1e-3)).float()
    T = nn.functional.one_hot(torch.tensor(labels[:rows]), 10).float()
    torch.manual_seed(0)
    net, loss_of, saved = network(width), HalfSquares(), []
    parameters = list(net.parameters())
    for _ in range(checkpoints):
        for _ in range(every):
            gradients = torch.autograd.grad(loss_of(net(X), T), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= LR * gradient
        saved.append(nn.utils.parameters_to_vector(parameters).detach())
    truth = [_reference(net, weights, X, T) for weights in saved]
    torch.save({"X": X, "T": T, "weights": torch.stack(saved), "width": width, "truth": truth}, path)


def _reference(net: nn.Module, weights: Tensor, X: Tensor, T: Tensor) -> float:
    """scipy at tolerance 1e-11, on products of its own: float64, gradient of <gradient, v>."""
    exact = network(net[0].out_features).double()
    nn.utils.vector_to_parameters(weights.double(), exact.parameters())
    parameters = list(exact.parameters())
    loss = HalfSquares()(exact(X.double()), T.double())
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])

    def product(v: np.ndarray) -> np.ndarray:
        inner = gradient @ torch.from_numpy(v.reshape(-1))
        return torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(inner, parameters, retain_graph=True)]
        ).numpy()

    n = len(weights)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    return float(eigsh(operator, k=1, which="LA", tol=1e-11, v0=start, return_eigenvectors=False)[0])


def along(make: Callable[[], Solver]) -> Callable[[Mapping[str, Any]], Job]:
    """A fresh solver along all checkpoints."""

    def start(inputs: Mapping[str, Any]) -> Job:
        net = network(inputs["width"])

        def run() -> dict[str, Any]:
            solve = make()
            answers = []
            for weights in inputs["weights"]:
                nn.utils.vector_to_parameters(weights.clone(), net.parameters())
                answers.append(solve(net, inputs["X"], inputs["T"]))
            values, products, estimates = zip(*answers, strict=True)
            return {"values": values, "products": products, "estimates": estimates}

        return Job(run)

    return start


def ours() -> Solver:
    loss_of, subspace = HalfSquares(), None

    def solve(net: nn.Module, X: Tensor, T: Tensor) -> tuple[float, int, float]:
        nonlocal subspace
        H = HessianOperator(lambda: loss_of(net(X), T), list(net.parameters()))
        found = top_eigenvalues(H, H.dim, start=subspace, tolerance=TOLERANCE)
        subspace = found.subspace
        estimate = found.error_estimates[0].item() if found.converged else float("inf")
        return found.values[0].item(), found.matvecs, estimate

    return solve


def scipy_cached(warm: bool, **options: Any) -> Callable[[], Solver]:
    """scipy's Lanczos (ARPACK) on our products."""

    def make() -> Solver:
        loss_of, vector = HalfSquares(), None

        def solve(net: nn.Module, X: Tensor, T: Tensor) -> tuple[float, int, float]:
            nonlocal vector
            H = HessianOperator(lambda: loss_of(net(X), T), list(net.parameters()))
            value, vectors, products = _eigsh(
                lambda v: H(torch.from_numpy(v.reshape(-1))).numpy(), H.dim, vector, options
            )
            vector = vectors[:, 0] if warm else None
            return value, products, float("nan")

        return solve

    return make


def _eigsh(
    product: Callable[[np.ndarray], np.ndarray], n: int, start: np.ndarray | None, options: dict[str, Any]
) -> tuple[float, np.ndarray, int]:
    products = 0

    def counted(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return product(v)

    operator = LinearOperator((n, n), matvec=counted, dtype=np.float32)
    values, vectors = eigsh(operator, k=1, which="LA", v0=start, **options)
    return float(values[0]), vectors, products


def pyhessian(tol: float) -> Callable[[], Solver]:
    def make() -> Solver:
        from pyhessian import hessian

        # `pyhessian.hessian` is the class; its module, where the product is looked up, is only here.
        module = sys.modules["pyhessian.hessian"]
        plain = getattr(module.hessian_vector_product, "plain", module.hessian_vector_product)
        products = 0

        def counted(*arguments: Any) -> Any:
            nonlocal products
            products += 1
            return plain(*arguments)

        counted.plain = plain  # type: ignore[attr-defined]
        module.hessian_vector_product = counted
        loss_of = HalfSquares()

        def solve(net: nn.Module, X: Tensor, T: Tensor) -> tuple[float, int, float]:
            nonlocal products
            products = 0
            net.zero_grad()
            values, _ = hessian(net, loss_of, data=(X, T), cuda=False).eigenvalues(maxIter=100, tol=tol)
            net.zero_grad()
            return values[0], products, float("nan")

        return solve

    return make


def curvlinops() -> Solver:
    from curvlinops import HessianLinearOperator

    operator = None

    def solve(net: nn.Module, X: Tensor, T: Tensor) -> tuple[float, int, float]:
        nonlocal operator
        if operator is None:
            # Its products read the weights anew; the check for determinism would cost some more.
            operator = HessianLinearOperator(
                net, HalfSquares(), list(net.parameters()), [(X, T)], check_deterministic=False
            ).to_scipy()
        value, _, products = _eigsh(operator.matvec, operator.shape[0], None, {})
        return value, products, float("nan")

    return solve


def eigenthings(max_iter: int | None) -> Callable[[], Solver]:
    def make() -> Solver:
        from hessian_eigenthings import HessianOperator as Hessian
        from hessian_eigenthings import lanczos

        loss_of = HalfSquares()

        def solve(net: nn.Module, X: Tensor, T: Tensor) -> tuple[float, int, float]:
            H = Hessian(net, [(X, T)], lambda net, batch: loss_of(net(batch[0]), batch[1]))
            found = lanczos(H, k=1, which="LA", max_iter=max_iter, seed=0)
            estimate = found.residuals[0].item() if found.converged.all() else float("inf")
            return found.eigenvalues[0].item(), found.iterations, estimate

        return solve

    return make


METHODS = (
    Method("universality, warm", along(ours)),
    Method("PyHessian, default", along(pyhessian(1e-3)), "pyhessian", "pyhessian"),
    Method("PyHessian, tol 1e-5", along(pyhessian(1e-5)), "pyhessian", "pyhessian", repeats=3),
    Method(
        "curvlinops + eigsh, defaults", along(lambda: curvlinops()), "curvlinops", "curvlinops-for-pytorch", 1
    ),
    Method("hessian-eigenthings, default", along(eigenthings(None)), *["hessian-eigenthings"] * 2),
    Method("hessian-eigenthings, max_iter=15", along(eigenthings(15)), *["hessian-eigenthings"] * 2),
    Method("eigsh, our products, warm, ncv=6, tol 1e-3", along(scipy_cached(True, ncv=6, tol=1e-3))),
    Method("eigsh, our products, cold, defaults", along(scipy_cached(False)), repeats=3),
)


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    path = folder / "sharpness.pt"
    size = (
        {"rows": 300, "width": 50, "checkpoints": 5, "every": 40}
        if quick
        else {"rows": 1797, "width": 200, "checkpoints": 40, "every": 40}
    )
    prepare(path, **size)
    truth = torch.load(path, weights_only=True)["truth"]
    with Bench(__name__) as bench:
        samples = bench.measure(path, rounds)
    own = samples["universality, warm"]
    rows = []
    for name, sample in samples.items():
        if sample.error:
            # Whether it would have been as accurate is not known, so whether ours is faster is not either.
            rows.append(Row([name, *["-"] * 4, sample.error], [("runs", False)]))
            continue
        errors = _errors(sample, truth)
        accurate = max(errors) < TOLERANCE
        ratio, targets = against(own, sample, 1.0 if accurate and sample is not own else None)
        covered = ""
        if sample is own:
            estimates = sample.result["estimates"]
            hits = sum(
                abs(value - exact) <= estimate < float("inf")
                for value, exact, estimate in zip(sample.result["values"], truth, estimates, strict=True)
            )
            covered = f"{hits} of {len(truth)}"
            products = mean(sample.result["products"][1:])
            targets = [
                (f"max error < {TOLERANCE:g}", accurate),
                (f"<= {PRODUCTS} products", products <= PRODUCTS),
                ("estimates cover", hits == len(truth)),
            ]
        rows.append(
            Row(
                [
                    f"{name} ({len(sample.cpu)})",
                    number(mean(sample.result["products"][1:]), 3),
                    ratio,
                    number(median(errors)),
                    number(max(errors)),
                    covered or "-",
                ],
                targets,
            )
        )
    table = Table(
        f"Sharpness at {size['checkpoints']} checkpoints, tanh MLP 64-{size['width']}-{size['width']}-10, "
        f"{size['rows']} rows",
        [
            "solver (rounds)",
            "products a checkpoint",
            "CPU time",
            "median error",
            "max error",
            "own estimate covers",
        ],
        rows,
        [
            "Errors are relative to float64 eigsh at tolerance 1e-11. Products: mean without the first "
            "checkpoint. A solver is as accurate as ours is asked to be if its max error is below the target.",
            "curvlinops: one operator for all checkpoints, its check for determinism off.",
            "Covered: the error of a value is within its own estimate, at every checkpoint; one that is not "
            "converged has none.",
        ],
    )
    yield table, {"samples": samples, "truth": truth}


def _errors(sample: Sample, truth: list[float]) -> list[float]:
    return [abs(value / exact - 1) for value, exact in zip(sample.result["values"], truth, strict=True)]
