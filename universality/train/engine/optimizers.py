"""torch's own optimizers from a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from universality.plugin.spec import Recipe


def trainable(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.requires_grad]


def build_optimizer(
    recipe: Recipe, params: Iterable[Tensor], lr: float, *, on_device: bool = False
) -> torch.optim.Optimizer:
    """The recipe's optimizer at learning rate `lr`, with torch's semantics of weight decay.

    `sgd`, `adam` and `rmsprop` add decay to the gradient (L2), `adamw` decouples it.

    Args:
        on_device: torch's fused form where there is one (not of RMSprop): the rate is a tensor, and
            a step can be captured in a CUDA graph. Not to the last bit the other form.
    """
    betas, decay = (recipe.beta1, recipe.beta2), recipe.weight_decay
    parameters = list(params)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            parameters, lr, alpha=recipe.beta2, eps=recipe.eps, weight_decay=decay, momentum=recipe.momentum
        )
    rate: float | Tensor = torch.tensor(lr, device=parameters[0].device) if on_device else lr
    fused = True if on_device else None
    if recipe.optimizer == "sgd":
        momentum, nesterov = recipe.momentum, recipe.nesterov
        return torch.optim.SGD(
            parameters, rate, momentum=momentum, nesterov=nesterov, weight_decay=decay, fused=fused
        )
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if recipe.optimizer not in kinds:
        raise ValueError(f"unknown optimizer {recipe.optimizer!r}")
    capturable = on_device and parameters[0].is_cuda
    return kinds[recipe.optimizer](
        parameters, rate, betas=betas, eps=recipe.eps, weight_decay=decay, fused=fused, capturable=capturable
    )
