"""Is the double backward of this network right? Symmetry, and one finite difference of the gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.curvature.hessian import HessianOperator
from universality.measures.curvature.kinks import gradient_jump, step_off
from universality.measures.network.gradients import flat_gradient
from universality.measures.network.preserved import preserved

STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class HvpCheck:
    """Relative errors of Hessian-vector products of one network, in float64.

    `asymmetry` is |u^T H v - v^T H u| / (|H u| + |H v|) and `difference` is
    |H v - (g(x + h v) - g(x - h v)) / 2h| / |H v| at the step length h = `step` where it is least;
    u and v are random unit vectors. `reason` is empty, or says why the products cannot be trusted. `kink` is the jump of
    the gradient at the weights, of `gradient_jump`: 0, or there is no derivative there to compare with, and all else
    is that of weights a tiny step off it (`step_off`).
    """

    asymmetry: float
    difference: float
    step: float
    reason: str
    kink: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether products can be trusted."""
        return not self.reason


@measure
def check_hvp(
    net: nn.Module, loss: Callable[[nn.Module], Tensor], generator: torch.Generator | None = None
) -> HvpCheck:
    """Compare `HessianOperator` on a float64 copy of `net` with differences of its gradient.

    Modules stay in the mode they are in; the network itself, its gradients, buffers and torch's
    random state are left as they are. `ok` needs both errors at most 1e-5.

    The step. Truncation is about h^2 and cancellation 1e-16 / h, so a smooth net is best at h
    near 1e-5. A ReLU whose input changes sign between x - h v and x + h v adds a jump of the
    gradient over h; there are O(h) such units, so h is shortened by tens until the difference
    agrees, down to 1e-8, where cancellation alone is 1e-8. A wrong product agrees at no step: its
    error does not depend on h. Nor does a right one of a network that sits on a kink, where it grows as 1/h though
    u^T H v = v^T H u: where the gradient jumps, the products are compared a tiny step off it.

    Args:
        loss: network -> scalar, deterministic, differentiable; it must follow the network's dtype
            (give it float64 inputs: `x.to(next(net.parameters()).dtype)`).
        generator: of u and v. None is a fixed seed.

    Cost: two gradients with their graph, two products, and two gradients for each step length that is tried,
    2 to 10; where none agrees four more, and all of it again on kinks; in float64 and linear in rows.

    Raises:
        MeasurementError: a loss that differs between two calls (dropout), or whose gradient or
            curvature along v is zero, so that there is nothing to compare; what `HessianOperator` refuses,
            but for `weight_norm`.

    Source: Pearlmutter 1994; wrong second derivatives of weight_norm were measured here.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    >>> check_hvp(net, lambda n: n(torch.ones(2, 3, dtype=torch.float64)).pow(2).sum()).ok
    True
    """
    with preserved(net):
        try:
            double = copy.deepcopy(net).double()
        except RuntimeError as error:  # the hook of weight_norm keeps a tensor that is no leaf
            if "weight_norm" not in str(error):
                raise
            return HvpCheck(
                math.nan, math.nan, math.nan, "torch's double backward through weight_norm is wrong"
            )
        with preserved(double):
            return _check(double, lambda: loss(double), generator or torch.Generator("cpu").manual_seed(0))


def _check(net: nn.Module, loss: Callable[[], Tensor], generator: torch.Generator) -> HvpCheck:
    parameters = [p for p in net.parameters() if p.requires_grad]
    at_weights = _compared(parameters, loss, generator)

    def gradient() -> Tensor:
        return flat_gradient(loss, parameters, "check_hvp")

    if not at_weights.difference > TOLERANCE or not (kink := gradient_jump(gradient, parameters)):
        return at_weights
    step_off(gradient, parameters)
    return replace(_compared(parameters, loss, generator), kink=kink)


def _compared(
    parameters: list[nn.Parameter], loss: Callable[[], Tensor], generator: torch.Generator
) -> HvpCheck:
    try:
        hessian = HessianOperator(loss, parameters)
        again = HessianOperator(loss, parameters)
    except MeasurementError as error:
        if "weight_norm" not in error.what:
            raise
        return HvpCheck(math.nan, math.nan, math.nan, error.what)
    start = nn.utils.parameters_to_vector(parameters).detach().clone()

    def unit() -> Tensor:
        noise = torch.randn(len(start), generator=generator, device=generator.device, dtype=start.dtype)
        return nn.functional.normalize(noise.to(start.device), dim=0)

    u, v = unit(), unit()
    # The graphs are used before the parameters move.
    Hu, Hv = hessian(u), hessian(v)
    if hessian.loss != again.loss:
        raise MeasurementError(
            "a loss that differs from call to call has no finite difference",
            where="check_hvp",
            got=f"{hessian.loss!r}, then {again.loss!r}",
            do="switch dropout and augmentation off",
        )
    size = Hv.norm().item()
    if not size > 0:
        raise MeasurementError(
            "no curvature to check: H v is zero", where="check_hvp", do="choose a loss that is not linear"
        )
    asymmetry = abs((u @ Hv - v @ Hu).item()) / (Hu.norm().item() + size)
    difference, best = math.inf, math.nan
    for step in STEPS:
        sides = []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(start + sign * step * v, parameters)
            sides.append(flat_gradient(loss, parameters, "check_hvp"))
        apart = ((sides[0] - sides[1]) / (2 * step) - Hv).norm().item() / size
        if apart < difference:
            difference, best = apart, step
        if difference <= TOLERANCE:
            break
    nn.utils.vector_to_parameters(start, parameters)
    reasons = []
    if not asymmetry <= TOLERANCE:
        reasons.append(f"u^T H v and v^T H u differ by {asymmetry:.1e}")
    if not difference <= TOLERANCE:
        reasons.append(f"differs from the finite difference by {difference:.1e}")
    return HvpCheck(asymmetry, difference, best, "; ".join(reasons))
