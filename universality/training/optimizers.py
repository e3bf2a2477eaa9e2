"""torch's own optimizers from a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from universality.spec import Recipe


def build_optimizer(recipe: Recipe, params: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The recipe's optimizer at learning rate `lr`, with torch's semantics of weight decay.

    `sgd`, `adam` and `rmsprop` add decay to the gradient (L2), `adamw` decouples it.
    """
    betas, decay = (recipe.beta1, recipe.beta2), recipe.weight_decay
    parameters = list(params)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr, betas=betas, eps=recipe.eps, weight_decay=decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr, betas=betas, eps=recipe.eps, weight_decay=decay)
    return torch.optim.RMSprop(
        parameters, lr, alpha=recipe.beta2, eps=recipe.eps, weight_decay=decay, momentum=recipe.momentum
    )


def milestone_steps(recipe: Recipe) -> tuple[int, ...]:
    """Steps before whose update lr is multiplied by gamma."""
    return tuple(sorted({round(fraction * recipe.steps) for fraction in recipe.milestones}))
