"""Weights whose size does not matter: normalisation of every map, of any architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from universality.plugin import Architecture, InputSpec, Modifier, register
from universality.plugin.kit import require_at_least


class Normalised(nn.Module):
    """`net` at the weights w_i = s_i v_i / |v_i|, with v its parameters of the given names and i their first axis.

    s_i = |w_i| as `net` is found, in buffers. Rows that start at 0 are their own weights.
    """

    def __init__(self, net: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.net, self.names = net, list(names)
        for number, name in enumerate(names):
            self.register_buffer(f"size{number}", _sizes(net.get_parameter(name).detach()))

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows outputs"]:
        own = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}
        weights = {}
        for number, name in enumerate(self.names):
            v, s = own[name], self.get_buffer(f"size{number}")
            # Where s = 0, |v| = 0 at the start, and its derivative is infinite.
            length = _sizes(torch.where(s > 0, v, torch.ones_like(v)))
            weights[name] = torch.where(s > 0, s / length, torch.ones_like(s)) * v
        logits: Tensor = functional_call(self.net, weights, (x,))
        return logits


@register(
    "normalised", source="Salimans and Kingma 2016, arXiv:1602.07868; Kosson et al. 2024, arXiv:2305.17212"
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedWeights(Modifier):
    """The network of any rescaling of the rows of its weights is one: w_i = s_i v_i / |v_i|, with s_i = |w_i| at the start.

    v is trained, rows of every parameter with two axes or more; biases and gains are left as they are. The gradient
    is orthogonal to v_i and as 1/|v_i|. It is weight normalisation without its gains. A row that starts at 0 is left out.

    Args:
        rms: root mean square of the elements of every v_i at the start, which changes no output; 0 leaves v = w.
    """

    rms: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(0, where="normalised", rms=self.rms)

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        names = [name for name, parameter in net.named_parameters() if parameter.ndim >= 2]
        made = Normalised(net, names)
        if self.rms:
            with torch.no_grad():
                for number, name in enumerate(names):
                    v, s = net.get_parameter(name), made.get_buffer(f"size{number}")
                    size = self.rms * math.sqrt(v[0].numel())
                    v.mul_(torch.where(s > 0, size / s, torch.ones_like(s)))
        return made

    def unwrap(self, net: nn.Module) -> nn.Module:
        return net.net if isinstance(net, Normalised) else net


def _sizes(v: Tensor) -> Tensor:
    """|v_i|, with the axes of v."""
    return v.square().sum(dim=tuple(range(1, v.ndim)), keepdim=True).sqrt()
