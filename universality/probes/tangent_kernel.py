"""How far the tangent kernel has moved, and how it aligns with the targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from universality.measures import kernel_change, target_alignment, trace_ntk
from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register

_PASS = 30.0
"""Rows of a large batch whose gradient takes as long as a backward pass of one row alone and what is done with it:
12 to 80 of the built-in networks."""


@register("tangent_kernel", source="Jacot et al. 2018, arXiv:1806.07572; Cortes et al. 2012 (JMLR 13)")
@dataclass(kw_only=True)
class TangentKernel(Probe):
    """Of the trace kernel K on the first `rows` reference inputs, in evaluation mode: `change` = |K - K0| / |K0|,
    K0 that of the first record, and `alignment` = <K, Y Y^T> / (|K| |Y Y^T|) with the targets, both centred.

    `alignment` is NaN where K or Y has no spread: one class, or a network whose rows all have the same gradient.
    Observe it from step 0 on. Cost: rows x outputs backward passes of one row.
    """

    rows: int = 40
    _start: Tensor | None = field(default=None, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        passes = min(self.rows, signature.reference_rows) * signature.outputs
        return _PASS * passes / signature.train_rows

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        reference = training.splits.reference
        targets = reference.targets[: self.rows]
        if not targets.is_floating_point():
            targets = F.one_hot(targets, training.splits.outputs).double()
        training.net.eval()
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            K = trace_ntk(training.net, reference.inputs[: self.rows])
        if self._start is None:
            self._start = K
        change = kernel_change(K, self._start).value
        try:
            alignment = target_alignment(K, targets).value
        except MeasurementError:
            alignment = math.nan
        return {"change": change, "alignment": alignment}
