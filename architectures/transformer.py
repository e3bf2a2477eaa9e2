"""A small causal transformer, as studied for grokking and in-context learning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.nn import SequenceAdapter, require_at_least, scaled_width, sequence_adapter
from universality.plugin import Architecture, BadParameter, InputSpec, register


class CausalAttention(nn.Module):
    """softmax(Q K^T / sqrt(dim / heads) + causal mask) V per head, then a linear map."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        # [n, L, 3 dim] -> three of [n, heads, L, dim / heads]
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm form of Xiong et al. 2020 (arXiv:2002.04745)."""

    def __init__(self, dim: int, heads: int, *, norm: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim) if norm else nn.Identity()
        self.attention = CausalAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim) if norm else nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class CausalTransformer(nn.Module):
    """Blocks over a sequence with learned positions; the last position is read out."""

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, heads: int, depth: int, norm: bool) -> None:
        super().__init__()
        dim = adapter.dim
        self.adapter = adapter
        self.positions = nn.Parameter(dim**-0.5 * torch.randn(adapter.length, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, norm=norm) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.readout = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.blocks(self.adapter(x) + self.positions)
        logits: Tensor = self.readout(self.norm(stream[:, -1]))
        return logits


@register(
    "transformer",
    family="attention",
    accepts={"vector", "image", "tokens"},
    source="Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2018",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer(Architecture):
    """Decoder-only transformer on tokens, patches of an image (row by row) or chunks of a vector.

    Fused attention has no second derivative on a CPU: Hessian-vector products run under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.

    Args:
        dim: width of the residual stream; the scaling axis, a multiple of `heads`.
        depth: blocks, each with a feed-forward part of width 4 `dim`.
        norm: layer normalisation before each part and before the readout.
    """

    dim: int = 64
    depth: int = 1
    heads: int = 4
    norm: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, where="transformer", dim=self.dim, depth=self.depth, heads=self.heads)
        if self.dim % self.heads:
            raise BadParameter(
                "heads do not divide dim", where="transformer", got=f"dim={self.dim}, heads={self.heads}"
            )

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return CausalTransformer(
            sequence_adapter(inputs, self.dim), outputs, heads=self.heads, depth=self.depth, norm=self.norm
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, CausalTransformer)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, CausalTransformer)
        return net.readout

    def scaled(self, factor: float) -> Transformer:
        return replace(self, dim=scaled_width(self.dim, factor, multiple=self.heads))
