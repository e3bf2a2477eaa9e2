"""Accuracy and loss on the full training and validation sets, in evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.plugin import Probe, Recipe, Signature, Split, Training, register
from universality.plugin.kit.losses import accuracy, objective

_ROWS = 2048


@register("accuracy")
@dataclass(kw_only=True)
class Accuracy(Probe):
    """`train`, `validation` (shares), `train_loss`, `validation_loss` (the recipe's loss).

    In regression the losses only: there is nothing to be accurate about.

    Cost: one forward pass over both sets.
    """

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return (signature.train_rows + signature.validation_rows) / (3 * signature.train_rows)

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        training.net.eval()
        out: dict[str, float | Tensor] = {}
        for name in ("train", "validation"):
            split: Split = getattr(training.splits, name)
            hits, out[f"{name}_loss"] = self._score(training, split)
            if not split.regression:
                out[name] = hits
        return out

    @torch.no_grad()
    def _score(self, training: Training, split: Split) -> tuple[float, float]:
        loss_of = objective(training.recipe)
        hits = loss = 0.0
        for begin in range(0, len(split), _ROWS):
            inputs, targets = split.inputs[begin : begin + _ROWS], split.targets[begin : begin + _ROWS]
            logits = training.net(inputs)
            if not split.regression:
                hits += float(accuracy(logits, targets)) * len(targets)
            loss += float(loss_of(logits, targets)) * len(targets)
        return hits / len(split), loss / len(split)
