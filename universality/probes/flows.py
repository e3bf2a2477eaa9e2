"""Where gradient flow and the central flow lead from the initial weights, beside where training goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call

from universality.measures import HessianOperator, central_flow, top_eigenvalues
from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register
from universality.plugin.kit.losses import objective
from universality.plugin.kit.updates import (
    as_updated,
    flat_gradient,
    flat_weights,
    learning_rate,
    optimizer_step,
)

CENTRAL, GRADIENT = "central", "gradient"
RECORDS = 20
"""Of a run, where its cost is predicted."""


@register("flows", source="Cohen, Damian et al. 2024, arXiv:2410.24206")
@dataclass(kw_only=True)
class Flows(Probe):
    """Both flows of `measures.central_flow` in float64, with one critical direction, for plain gradient descent at the rate of
    the run on the full-batch training loss. They start at the first record and are compared, at each, with the mean

        (w_t + 2 w_(t+1) + w_(t+2)) / 4

    of the weights, in which an oscillation of period two is 0; a fork makes the two updates. What is before the first record,
    where large steps are no flow yet, is left to gradient descent.

    Records, for `central` and `gradient`, `<flow>_distance` of that mean to the flow, `<flow>_loss` (predicted mean of the
    training loss), `<flow>_sharpness`; and `second`, the second eigenvalue at the central flow, and `threshold`,
    2/lr.

    Cost: some 30 gradients for each update since the last record.
    """

    curvature = True

    substeps: int = 2
    _at: int = field(default=0, init=False, repr=False)
    _weights: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _start: Tensor | None = field(default=None, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 30.0 * recipe.steps / RECORDS

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        # Third derivatives in float64: each backward pass keeps what the one before made.
        return 16 * signature.train_rows * row_bytes

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        if training.recipe.optimizer != "sgd" or training.recipe.weight_decay:
            raise MeasurementError(
                "the flows are those of gradient descent",
                where="flows",
                got=f"{training.recipe.optimizer}, weight decay {training.recipe.weight_decay:g}",
                expected="sgd without weight decay",
            )
        lr = learning_rate(training.optimizer)
        loss = _loss(training)
        mean = _mean_weights(training)
        if not self._weights:
            self._weights, self._at = {CENTRAL: mean, GRADIENT: mean}, training.step
        updates, self._at = training.step - self._at, training.step
        out: dict[str, float | Tensor] = {"threshold": 2 / lr}
        # Gradient flow sharpens beyond the threshold; its steps must stay well below the edge of its own.
        for flow, threshold, substeps in (
            (CENTRAL, 2 / lr, self.substeps),
            (GRADIENT, math.inf, 4 * self.substeps),
        ):
            point = central_flow(
                loss,
                self._weights[flow],
                lr=lr,
                updates=updates,
                threshold=threshold,
                substeps=substeps,
                start=self._start if flow == CENTRAL else None,
                generator=training.generator,
            )
            self._weights[flow] = point.weights
            out[f"{flow}_distance"] = float((mean - point.weights).norm())
            out[f"{flow}_loss"] = point.averaged_loss
            out[f"{flow}_sharpness"] = point.sharpness
            if flow == CENTRAL:
                self._start = point.subspace
        # What a probe keeps asks for no gradient: it could not be saved.
        w = self._weights[CENTRAL].detach().requires_grad_()
        hessian = HessianOperator(lambda: loss(w), [w])
        two = top_eigenvalues(
            hessian, hessian.dim, 2, generator=training.generator, dtype=w.dtype, device=w.device
        )
        return out | {"second": float(two.values[1])}


def _loss(training: Training) -> Callable[[Tensor], Tensor]:
    """The training loss of flat weights, in float64."""
    net = as_updated(training.fork().net.double())
    names, shapes = zip(*((n, p.shape) for n, p in net.named_parameters() if p.requires_grad), strict=True)
    data, loss_of = training.splits.train, objective(training.recipe)
    inputs = data.inputs.double() if data.inputs.is_floating_point() else data.inputs

    def loss(w: Tensor) -> Tensor:
        parts = torch.split(w, [shape.numel() for shape in shapes])
        weights = {n: part.view(shape) for n, part, shape in zip(names, parts, shapes, strict=True)}
        return loss_of(functional_call(net, weights, (inputs,)), data.targets)

    return loss


def _mean_weights(training: Training) -> Tensor:
    """(w_t + 2 w_(t+1) + w_(t+2)) / 4."""
    fork = training.fork()
    as_updated(fork.net)
    mean = flat_weights(fork.net).double() / 4
    for share in (0.5, 0.25):
        optimizer_step(fork, flat_gradient(fork, training.splits.train))
        mean += share * flat_weights(fork.net).double()
    return mean
