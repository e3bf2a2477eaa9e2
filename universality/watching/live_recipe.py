"""The recipe of a training that no recipe describes, read from its live optimizer."""

from __future__ import annotations

import sys
from typing import Any

import torch

from universality.plugin.kit.updates import main_group
from universality.plugin.spec import Loss, Optimizer, Recipe

KNOWN = "SGD, Adam, AdamW or RMSprop of torch.optim"


def unknown(optimizer: torch.optim.Optimizer) -> str:
    """Why no recipe says what an optimizer does; empty where one does.

    A subclass may step otherwise than its base, and so do the options that no recipe has.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> unknown(torch.optim.SGD([weight], lr=0.1)), unknown(torch.optim.Adagrad([weight]))
    ('', 'the optimizer Adagrad is not known, only SGD, Adam, AdamW or RMSprop of torch.optim')
    """
    name, group = type(optimizer).__name__, optimizer.param_groups[0]
    kinds = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
    if type(optimizer) not in kinds:
        return f"the optimizer {name} is not known, only {KNOWN}"
    for option in ("dampening", "amsgrad", "centered", "maximize"):
        if group.get(option):
            return f"{name} is not known with {option}={group[option]}"
    return ""


def recipe_of(
    optimizer: torch.optim.Optimizer, *, steps: int, loss: Loss, batch_size: int, rate: float | None = None
) -> Recipe:
    """What the optimizer does at present, as a recipe of so many updates.

    Of an optimizer that is `unknown` nothing but rate and decay is told, under the name of the one that least is
    derived for: probes that are defined for gradient descent refuse it.

    Args:
        batch_size: rows of an update, 0 for all.
        rate: in the place of the present one.

    Cost: none; a wait for the device where the rate is a tensor on it.
    """
    group: dict[str, Any] = optimizer.param_groups[main_group(optimizer)]
    lr = float(group["lr"]) if rate is None else rate
    # A recipe has a positive rate; a warmup from 0 has none before its first update.
    common: dict[str, Any] = {
        "steps": steps,
        "lr": lr if lr > 0 else sys.float_info.min,
        "loss": loss,
        "batch_size": batch_size,
        "weight_decay": float(group.get("weight_decay", 0.0)),
    }
    if unknown(optimizer):
        return Recipe(optimizer="adamw", **common)
    if isinstance(optimizer, torch.optim.SGD):
        return Recipe(momentum=float(group["momentum"]), nesterov=bool(group["nesterov"]), **common)
    eps = float(group["eps"])
    if isinstance(optimizer, torch.optim.RMSprop):
        beta2, momentum = float(group["alpha"]), float(group["momentum"])
        return Recipe(optimizer="rmsprop", beta2=beta2, eps=eps, momentum=momentum, **common)
    beta1, beta2 = map(float, group["betas"])
    kind: Optimizer = "adamw" if group.get("decoupled_weight_decay") else "adam"
    return Recipe(optimizer=kind, beta1=beta1, beta2=beta2, eps=eps, **common)
