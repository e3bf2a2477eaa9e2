"""Diagonal state space models: a linear recurrence over the sequence, computed as a convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import SequenceAdapter, require_at_least, scaled_width, sequence_adapter


class StateSpace(nn.Module):
    """y = K * u + D u for each channel alone, with K_t = 2 Re(sum_n c_n exp(t dt a_n)).

    a_n = -exp(r_n) + i w_n, started at -1/2 + i pi n, steps dt log-uniform in [0.001, 0.1] (S4D-Lin, Gu et al. 2022,
    arXiv:2206.11893; the discretisation's factor is part of c). Real numbers only, so that every derivative is one.
    Cost: O(L log L) for the convolution by Fourier transforms of length 2 L.
    """

    def __init__(self, dim: int, states: int) -> None:
        super().__init__()
        self.log_step = nn.Parameter(math.log(0.001) + torch.rand(dim, 1) * (math.log(0.1) - math.log(0.001)))
        self.log_decay = nn.Parameter(torch.full((dim, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(float(states)).repeat(dim, 1))
        self.real = nn.Parameter(torch.randn(dim, states) / states**0.5)
        self.imaginary = nn.Parameter(torch.randn(dim, states) / states**0.5)
        self.skip = nn.Parameter(torch.randn(dim))

    def kernel(self, length: int) -> Tensor:
        """`[dim, length]`."""
        step = self.log_step.exp()
        time = torch.arange(length, dtype=step.dtype, device=step.device)
        decay = (-step * self.log_decay.exp()).unsqueeze(2) * time
        phase = (step * self.frequency).unsqueeze(2) * time
        waves = self.real.unsqueeze(2) * phase.cos() - self.imaginary.unsqueeze(2) * phase.sin()
        kernel: Tensor = 2 * (decay.exp() * waves).sum(1)
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        if not len(x):
            return x  # of no rows there is no Fourier transform
        u = x.transpose(1, 2)
        spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(self.kernel(length), n=2 * length)
        y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + self.skip.unsqueeze(1) * u
        out: Tensor = y.transpose(1, 2)
        return out


class Block(nn.Module):
    """x + linear(gelu(state space(norm(x))))."""

    def __init__(self, dim: int, states: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.space = StateSpace(dim, states)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mix(self.space(self.norm(x)))
        return out


class StateSpaceNetwork(nn.Module):
    """Blocks over a sequence, mean over its positions, readout."""

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, depth: int, states: int) -> None:
        super().__init__()
        self.adapter = adapter
        self.blocks = nn.Sequential(*(Block(adapter.dim, states) for _ in range(depth)))
        self.readout = nn.Linear(adapter.dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = self.blocks(self.adapter(x))
        logits: Tensor = self.readout(stream.mean(1))
        return logits


@register(
    "state_space",
    family="state space",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Gu et al. 2022, arXiv:2206.11893",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DiagonalStateSpace(Architecture):
    """S4D on tokens, the steps of a sequence, the pixel rows of an image or the chunks of a vector.

    Args:
        dim: channels; the scaling axis.
        states: complex states of each channel.
    """

    dim: int = 64
    depth: int = 2
    states: int = 8

    def __post_init__(self) -> None:
        require_at_least(1, where="state_space", dim=self.dim, depth=self.depth, states=self.states)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        adapter = sequence_adapter(inputs, self.dim, images="rows")
        return StateSpaceNetwork(adapter, outputs, depth=self.depth, states=self.states)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, StateSpaceNetwork)
        return {f"block{i}": block for i, block in enumerate(net.blocks, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, StateSpaceNetwork)
        return net.readout

    def scaled(self, factor: float) -> DiagonalStateSpace:
        return replace(self, dim=scaled_width(self.dim, factor))
