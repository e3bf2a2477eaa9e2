"""How far the weights have moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register
from universality.plugin.kit.updates import flat_weights


@register("displacement", source="Chizat et al. 2019, arXiv:1812.07956")
@dataclass(kw_only=True)
class Displacement(Probe):
    """`relative` = |w - w0| / |w0| over all trainable parameters, w0 those of the first record.

    Near 0 in the lazy regime. Observe it from step 0 on. Cost: one copy of the weights.
    """

    _start: Tensor | None = field(default=None, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 0.1

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        w = flat_weights(training.net).double()
        if self._start is None:
            self._start = w
        size = float(self._start.norm())
        moved = float((w - self._start).norm())
        if not size > 0 or not moved < float("inf"):
            raise MeasurementError(
                "weights have no relative displacement",
                where="displacement",
                got=f"|w0| = {size:g}, |w - w0| = {moved:g}",
                expected="a start other than 0, and finite weights",
            )
        return {"relative": moved / size}
