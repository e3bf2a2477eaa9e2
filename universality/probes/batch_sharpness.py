"""Batch sharpness, the curvature that a step of stochastic gradient descent meets, beside its stability threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from universality.measures import batch_sharpness, stability_threshold
from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register
from universality.plugin.kit.losses import objective
from universality.plugin.kit.updates import as_updated


@register("batch_sharpness", source="Andreyev and Beneventano 2024, arXiv:2412.20553")
@dataclass(kw_only=True)
class BatchSharpnessProbe(Probe):
    """E_B[ g_B^T H_B g_B / |g_B|^2 ] over batches B of the recipe's size, drawn without replacement
    (`measures.batch_sharpness`), with the loss in training mode, of plain gradient descent alone.

    Records `value`, `threshold` = 2/lr, `ratio` = value / threshold, `error` (standard error of the value) and
    `batches` that it took.

    Cost: at most one pass over the training rows, a gradient and a Hessian-vector product of each batch: 4 gradients.
    """

    curvature = True

    tolerance: float = 0.02

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 4.0

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        net, data, recipe = training.net, training.splits.train, training.recipe
        if recipe.optimizer != "sgd" or recipe.momentum or recipe.weight_decay or not recipe.batch_size:
            raise MeasurementError(
                "batch sharpness is compared with 2/lr of plain stochastic gradient descent",
                where="batch_sharpness",
                got=f"{recipe.optimizer}, momentum {recipe.momentum:g}, weight decay {recipe.weight_decay:g}, "
                f"batch size {recipe.batch_size}",
                expected="sgd without momentum and decay, in batches",
            )
        as_updated(net)
        loss_of = objective(recipe)
        found = batch_sharpness(
            lambda rows: loss_of(net(data.inputs[rows]), data.targets[rows]),
            len(data),
            recipe.batch_size,
            [p for p in net.parameters() if p.requires_grad],
            tolerance=self.tolerance,
            generator=training.generator,
            device=training.device,
        )
        threshold = stability_threshold(training.optimizer)
        return {
            "value": found.value,
            "threshold": threshold,
            "ratio": found.value / threshold,
            "error": found.standard_error,
            "batches": float(found.matvecs),
        }
