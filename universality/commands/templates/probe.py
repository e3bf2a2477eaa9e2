"""How large the gradient is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from universality import plugin as u
from universality.plugin.kit.losses import objective


@u.register("example")
@dataclass(kw_only=True)
class Example(u.Probe):
    """`norm` = |gradient of the training loss|, over all training rows and trained weights."""

    # Numbers become series, tensors arrays: this one is `example.norm`. What is changed here is restored, but for
    # weights and optimizer, which must be left alone.
    def record(self, training: u.Training) -> Mapping[str, float | Tensor]:
        net, data = training.net, training.splits.train
        loss = objective(training.recipe)(net(data.inputs), data.targets)
        trained = [p for p in net.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, trained)
        return {"norm": float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())}

    # For forecasts: what one record costs, in gradients of that loss.
    def cost(self, recipe: u.Recipe, signature: u.Signature) -> float:
        return 1.0
