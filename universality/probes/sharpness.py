"""Sharpness, the largest Hessian eigenvalue, beside the stability threshold of the live optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from universality.measures import (
    EigenResult,
    HessianOperator,
    l2_decay,
    preconditioned,
    preconditioner,
    stability_threshold,
    top_eigenvalues,
)
from universality.plugin import Probe, Recipe, Signature, Training, register
from universality.plugin.kit.losses import objective
from universality.plugin.kit.updates import as_updated


@register("sharpness", source="Cohen et al. 2021, arXiv:2103.00065; 2022, arXiv:2207.14484")
@dataclass(kw_only=True)
class Sharpness(Probe):
    """lambda_1 of the Hessian H of the full-batch training loss, algebraically largest.

    For an adaptive optimizer it is lambda_1 of P^-1/2 H P^-1/2, with P the diagonal preconditioner
    of the next update; L2 decay is part of H. The loss is evaluated in the mode of the update (training mode), on all
    training rows: a subsample of rows inflates the value by 10 to 20 %.

    Records `value`, `threshold`, `ratio` = value / threshold, `error` (absolute estimate),
    `matvecs` and `converged` (0 or 1). Solved by Lanczos, warm-started from the previous record;
    every `audit`-th record starts cold, since a warm start can follow a neighbouring eigenvalue. At
    those, but for the first, it is solved warm as well and recorded as `audit` = warm / cold - 1,
    a series with only these steps: what the records between could be off by.

    Cost: about 12 Hessian-vector products, 2 gradients each.
    """

    curvature = True

    tolerance: float = 3e-3
    audit: int = 20
    _start: Tensor | None = field(default=None, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 22.0

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        # The graph of the gradient holds the forward pass and two backward passes.
        return 3 * signature.train_rows * row_bytes

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        net, data, loss_of = training.net, training.splits.train, objective(training.recipe)
        as_updated(net)
        params = [p for p in net.parameters() if p.requires_grad]
        hessian = HessianOperator(lambda: loss_of(net(data.inputs), data.targets), params)
        diagonal = preconditioner(training.optimizer, params, hessian.gradients)
        matvec = preconditioned(hessian, diagonal, l2_decay(training.optimizer))
        threshold = stability_threshold(training.optimizer)

        def solve(start: Tensor | None) -> EigenResult:
            return top_eigenvalues(
                matvec,
                hessian.dim,
                start=start,
                generator=training.generator,
                tolerance=self.tolerance,
                device=training.device,
            )

        earlier, cold = self._start, self._count % self.audit == 0
        self._count += 1
        top = solve(None if cold else earlier)
        self._start = top.subspace
        value = float(top.values[0])
        audits = {}
        if cold and earlier is not None:
            audits["audit"] = float(solve(earlier).values[0]) / value - 1
        return {
            **audits,
            "value": value,
            "threshold": threshold,
            "ratio": value / threshold,
            "error": float(top.error_estimates[0]),
            "matvecs": float(top.matvecs),
            "converged": float(top.converged),
        }
