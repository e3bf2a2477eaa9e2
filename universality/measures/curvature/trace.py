"""The trace of a symmetric operator that is known only by its products.

d: dimension. s: vectors of the sketch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.curvature.lanczos import check_dtype, checked_image

LEVEL = 0.95
LEAST = 8
"""Samples before an interval is believed: Student's with fewer ends too early by chance."""


@dataclass(frozen=True, slots=True)
class TraceEstimate:
    """An unbiased estimate, with Student's 95 % interval over the random vectors.

    `converged`: the half width of the interval is at most the asked share of |value|. The
    sampling stops when that is first so, which makes the interval slightly optimistic.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    matvecs: int
    converged: bool


@measure
def hessian_trace(
    matvec: Callable[[Tensor], Tensor],
    dim: int,
    *,
    tolerance: float = 0.05,
    max_matvecs: int = 400,
    sketch: int = 0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> TraceEstimate:
    """tr A by Hutchinson's estimator, or by Hutch++ where `sketch` is positive.

    Hutchinson: the mean of z^T A z over random signs z, of variance 2 sum_{i != j} A_ij^2 a sample.
    Hutch++: an orthonormal basis Q [d, s] of A S for random signs S [d, s] takes its part of the
    trace exactly, tr(Q^T A Q), and Hutchinson the rest, (1 - QQ^T) A (1 - QQ^T). It costs 2 s
    products first, and pays where a few outliers carry the Frobenius norm and `tolerance` is small.

    Args:
        matvec: v [d] -> A v [d], linear and symmetric.
        tolerance: asked half width of the 95 % interval over |trace|.
        max_matvecs: products, those of the sketch included, after which the estimate is returned
            as not converged.
        generator: of the signs. None is a fixed seed; the global state is never touched.

    Cost: one product for each of the samples, 2 s more for the sketch; beside them O(d) for each sample, with
    the sketch 4 d s, and 4 s^2 (d - s / 3) once for its basis. Memory: s + 4 vectors.

    Raises:
        MeasurementError: impossible sizes, a dtype that is not real floating point, or a product that is not finite or not like its vector.

    Source: Hutchinson 1990; Meyer, Musco, Musco and Woodruff 2021, arXiv:2010.09649.

    >>> hessian_trace(lambda v: torch.tensor([1.0, 2.0, 4.0]) * v, 3).value  # diagonal: no variance
    7.0
    """
    check_dtype(dtype, "hessian_trace")
    if dim < 1 or not tolerance > 0 or not 0 <= sketch <= dim or max_matvecs < 2 * sketch + LEAST:
        raise MeasurementError(
            "a trace estimate of impossible size",
            where="hessian_trace",
            got=f"dim={dim}, tolerance={tolerance}, sketch={sketch}, max_matvecs={max_matvecs}",
            expected=f"tolerance > 0, 0 <= sketch <= dim, max_matvecs >= 2 * sketch + {LEAST}",
        )
    generator = generator or torch.Generator("cpu").manual_seed(0)
    matvecs = 0

    def signs() -> Tensor:
        bits = torch.randint(2, (dim,), generator=generator, device=generator.device)
        return (2 * bits - 1).to(device, dtype)

    def product(vector: Tensor) -> Tensor:
        nonlocal matvecs
        matvecs += 1
        image = matvec(vector.clone())  # it may work in place
        image = checked_image(image, vector, f"hessian_trace, product {matvecs}")
        if not bool(torch.isfinite(image).all()):
            raise NotFinite(
                "a product that is not finite",
                where=f"hessian_trace, product {matvecs}",
                got="NaN or infinity",
                expected="finite parameters, loss and second derivatives",
            )
        return image

    def dot(a: Tensor, b: Tensor) -> float:
        return torch.dot(a.double(), b.double()).item()

    from scipy.stats import t as student  # measuring runs do without it

    Q = torch.zeros(dim, 0, dtype=dtype, device=device)
    exact = 0.0
    if sketch:
        Q = torch.linalg.qr(torch.stack([product(signs()) for _ in range(sketch)], dim=1)).Q
        exact = math.fsum(dot(q, product(q)) for q in Q.T)

    samples: list[float] = []
    while True:
        z = signs()
        rest = z - Q @ (Q.T @ z)
        samples.append(dot(rest, product(rest)))
        n = len(samples)
        if n < LEAST:
            continue
        mean = math.fsum(samples) / n
        error = math.sqrt(math.fsum((x - mean) ** 2 for x in samples) / (n - 1) / n)
        value, half = exact + mean, float(student.ppf(0.5 + LEVEL / 2, n - 1)) * error
        converged = half <= tolerance * abs(value)
        if converged or matvecs >= max_matvecs:
            return TraceEstimate(value, error, (value - half, value + half), matvecs, converged)
