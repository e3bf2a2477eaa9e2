"""Checkpoints: every parameter and buffer of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from universality.plugin import Probe, Signature, Training, register


@register("weights")
@dataclass(kw_only=True)
class Weights(Probe):
    """The network's `state_dict`, one array per entry under its own name.

    `universality.train.engine.restore` makes a network of it again. Cost: a copy of the parameters.
    """

    def stored(self, signature: Signature, row_bytes: float, parameters: int) -> float:
        return 4.0 * parameters

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        return {name: tensor.detach().clone() for name, tensor in training.net.state_dict().items()}
