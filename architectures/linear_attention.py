"""A transformer whose attention is linear in the length of its sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.plugin import Architecture, BadParameter, InputSpec, Link, register
from universality.plugin.kit import SequenceAdapter, links, require_at_least, scaled_width, sequence_adapter


class LinearAttention(nn.Module):
    """phi(q) (sum_j phi(k_j) v_j^T) / (phi(q) sum_j phi(k_j)) per head, phi = elu + 1, over all positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        parts = (3, self.heads, x.shape[2] // self.heads)
        q, k, v = self.qkv(x).unflatten(2, parts).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        seen = q @ (k.transpose(2, 3) @ v)
        weight = q @ k.sum(2).unsqueeze(3)
        mixed: Tensor = self.out((seen / weight).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = LinearAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class LinearTransformer(nn.Module):
    """Blocks over a sequence with learned positions, layer normalisation, mean over positions, readout."""

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, heads: int, depth: int) -> None:
        super().__init__()
        dim = adapter.dim
        self.adapter = adapter
        self.positions = nn.Parameter(dim**-0.5 * torch.randn(adapter.length, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.readout = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.norm(self.blocks(self.adapter(x) + self.positions))
        logits: Tensor = self.readout(stream.mean(1))
        return logits


@register(
    "linear_attention",
    family="linear attention",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Katharopoulos et al. 2020, arXiv:2006.16236",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttentionTransformer(Architecture):
    """Encoder with linear attention on tokens, steps of a sequence, patches of an image or chunks of a vector.

    Args:
        dim: width of the residual stream; the scaling axis, a multiple of `heads`.
    """

    dim: int = 64
    depth: int = 1
    heads: int = 4

    def __post_init__(self) -> None:
        require_at_least(1, where="linear_attention", dim=self.dim, depth=self.depth, heads=self.heads)
        if self.dim % self.heads:
            raise BadParameter(
                "heads do not divide dim", where="linear_attention", got=f"dim={self.dim}, heads={self.heads}"
            )

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return LinearTransformer(
            sequence_adapter(inputs, self.dim), outputs, heads=self.heads, depth=self.depth
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, LinearTransformer)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, LinearTransformer)
        return net.readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The feed-forward part of every block."""
        assert isinstance(net, LinearTransformer)
        blocks = (block for block in net.blocks if isinstance(block, Block))
        return tuple(link for block in blocks for link in links(block.mlp))

    def scaled(self, factor: float) -> LinearAttentionTransformer:
        return replace(self, dim=scaled_width(self.dim, factor, multiple=self.heads))
