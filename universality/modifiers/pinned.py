"""One start for all seeds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from universality.plugin import Architecture, InputSpec, Modifier, register
from universality.plugin.kit import require_at_least


@register("pinned", source="Fort et al. 2019, arXiv:1912.02757")
@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned(Modifier):
    """The initial weights are those of the seed `start`, whatever the seed of the run.

    Data and batches follow the run's seed: runs differ in these alone.
    """

    start: int = 0

    def __post_init__(self) -> None:
        require_at_least(0, where="pinned", start=self.start)

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        return net

    def init_seed(self, seed: int) -> int:
        return self.start
