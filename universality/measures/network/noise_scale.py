"""The gradient noise scale: at which batch size the noise of a gradient is as large as the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """`value` = `variance` / `square`, in rows: tr Sigma over |G|^2."""

    value: float
    variance: float
    square: float


@measure
def gradient_noise_scale(
    loss_of_rows: Callable[[Tensor], Tensor],
    rows: int,
    batch_rows: int,
    parameters: Sequence[Tensor],
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> NoiseScale:
    """B_simple = tr Sigma / |G|^2, with G the mean gradient of the rows and Sigma the covariance of the gradient of one.

    A random permutation of the rows is cut into K = rows // batch_rows whole batches (the rest is left out) of b rows,
    with gradients g_k of mean G:

        tr Sigma = b / (K - 1) sum_k |g_k - G|^2,

    whose expectation over permutations is the variance between rows, with rows - 1 in its denominator. G is that of the
    rows themselves, a population and no sample, so that nothing is subtracted from |G|^2.

    Args:
        loss_of_rows: indices [batch_rows], int64 on `device` -> mean loss over those rows, none of which sees another.
        generator: of the permutation; None is a fixed seed.

    Cost: O(K) gradients of batches for K batches, and memory for two gradients.

    Raises:
        MeasurementError: fewer than 2 whole batches, a mean gradient of 0, or numbers that are not finite.

    Source: McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162, section 2.2.

    >>> x, a = torch.ones(1, requires_grad=True), torch.tensor([1.0, 3.0])
    >>> gradient_noise_scale(lambda i: (a[i].mean() * x).sum(), 2, 1, [x])  # gradients 1 and 3
    NoiseScale(value=0.5, variance=2.0, square=4.0)
    """
    K = rows // batch_rows if batch_rows > 0 else 0
    if K < 2:
        raise MeasurementError(
            "a variance needs batches to vary",
            where="gradient_noise_scale",
            got=f"{rows} rows in batches of {batch_rows}",
            expected="2 whole batches or more",
        )
    generator = generator or torch.Generator("cpu").manual_seed(0)
    order = torch.randperm(rows, generator=generator, device=generator.device).to(device)
    mean: Tensor | None = None
    spread = 0.0
    # Welford's update: sums of squares less a square of sums lose the digits of a small variance.
    for k in range(K):
        with torch.enable_grad():
            loss = loss_of_rows(order[k * batch_rows : (k + 1) * batch_rows])
        parts = torch.autograd.grad(loss, list(parameters), materialize_grads=True)
        g = torch.cat([part.detach().reshape(-1) for part in parts]).double()
        mean = torch.zeros_like(g) if mean is None else mean
        off = g - mean
        mean = mean + off / (k + 1)
        spread += float(off @ (g - mean))
    assert mean is not None
    variance, square = batch_rows * spread / (K - 1), float(mean @ mean)
    if not (math.isfinite(variance) and math.isfinite(square)):
        raise NotFinite("gradients are not finite", where="gradient_noise_scale", got=f"|G|^2 = {square:g}")
    if square == 0:
        raise MeasurementError(
            "noise has no scale where the mean gradient vanishes", where="gradient_noise_scale", got="|G| = 0"
        )
    return NoiseScale(variance / square, variance, square)
