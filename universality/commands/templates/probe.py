"""How large the gradient is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from universality import plugin as u
from universality.plugin.kit.updates import flat_gradient


@u.register("example")
@dataclass(kw_only=True)
class Example(u.Probe):
    """`norm` = |gradient of the training loss|, over all training rows and trained weights."""

    # Numbers become series, tensors arrays: this one is `example.norm`. What is changed here is restored, but for
    # weights and optimizer, which must be left alone.
    def record(self, training: u.Training) -> Mapping[str, float | Tensor]:
        return {"norm": float(flat_gradient(training, training.splits.train).norm())}

    # For forecasts: what one record costs, in gradients of that loss.
    def cost(self, recipe: u.Recipe, signature: u.Signature) -> float:
        return 1.0
