"""Representations of the task's reference inputs at every tap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from universality.measures.features import checked, isometric_compress
from universality.measures.network.capture import capture
from universality.plugin import Probe, Training, register


@register("taps")
@dataclass(kw_only=True)
class Taps(Probe):
    """Features `[n, min(n, d)]` (float32) of the first `rows` reference inputs, per tap.

    Keys: the architecture's taps in order, `penultimate`, `inputs` (flattened; tokens one-hot) and
    `labels`, the targets of these inputs. Features wider than `rows` are rotated into `rows` dimensions with the same Gram
    matrix, which loses nothing to a similarity that is invariant to rotation.
    Cost: one forward pass and, per wide tap, O(d rows^2).

    Args:
        rotate: false keeps features `[n, d]` in the axes of the network's own units, so that those of two steps
            can be subtracted; it stores all d numbers of a row.
    """

    rows: int = 512
    rotate: bool = True

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        architecture, net = training.architecture, training.net
        reference = training.splits.reference
        inputs, labels = reference.inputs[: self.rows], reference.targets[: self.rows]
        seen = capture(net, architecture.taps(net), architecture.readout(net), inputs)
        spec = training.splits.inputs
        raw = F.one_hot(inputs, spec.vocabulary) if spec.kind == "tokens" else inputs
        seen["inputs"] = raw.flatten(1)
        out: dict[str, float | Tensor] = {
            name: self._kept(features.double()).to(torch.float32) for name, features in seen.items()
        }
        out["labels"] = labels
        return out

    def _kept(self, features: Tensor) -> Tensor:
        if self.rotate:
            return isometric_compress(features)
        checked(features, where="taps")
        return features
