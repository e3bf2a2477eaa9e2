"""What the network says of the task's reference inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from universality.measures.features import checked
from universality.measures.network.capture import capture
from universality.plugin import Probe, Signature, Training, register


@register("outputs")
@dataclass(kw_only=True)
class Outputs(Probe):
    """`logits` `[n, outputs]` (float32) of the first `rows` reference inputs, in evaluation mode.

    The reference inputs are the same for every seed, so that runs can be compared as functions. Cost: one
    forward pass.
    """

    rows: int = 512

    def stored(self, signature: Signature, row_bytes: float, parameters: int) -> float:
        return 4.0 * min(self.rows, signature.reference_rows) * signature.outputs

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        inputs = training.splits.reference.inputs[: self.rows]
        logits = capture(training.net, {"logits": training.net}, None, inputs)["logits"]
        checked(logits, where="outputs")
        return {"logits": logits}
