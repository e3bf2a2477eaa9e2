"""The scale of the initial weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from universality.plugin import Architecture, InputSpec, Modifier, register
from universality.plugin.kit import recentre, require_at_least


@register("init_scale", source="Liu et al. 2022, arXiv:2210.01117")
@dataclass(frozen=True, slots=True, kw_only=True)
class InitScale(Modifier):
    """w0 <- scale w0 for every parameter with two axes or more: maps, convolutions, embeddings, positions.

    Biases and gains of norms start as they are. `mlp[init_scale=...]` multiplies them too.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(0, where="init_scale", scale=self.scale)

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.ndim >= 2:
                    parameter.mul_(self.scale)
        recentre(net)
        return net
