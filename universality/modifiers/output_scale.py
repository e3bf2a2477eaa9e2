"""The output scale, the knob between feature learning and the lazy regime."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from universality.plugin import Architecture, InputSpec, Modifier, register
from universality.plugin.kit import ScaledOutput


@register("output_scale", source="Chizat et al. 2019, arXiv:1812.07956")
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputScale(Modifier):
    """f = alpha h(w), or centred, alpha (h(w) - h(w0)) with w0 the initial weights.

    See `universality.plugin.kit.ScaledOutput`. Cost: centred, a second forward pass without gradient.
    """

    stacks_over = frozenset({"alpha"})

    alpha: float = 1.0
    centred: bool = False

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        return ScaledOutput(net, self.alpha, centred=self.centred)

    def unwrap(self, net: nn.Module) -> nn.Module:
        assert isinstance(net, ScaledOutput)
        return net.net
