"""MLP-Mixer: perceptrons over tokens and over channels in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, Link, register
from universality.plugin.kit import SequenceAdapter, links, require_at_least, scaled_width, sequence_adapter


def perceptron(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))


class MixerBlock(nn.Module):
    """U = X + token_mlp(norm(X)^T)^T, then Y = U + channel_mlp(norm(U)), for X `[rows, length, dim]`."""

    def __init__(self, length: int, dim: int, *, token_width: int, channel_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.tokens = perceptron(length, token_width)
        self.norm2 = nn.LayerNorm(dim)
        self.channels = perceptron(dim, channel_width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.channels(self.norm2(x))
        return out


class MixerNetwork(nn.Module):
    """Mixer blocks, layer normalisation, mean over the tokens, readout."""

    def __init__(
        self, adapter: SequenceAdapter, outputs: int, *, depth: int, token_width: int, channel_width: int
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.blocks = nn.Sequential(
            *(
                MixerBlock(adapter.length, adapter.dim, token_width=token_width, channel_width=channel_width)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(adapter.dim)
        self.readout = nn.Linear(adapter.dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.norm(self.blocks(self.adapter(x)))
        logits: Tensor = self.readout(stream.mean(1))
        return logits


@register(
    "mixer",
    family="mixing",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Tolstikhin et al. 2021, arXiv:2105.01601",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer(Architecture):
    """MLP-Mixer on patches of an image, embedded tokens, steps of a sequence or chunks of a vector.

    The readout has torch's default initialisation; the paper's zero start makes the initial
    curvature of all other weights vanish.

    Args:
        dim: channels of a token; all three widths are the scaling axis.
        token_width: hidden width of the mixing over tokens; the paper takes dim / 2.
        channel_width: hidden width of the mixing over channels; the paper takes 4 dim.
    """

    dim: int = 64
    depth: int = 2
    token_width: int = 32
    channel_width: int = 256

    def __post_init__(self) -> None:
        require_at_least(
            1,
            where="mixer",
            dim=self.dim,
            depth=self.depth,
            token_width=self.token_width,
            channel_width=self.channel_width,
        )

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return MixerNetwork(
            sequence_adapter(inputs, self.dim),
            outputs,
            depth=self.depth,
            token_width=self.token_width,
            channel_width=self.channel_width,
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, MixerNetwork)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, MixerNetwork)
        return net.readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The two perceptrons of every block."""
        assert isinstance(net, MixerNetwork)
        blocks = (block for block in net.blocks if isinstance(block, MixerBlock))
        perceptrons = (part for block in blocks for part in (block.tokens, block.channels))
        return tuple(link for part in perceptrons for link in links(part))

    def scaled(self, factor: float) -> Mixer:
        return replace(
            self,
            dim=scaled_width(self.dim, factor),
            token_width=scaled_width(self.token_width, factor),
            channel_width=scaled_width(self.channel_width, factor),
        )
