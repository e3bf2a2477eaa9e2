"""The transformer of today's language models: root mean square norms, rotary positions, gated units, no biases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.plugin import Architecture, BadParameter, InputSpec, register
from universality.plugin.kit import SequenceAdapter, require_at_least, scaled_width, sequence_adapter

BASE = 10_000.0
"""Of the wavelengths of rotary positions (Su et al. 2021)."""


def rotated(x: Tensor) -> Tensor:
    """Pairs (x_i, x_{i + d/2}) of position t turned by t BASE^(-2 i / d): `[..., length, d]`, d even."""
    length, half = x.shape[-2], x.shape[-1] // 2
    rate = BASE ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angle = torch.arange(length, dtype=x.dtype, device=x.device).unsqueeze(1) * rate
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        (first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()), -1
    )


class RotaryAttention(nn.Module):
    """Causal attention, queries and keys turned by their positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = (3, self.heads, x.shape[2] // self.heads)
        q, k, v = self.qkv(x).unflatten(2, parts).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class SwiGLU(nn.Module):
    """W3 (silu(W1 x) * W2 x), 8/3 times as wide as the stream (Shazeer 2020)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(1, 8 * dim // 3)
        self.gate, self.value = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.out = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + swiglu(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.attention = RotaryAttention(dim, heads)
        self.mlp = SwiGLU(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class LanguageModel(nn.Module):
    """Blocks over a sequence; the last position is read out."""

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, heads: int, depth: int) -> None:
        super().__init__()
        self.adapter = adapter
        self.blocks = nn.Sequential(*(Block(adapter.dim, heads) for _ in range(depth)))
        self.norm = nn.RMSNorm(adapter.dim)
        self.readout = nn.Linear(adapter.dim, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.blocks(self.adapter(x))
        logits: Tensor = self.readout(self.norm(stream[:, -1]))
        return logits


@register(
    "llama",
    family="rotary attention",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Touvron et al. 2023, arXiv:2302.13971",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Llama(Architecture):
    """Decoder-only transformer (RMSNorm, rotary positions, SwiGLU) on what `transformer` takes.

    Args:
        dim: width of the residual stream; the scaling axis, a multiple of 2 `heads`.
    """

    dim: int = 64
    depth: int = 1
    heads: int = 4

    def __post_init__(self) -> None:
        require_at_least(1, where="llama", dim=self.dim, depth=self.depth, heads=self.heads)
        if self.dim % (2 * self.heads):
            raise BadParameter(
                "numbers of a head come in pairs",
                where="llama",
                got=f"dim={self.dim}, heads={self.heads}",
                expected="dim a multiple of 2 heads",
            )

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return LanguageModel(sequence_adapter(inputs, self.dim), outputs, heads=self.heads, depth=self.depth)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, LanguageModel)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, LanguageModel)
        return net.readout

    def scaled(self, factor: float) -> Llama:
        return replace(self, dim=scaled_width(self.dim, factor, multiple=2 * self.heads))
