"""ConvNeXt: a convolutional network with the habits of transformers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, Link, register
from universality.plugin.kit import (
    ImageAdapter,
    global_average,
    image_adapter,
    links,
    patch_side,
    require_at_least,
    scaled_width,
)


class Block(nn.Module):
    """x + mlp(norm(depthwise(x))), the perceptron on channels, `[rows, channels, height, width]`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        channels_last = self.depthwise(x).permute(0, 2, 3, 1)
        mixed: Tensor = self.mlp(self.norm(channels_last))
        return x + mixed.permute(0, 3, 1, 2)


class ConvNeXtNetwork(nn.Module):
    """Patches by a strided convolution, blocks at one resolution, global average, norm, readout."""

    def __init__(self, adapter: ImageAdapter, outputs: int, *, dim: int, depth: int) -> None:
        super().__init__()
        self.adapter = adapter
        patch = max(1, patch_side(adapter.height) // 2), max(1, patch_side(adapter.width) // 2)
        self.stem = nn.Conv2d(adapter.channels, dim, patch, stride=patch)
        self.blocks = nn.Sequential(*(Block(dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.readout = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(self.adapter(x)))
        logits: Tensor = self.readout(self.norm(global_average(features)))
        return logits


@register(
    "convnext",
    family="modern convolutional",
    accepts={"image", "tokens", "sequence"},
    refuses={"vector": "a vector has no spatial arrangement to convolve"},
    source="Liu et al. 2022, arXiv:2201.03545",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNeXt(Architecture):
    """One stage of ConvNeXt, without the scale of 1e-6 on its branches, at which curvature would start at zero.

    Args:
        dim: channels; the scaling axis.
        depth: blocks.
    """

    dim: int = 32
    depth: int = 2

    def __post_init__(self) -> None:
        require_at_least(1, where="convnext", dim=self.dim, depth=self.depth)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return ConvNeXtNetwork(image_adapter(inputs), outputs, dim=self.dim, depth=self.depth)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, ConvNeXtNetwork)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, ConvNeXtNetwork)
        return net.readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The perceptron of every block."""
        assert isinstance(net, ConvNeXtNetwork)
        blocks = (block for block in net.blocks if isinstance(block, Block))
        return tuple(link for block in blocks for link in links(block.mlp))

    def scaled(self, factor: float) -> ConvNeXt:
        return replace(self, dim=scaled_width(self.dim, factor))
