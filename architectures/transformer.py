"""A small causal transformer, as studied for grokking and in-context learning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from universality.plugin import Architecture, BadParameter, InputSpec, Link, register
from universality.plugin.kit import SequenceAdapter, links, require_at_least, scaled_width, sequence_adapter


class CausalAttention(nn.Module):
    """softmax(Q K^T / sqrt(dim / heads) + causal mask) V per head, then a linear map.

    Args:
        last: only the last position asks, which sees all of them: `[n, L, dim]` -> `[n, 1, dim]`.
    """

    def __init__(self, dim: int, heads: int, *, last: bool = False) -> None:
        super().__init__()
        self.heads, self.last = heads, last
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "n L dim"]) -> Float[Tensor, "n positions dim"]:
        mixed: Tensor = self.out(self._of_last(x) if self.last else self._of_all(x))
        return mixed

    def _of_all(self, x: Tensor) -> Tensor:
        # [n, L, 3 dim] -> three of [n, heads, L, dim / heads]
        # Every size is given: of 0 rows none can be inferred.
        parts = (3, self.heads, x.shape[2] // self.heads)
        q, k, v = self.qkv(x).unflatten(2, parts).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return attended.transpose(1, 2).flatten(2)

    def _of_last(self, x: Tensor) -> Tensor:
        # By name: in a frozen copy they are buffers, and `parameters()` is empty.
        (rows, length, dim), parameters = x.shape, (self.qkv.weight, self.qkv.bias)
        split = self.heads, dim // self.heads
        (ask, seen), (ask_bias, seen_bias) = (p.tensor_split((dim,)) for p in parameters)
        q = F.linear(x[:, -1:], ask, ask_bias).reshape(rows, 1, *split)
        k, v = F.linear(x, seen, seen_bias).reshape(rows, length, 2, *split).unbind(2)
        # Of one query, sums of products take a third of the time of batched matrices of one row.
        weights = (q * q.shape[3] ** -0.5 * k).sum(3, keepdim=True).softmax(1)
        attended: Tensor = (weights * v).sum(1, keepdim=True)
        return attended.flatten(2)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm form of Xiong et al. 2020 (arXiv:2002.04745).

    Args:
        last: leave out what only other positions than the last would need.
    """

    def __init__(self, dim: int, heads: int, *, norm: bool, last: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim) if norm else nn.Identity()
        self.attention = CausalAttention(dim, heads, last=last)
        self.norm2 = nn.LayerNorm(dim) if norm else nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Float[Tensor, "n L dim"]) -> Float[Tensor, "n positions dim"]:
        x = (x[:, -1:] if self.attention.last else x) + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class CausalTransformer(nn.Module):
    """Blocks over a sequence with learned positions; the last position is read out.

    Nothing else leaves the last block, so it computes nothing else: the same function and the same
    gradients for half of the operations of one block over two tokens, a sixth over 32.
    """

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, heads: int, depth: int, norm: bool) -> None:
        super().__init__()
        dim = adapter.dim
        self.adapter = adapter
        self.positions = nn.Parameter(dim**-0.5 * torch.randn(adapter.length, dim))
        self.blocks = nn.Sequential(
            *(Block(dim, heads, norm=norm, last=number == depth - 1) for number in range(depth))
        )
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.readout = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.blocks(self.adapter(x) + self.positions)
        logits: Tensor = self.readout(self.norm(stream[:, -1]))
        return logits


@register(
    "transformer",
    family="attention",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2018",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer(Architecture):
    """Decoder-only transformer on tokens, steps of a sequence, patches of an image (row by row) or chunks of a vector.

    Fused attention, in all blocks but the last, has no second derivative on a CPU: Hessian-vector
    products run under `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`. The tap of the last block
    is the position that is read out, those of the others are all positions.

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

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The feed-forward part of every block."""
        assert isinstance(net, CausalTransformer)
        blocks = (block for block in net.blocks if isinstance(block, Block))
        return tuple(link for block in blocks for link in links(block.mlp))

    def scaled(self, factor: float) -> Transformer:
        return replace(self, dim=scaled_width(self.dim, factor, multiple=self.heads))
