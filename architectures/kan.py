"""Kolmogorov-Arnold networks: a learned function of one variable on every edge, sums at the nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import FlatAdapter, flat_adapter, require_at_least, scaled_width

REACH = 2.0
"""The grid covers [-REACH, REACH]: inputs are of order 1, hidden units pass through tanh."""
ORDER = 3
"""Cubic splines, which have two derivatives."""


def spline_basis(x: Tensor, grid: int) -> Tensor:
    """The cubic B-splines of `grid` equal intervals over [-REACH, REACH] at every entry: `[...]` -> `[..., grid + 3]`.

    By the recursion of Cox and de Boor on uniform knots; zero beyond the outermost of them.
    """
    width = 2 * REACH / grid
    knots = torch.arange(-ORDER, grid + ORDER + 1, dtype=x.dtype, device=x.device) * width - REACH
    scaled = x.unsqueeze(-1)
    basis = ((scaled >= knots[:-1]) & (scaled < knots[1:])).to(x.dtype)
    for order in range(1, ORDER + 1):
        span = order * width
        left = (scaled - knots[: -order - 1]) / span * basis[..., :-1]
        basis = left + (knots[order + 1 :] - scaled) / span * basis[..., 1:]
    return basis


class EdgeFunctions(nn.Module):
    """y_j = sum_i (w_ji silu(x_i) + sum_b c_jib B_b(x_i)), the residual form of Liu et al. 2024, equation 2.10."""

    def __init__(self, fan_in: int, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.base = nn.Linear(fan_in, width)
        self.splines = nn.Linear(fan_in * (grid + ORDER), width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        curved: Tensor = self.splines(spline_basis(x, self.grid).flatten(1))
        out: Tensor = self.base(F.silu(x)) + curved
        return out


class KolmogorovArnold(nn.Module):
    """Layers of edge functions, tanh between them to stay on the grid, then a linear readout."""

    def __init__(self, adapter: FlatAdapter, outputs: int, *, width: int, depth: int, grid: int) -> None:
        super().__init__()
        self.adapter = adapter
        sizes = [adapter.features, *[width] * depth]
        self.hidden = nn.Sequential(
            *(nn.Sequential(EdgeFunctions(fan_in, width, grid), nn.Tanh()) for fan_in in sizes[:-1])
        )
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.hidden(self.adapter(x)))
        return logits


@register(
    "kan",
    family="spline",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Liu et al. 2024, arXiv:2404.19756",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KAN(Architecture):
    """Kolmogorov-Arnold network on the flattened input: cubic splines on a fixed grid and a SiLU on every edge.

    The grid is not adapted to the data, and the readout is linear, as that of all architectures here.

    Args:
        width: nodes of each hidden layer; the scaling axis.
        grid: intervals of the splines.
    """

    width: int = 32
    depth: int = 1
    grid: int = 5

    def __post_init__(self) -> None:
        require_at_least(1, where="kan", width=self.width, depth=self.depth, grid=self.grid)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return KolmogorovArnold(
            flat_adapter(inputs), outputs, width=self.width, depth=self.depth, grid=self.grid
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, KolmogorovArnold)
        return {f"layer{i}": layer for i, layer in enumerate(net.hidden, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, KolmogorovArnold)
        return net.readout

    def scaled(self, factor: float) -> KAN:
        return replace(self, width=scaled_width(self.width, factor))
