"""Central flow: where gradient descent goes, on average, while it oscillates at the edge of stability.

d: number of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.curvature.hessian import HessianOperator
from universality.measures.curvature.lanczos import top_eigenvalues

RENEWED = 4
"""Substeps that an eigenvector serves: its Rayleigh quotient is off by the square of how far it has turned."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowPoint:
    """Where a flow stands.

    `loss` is L(w); `sharpness` is lambda, the largest eigenvalue of the Hessian there; `variance` is sigma^2, that of the
    oscillation along its eigenvector, over the last substep. `averaged_loss` = L + sigma^2 lambda / 2 is what the mean
    loss of gradient descent is predicted to be. `subspace` starts the next call warm.
    """

    weights: Float[Tensor, " d"]
    loss: float
    sharpness: float
    variance: float
    subspace: Float[Tensor, "d m"]

    @property
    def averaged_loss(self) -> float:
        return self.loss + 0.5 * self.variance * self.sharpness


@measure
def central_flow(
    loss: Callable[[Tensor], Tensor],
    weights: Float[Tensor, " d"],
    *,
    lr: float,
    updates: int,
    threshold: float | None = None,
    substeps: int = 2,
    start: Float[Tensor, "d m"] | None = None,
    generator: torch.Generator | None = None,
) -> FlowPoint:
    """The flow of one critical direction, over the time lr * updates of as many updates of gradient descent:

        dw/dt = -grad L - sigma^2 / 2 grad lambda,    sigma^2 = max(0, -2 <grad L, grad lambda> / |grad lambda|^2)

    where lambda is at 2/lr, and sigma^2 = 0 below. Euler steps of lr / `substeps`; at each, sigma^2 is the least that
    leaves lambda, to first order, at or below the threshold, so that it does not drift off. grad lambda is that of
    u^T H(w) u at the eigenvector u, which is found anew every fourth substep.

    A threshold of infinity is gradient flow: sharpness is then taken at the end alone.

    Args:
        loss: of flat weights; smooth. A second eigenvalue that reaches the threshold needs a second direction.
        weights: float64 is advised, for third derivatives.
        lr: of gradient descent.
        updates: of it; may be 0, which measures the starting point.
        threshold: None is 2/lr.
        start: the `subspace` of an earlier point nearby.
        generator: of random starts. None is a fixed seed.

    Cost: updates * substeps times 6 gradients, and about 12 Hessian-vector products for every fourth; of gradient flow one
    gradient each.

    Raises:
        MeasurementError: a rate, a number of updates or of substeps that is none; what `HessianOperator` refuses.
        NotFinite: weights, or a loss, that are not finite.

    Source: Cohen, Damian et al. 2024, arXiv:2410.24206.

    >>> descend = lambda w: 0.5 * w[1] * w[0] ** 2 - 0.1 * w[1]  # sharpness w[1] rises at a rate of 0.1 until 2/lr
    >>> point = central_flow(descend, torch.tensor([0.0, 1.5], dtype=torch.float64), lr=1.0, updates=20)
    >>> round(point.sharpness, 3), round(point.variance, 3)
    (2.0, 0.2)
    """
    if not (0 < lr < math.inf and updates >= 0 and substeps >= 1):
        raise MeasurementError(
            "a flow over no time",
            where="central_flow",
            got=f"lr={lr:g}, updates={updates}, substeps={substeps}",
            expected="a positive rate, updates of at least 0, substeps of at least 1",
        )
    edge = 2 / lr if threshold is None else threshold
    w = weights.detach().clone().requires_grad_()
    step, variance = lr / substeps, 0.0
    for count in range(updates * substeps):
        if not math.isfinite(edge):
            with torch.enable_grad():
                (force,) = torch.autograd.grad(loss(w), w)
        else:
            if count % RENEWED == 0:
                u, _, start = _leading(loss, w, start, generator)
            gradient, bend, value = _third(loss, w, u)
            ahead = value - step * float(gradient @ bend)
            square = float(bend @ bend)
            variance = max(0.0, 2 * (ahead - edge) / (step * square)) if square > 0 else 0.0
            force = gradient + 0.5 * variance * bend
        if not bool(force.isfinite().all()):
            raise NotFinite(
                "a flow that left what floats can hold", where="central_flow", got=f"substep {count}"
            )
        w = (w.detach() - step * force).requires_grad_()
    _, value, subspace = _leading(loss, w, start, generator)
    return FlowPoint(w.detach(), float(loss(w.detach())), value, variance, subspace)


def _leading(
    loss: Callable[[Tensor], Tensor], w: Tensor, start: Tensor | None, generator: torch.Generator | None
) -> tuple[Tensor, float, Tensor]:
    hessian = HessianOperator(lambda: loss(w), [w])
    top = top_eigenvalues(
        hessian, hessian.dim, start=start, generator=generator, dtype=w.dtype, device=w.device
    )
    return top.vectors[:, 0], float(top.values[0]), top.subspace


def _third(loss: Callable[[Tensor], Tensor], w: Tensor, u: Tensor) -> tuple[Tensor, Tensor, float]:
    """grad L, the gradient of u^T H u at fixed u, and u^T H u."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        (gradient,) = torch.autograd.grad(loss(w), w, create_graph=True)
        (product,) = torch.autograd.grad(gradient @ u, w, create_graph=True)
        value = product @ u
        (bend,) = torch.autograd.grad(value, w)
    return gradient.detach(), bend, float(value.detach())
