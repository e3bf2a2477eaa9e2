"""Batch sharpness: the curvature that a step of stochastic gradient descent meets along its own gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.curvature.hessian import HessianOperator, Loss
from universality.measures.curvature.lanczos import safe_norm

LEAST = 10
"""Batches before a standard error is believed (Andreyev and Beneventano's least)."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchSharpness:
    """Mean over mini-batches B of g_B^T H_B g_B / |g_B|^2, in units of 1/lr: compare with 2/lr.

    `ratio_of_means`, sum g^T H g / sum |g|^2, weights batches by their gradient; it is another
    quantity, here for comparison. `standard_error` of `value` is that of a draw without
    replacement, 0 where one pass over all batches of the partition was measured. `matvecs` counts
    Hessian-vector products. `converged`: the standard error is at most the asked share of |value|.
    """

    value: float
    standard_error: float
    ratio_of_means: float
    ratios: Float[Tensor, " batches"]
    matvecs: int
    converged: bool


@measure
def batch_sharpness(
    loss_of_rows: Callable[[Tensor], Tensor],
    rows: int,
    batch_rows: int,
    parameters: Sequence[Tensor],
    *,
    max_batches: int | None = None,
    tolerance: float = 0.005,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> BatchSharpness:
    """E_B[ g_B^T H_B g_B / |g_B|^2 ], the mean of the ratios over batches drawn without replacement.

    One random permutation of the rows is cut into b = rows // batch_rows whole batches (the rest
    is left out), and batches are measured in turn until the standard error is at most `tolerance`
    times the mean, at least 10 of them or all. With n of the b ratios of sample variance s^2

        standard error = s / sqrt(n) * sqrt(1 - n / b).

    It tells how far the mean of one pass over these batches may be, not how much another
    partition would differ.

    Args:
        loss_of_rows: indices [batch_rows], int64 on `device` -> mean loss over those rows; in the
            mode of the update. Buffers are the caller's to restore (`preserved`).
        generator: of the permutation. None is a fixed seed; the global state is never touched.
        max_batches: default all.

    Cost: one gradient with its graph and one Hessian-vector product for each of the batches, each linear in
    batch_rows.

    Raises:
        MeasurementError: fewer than 2 whole batches, a batch whose gradient is exactly zero (the
            ratio is undefined) or whose |g|^2 or curvature is not finite, or what `HessianOperator` refuses.

    Source: Andreyev and Beneventano 2024, arXiv:2412.20553.

    >>> x, scale = torch.ones(1, requires_grad=True), torch.tensor([2.0, 2.0, 6.0, 6.0])
    >>> found = batch_sharpness(lambda i: (scale[i].mean() * x**2 / 2).sum(), 4, 1, [x])
    >>> found.value, found.standard_error, found.ratio_of_means  # curvatures 2 and 6, gradients too
    (4.0, 0.0, 5.6)
    """
    batches = rows // batch_rows if batch_rows > 0 else 0
    most = batches if max_batches is None else min(max_batches, batches)
    if batches < 2 or most < min(LEAST, batches) or not tolerance > 0:
        raise MeasurementError(
            "batch sharpness needs batches to average over",
            where="batch_sharpness",
            got=f"{rows} rows in batches of {batch_rows}, max_batches={max_batches}, tolerance={tolerance}",
            expected=f"2 whole batches or more, max_batches >= {LEAST} (or all), tolerance > 0",
        )
    generator = generator or torch.Generator("cpu").manual_seed(0)
    order = torch.randperm(rows, generator=generator, device=generator.device).to(device)
    ratios: list[float] = []
    squares: list[float] = []
    while True:
        begin = len(ratios) * batch_rows
        chosen = order[begin : begin + batch_rows]
        hessian = HessianOperator(partial(loss_of_rows, chosen), parameters)
        gradient = torch.cat([g.reshape(-1) for g in hessian.gradients])
        size = safe_norm(gradient)
        if bool(size == 0):
            raise MeasurementError(
                "the ratio g^T H g / |g|^2 has no value where the gradient vanishes",
                where=f"batch_sharpness, batch {len(ratios) + 1}",
                got=f"|g| = {size.item():g}",
                do="measure before the training has fitted whole batches",
            )
        # The unit vector first: |g|^2 underflows in float32 from |g| = 1e-19 on.
        unit = gradient / size
        curvature = (unit @ hessian(unit)).item()
        square = size.double().square().item()
        if not (math.isfinite(square) and math.isfinite(curvature)):
            raise NotFinite(
                "a batch without a finite ratio g^T H g / |g|^2",
                where=f"batch_sharpness, batch {len(ratios) + 1}",
                got=f"|g|^2 = {square:g}, ratio {curvature:g}",
                expected="finite gradients and second derivatives",
            )
        squares.append(square)
        ratios.append(curvature)
        n = len(ratios)
        if n < min(LEAST, batches):
            continue
        value = math.fsum(ratios) / n
        variance = math.fsum((x - value) ** 2 for x in ratios) / (n - 1)
        error = math.sqrt(variance / n * (1 - n / batches))
        converged = error <= tolerance * abs(value)
        if converged or n == most:
            return BatchSharpness(
                value,
                error,
                math.fsum(r * q for r, q in zip(ratios, squares, strict=True)) / math.fsum(squares),
                torch.tensor(ratios, dtype=torch.float64, device="cpu"),
                n,
                converged,
            )


@measure
def batch_losses(
    loss_of: Callable[[Tensor, Tensor], Tensor],
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "m ..."],
    batch_rows: int,
) -> tuple[list[Loss], list[float]]:
    """Closures and weights for `HessianOperator` of a mean over all rows, evaluated in batches.

    The last batch may be smaller; weights are len(batch) / n, so their sum is 1 and the Hessian
    is that of the mean over all rows. That holds only if rows do not see each other: batch
    normalisation in training mode normalises by the batch.

    Args:
        loss_of: (inputs of some rows, their targets) -> mean loss over them, network included.

    Raises:
        MeasurementError: no rows, inputs and targets of different length, or batch_rows below 1.

    Cost: none; each closure evaluates its batch when it is called.

    Source: the linearity of the mean over rows.

    >>> x, data = torch.ones(1, requires_grad=True), torch.tensor([1.0, 2.0, 6.0])
    >>> losses, weights = batch_losses(lambda a, b: (a * x**2 / 2).mean(), data, data, 2)
    >>> HessianOperator(losses, [x], weights)(torch.ones(1))  # (1 + 2 + 6) / 3
    tensor([3.])
    """
    n = len(inputs)
    if n == 0 or len(targets) != n or batch_rows < 1:
        raise MeasurementError(
            "batches need rows with one target each",
            where="batch_losses",
            got=f"{n} inputs, {len(targets)} targets, batch_rows={batch_rows}",
        )
    edges = [*range(0, n, batch_rows), n]

    def loss(begin: int, end: int) -> Loss:
        return lambda: loss_of(inputs[begin:end], targets[begin:end])

    spans = list(pairwise(edges))
    return [loss(*span) for span in spans], [(end - begin) / n for begin, end in spans]
