"""Deep linear networks: products of matrices, solvable and yet not convex."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, Link, register
from universality.plugin.kit import FlatAdapter, flat_adapter, links, require_at_least, scaled_width


class MatrixProduct(nn.Module):
    """`depth` linear layers of one width without biases, then a linear readout."""

    def __init__(self, adapter: FlatAdapter, outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.adapter = adapter
        sizes = [adapter.features, *[width] * depth]
        self.layers = nn.Sequential(*(nn.Linear(fan_in, width, bias=False) for fan_in in sizes[:-1]))
        self.readout = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.layers(self.adapter(x)))
        return logits


@register(
    "deep_linear",
    family="linear",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Saxe et al. 2014, arXiv:1312.6120",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLinear(Architecture):
    """A product of matrices on the flattened input, torch's default initialisation.

    Args:
        width: rows of each hidden matrix; the scaling axis.
        depth: hidden matrices.
    """

    width: int = 128
    depth: int = 2

    def __post_init__(self) -> None:
        require_at_least(1, where="deep_linear", width=self.width, depth=self.depth)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return MatrixProduct(flat_adapter(inputs), outputs, width=self.width, depth=self.depth)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, MatrixProduct)
        return {f"layer{i}": layer for i, layer in enumerate(net.layers, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, MatrixProduct)
        return net.readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        assert isinstance(net, MatrixProduct)
        return links(net.layers, net.readout)

    def scaled(self, factor: float) -> DeepLinear:
        return replace(self, width=scaled_width(self.width, factor))
