"""Where a live optimizer stops being stable: threshold and preconditioner of its next steps.

On a quadratic with Hessian H, an optimizer with its preconditioner P frozen converges while
lambda_max(P^-1/2 H P^-1/2) is below a threshold that its hyperparameters fix. d: parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure


@measure
def stability_threshold(optimizer: Optimizer) -> float:
    """The curvature at which the optimizer's linearised dynamics lose stability, at its present lr.

    With momentum b, and all along one eigenvector of curvature h, an update is a two-step linear
    recurrence; it leaves the unit circle through -1 at

        gradient descent, RMSprop           h = 2 / lr
        heavy ball (also of RMSprop)        h = 2 (1 + b) / lr
        Nesterov                            h = 2 (1 + b) / ((1 + 2 b) lr)
        Adam                                h = 2 (1 + b1) / ((1 - b1) lr)
        AdamW, decoupled decay w            h = (2 - lr w) (1 + b1) / ((1 - b1) lr)

    to be compared with the top eigenvalue of P^-1/2 (H + w I) P^-1/2, where P is `preconditioner`
    and w is `l2_decay`: see `preconditioned`.

    Raises:
        MeasurementError: an optimizer or option without a known threshold (dampening, amsgrad,
            centred RMSprop, maximize, a subclass), groups with different settings, an lr that is not
            positive and finite, momentum outside [0, 1), or decoupled decay with lr w >= 2, which
            diverges at any curvature.

    Source: Cohen et al. 2021, arXiv:2103.00065 (gradient descent, momentum); Cohen et al. 2022,
    arXiv:2207.14484 (adaptive).

    Cost: none.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> round(stability_threshold(torch.optim.Adam([weight], lr=0.5)), 9)
    76.0
    """
    group = _settings(optimizer)
    lr = float(group["lr"])
    if not (lr > 0 and math.isfinite(lr)):
        raise MeasurementError(
            "no stability threshold at this learning rate",
            where="stability_threshold",
            got=f"lr={lr}",
            do="measure where the rate is positive; a warmup from 0 has none before its first update",
        )
    adam = isinstance(optimizer, Adam)
    b = float(group["betas"][0] if adam else group["momentum"])
    if not 0 <= b < 1:
        raise MeasurementError(
            "no stability threshold at this momentum",
            where="stability_threshold",
            got=f"momentum {b}",
            expected="0 <= momentum < 1",
        )
    if adam:
        shrink = lr * float(group["weight_decay"]) if group.get("decoupled_weight_decay") else 0.0
        if not 0 <= shrink < 2:
            raise MeasurementError(
                "decoupled decay that is unstable by itself",
                where="stability_threshold",
                got=f"lr * weight_decay = {shrink}",
                expected="0 <= lr * weight_decay < 2",
            )
        return (2 - shrink) * (1 + b) / ((1 - b) * lr)
    return 2 * (1 + b) / ((1 + 2 * b if group.get("nesterov") else 1) * lr)


@measure
def l2_decay(optimizer: Optimizer) -> float:
    """The weight decay w that acts as w/2 |x|^2 in the loss, so that the curvature is H + w I.

    Zero for decoupled decay, which is no part of the loss but moves the threshold.

    Cost: none.

    Raises:
        MeasurementError: as `stability_threshold`.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101 (the two decays).

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> l2_decay(torch.optim.SGD([weight], lr=1.0, weight_decay=0.25))
    0.25
    >>> l2_decay(torch.optim.AdamW([weight], weight_decay=0.25))
    0.0
    """
    group = _settings(optimizer)
    return 0.0 if group.get("decoupled_weight_decay") else float(group["weight_decay"])


@measure
def preconditioner(
    optimizer: Optimizer, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, " d"]:
    """The diagonal of P that the optimizer will divide its next step by.

        SGD       1
        RMSprop   sqrt(v) + eps,                    v <- alpha v + (1 - alpha) g^2
        Adam(W)   sqrt(v / (1 - b2^t)) + eps,       v <- b2 v + (1 - b2) g^2

    with t the number of the next step, v zero before the first, and g including L2 decay. Nothing
    of the optimizer changes.

    Args:
        parameters: the order in which the result is flattened.
        gradients: of the loss at the present parameters (`HessianOperator.gradients`).

    Raises:
        MeasurementError: as `stability_threshold`, parameters that the optimizer does not train or that are
            given twice, gradients that are missing, of other shapes or not finite.

    Source: Cohen et al. 2022, arXiv:2207.14484.

    Cost: O(d); no gradient is taken.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> adam = torch.optim.Adam([weight], eps=0.5)
    >>> preconditioner(adam, [weight], [torch.tensor([3.0, -1.0])])  # first step: |g| + eps
    tensor([3.5000, 1.5000])
    """
    group = _settings(optimizer)
    missing = [i for i, gradient in enumerate(gradients) if not isinstance(gradient, Tensor)]
    if missing:
        raise MeasurementError(
            "a parameter without a gradient",
            where="preconditioner",
            got=f"{type(gradients[missing[0]]).__name__} at place {missing[0]}, {len(missing)} in all",
            expected="a tensor for each parameter",
            do="call backward first, or give zeros for a parameter that the loss does not depend on",
        )
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise MeasurementError(
            "a parameter that is given twice", where="preconditioner", do="list each parameter once"
        )
    trained = {id(parameter) for other in optimizer.param_groups for parameter in other["params"]}
    alike = len(parameters) == len(gradients) and all(
        parameter.shape == gradient.shape for parameter, gradient in zip(parameters, gradients, strict=True)
    )
    if not alike or any(id(parameter) not in trained for parameter in parameters):
        raise MeasurementError(
            "a preconditioner is defined for trained parameters with their gradients",
            where="preconditioner",
            got=f"{len(parameters)} parameters, {len(gradients)} gradients, "
            f"{sum(id(parameter) not in trained for parameter in parameters)} not in the optimizer",
            expected="a gradient of the same shape for each parameter of the optimizer",
        )
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise NotFinite("gradients are not finite", where="preconditioner", got="NaN or infinity")
    if isinstance(optimizer, SGD):
        return torch.cat([torch.ones_like(p, requires_grad=False).reshape(-1) for p in parameters])
    adam = isinstance(optimizer, Adam)
    name, beta = ("exp_avg_sq", group["betas"][1]) if adam else ("square_avg", group["alpha"])
    decay = l2_decay(optimizer)
    diagonal = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        state = optimizer.state.get(parameter, {})
        g = gradient.detach() + decay * parameter.detach()
        old = state.get(name)
        v = (1 - beta) * g**2 if old is None else beta * old + (1 - beta) * g**2
        if adam:
            v = v / (1 - beta ** (float(state.get("step", 0)) + 1))
        diagonal.append((v.sqrt() + group["eps"]).reshape(-1))
    return torch.cat(diagonal)


@measure
def preconditioned(
    matvec: Callable[[Tensor], Tensor], diagonal: Float[Tensor, " d"], decay: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """v -> P^-1/2 (H + decay I) P^-1/2 v, symmetric, with the eigenvalues of P^-1 (H + decay I).

    Raises:
        MeasurementError: an entry of P that is not positive and finite, a decay that is negative or not
            finite; on a product, a vector of another size.

    Cost: two products of d numbers beside that of the operator.

    Source: Cohen et al. 2022, arXiv:2207.14484.

    >>> product = preconditioned(lambda v: 6 * v, torch.tensor([4.0, 1.0]), decay=2.0)
    >>> product(torch.ones(2))
    tensor([2., 8.])
    """
    if not bool((torch.isfinite(diagonal) & (diagonal > 0)).all()):
        raise MeasurementError(
            "a preconditioner must be positive",
            where="preconditioned",
            got=f"minimum {diagonal.min().item():g}, {int((~torch.isfinite(diagonal)).sum())} not finite",
            do="give the optimizer a positive eps, or measure after its first gradient",
        )
    if not (decay >= 0 and math.isfinite(decay)):
        raise MeasurementError(
            "no such decay", where="preconditioned", got=str(decay), expected="finite, at least 0"
        )
    root = diagonal.rsqrt()

    @measure
    def product(vector: Tensor) -> Tensor:
        if vector.shape != root.shape:
            raise MeasurementError(
                "a vector of another size than the preconditioner",
                where="preconditioned",
                got=str(list(vector.shape)),
                expected=str(list(root.shape)),
            )
        scaled = root * vector
        image = matvec(scaled)
        return root * (image + decay * scaled if decay else image)

    return product


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """The hyperparameters that all groups share."""
    groups: list[dict[str, Any]] = [
        {name: value for name, value in group.items() if name not in ("params", "param_names")}
        for group in optimizer.param_groups
    ]
    group = groups[0]
    wrong = ""
    if type(optimizer) not in (SGD, Adam, AdamW, RMSprop):  # a subclass may step otherwise
        wrong = type(optimizer).__name__
    elif any(other != group for other in groups[1:]):
        wrong = f"{len(groups)} parameter groups with different settings"
    else:
        for option in ("dampening", "amsgrad", "centered", "maximize"):
            if group.get(option):
                wrong = f"{type(optimizer).__name__}({option}={group[option]})"
    if wrong:
        raise MeasurementError(
            "an optimizer without a known stability threshold",
            where="stability_threshold",
            got=wrong,
            expected="SGD, Adam, AdamW or RMSprop without dampening, amsgrad, centered or maximize, "
            "one setting for all parameters",
            do="train with one of these; or take the Hessian alone, top_eigenvalues(HessianOperator(...)), as "
            "universality.watch does beside other optimizers",
        )
    return group
