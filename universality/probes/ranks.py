"""How many directions the weight matrices have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.measures import stable_rank
from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register


@register("ranks", source="Jacot et al. 2021, arXiv:2106.15933")
@dataclass(kw_only=True)
class Ranks(Probe):
    """The stable rank |W|_F^2 / |W|_2^2, median over all trainable weight matrices: `weights`, of W, and `change`, of
    W - W0 with W0 that of the first record; that of 0 is 0.

    Kernels of convolutions are [out, everything else]. Cost: two singular value decompositions of every matrix.
    """

    _start: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 1.0

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        trained = [p.detach() for p in training.net.parameters() if p.requires_grad and p.ndim >= 2]
        if not trained:
            raise MeasurementError("the network has no weight matrix that is trained", where="ranks")
        matrices = [p.flatten(1).to("cpu", torch.float64, copy=True) for p in trained]
        self._start = self._start or matrices
        changes = [now - start for now, start in zip(matrices, self._start, strict=True)]
        return {"weights": _median(matrices), "change": _median(changes)}


def _median(matrices: list[Tensor]) -> float:
    ranks = [stable_rank(each) if each.any() else 0.0 for each in matrices]
    return float(torch.tensor(ranks, dtype=torch.float64).quantile(0.5))
