"""The gradient noise scale of the training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from universality.measures import gradient_noise_scale
from universality.plugin import Probe, Recipe, Signature, Training, register
from universality.plugin.kit.losses import objective
from universality.plugin.kit.updates import as_updated


@register("noise_scale", source="McCandlish et al. 2018, arXiv:1812.06162")
@dataclass(kw_only=True)
class NoiseScaleProbe(Probe):
    """`value` = tr Sigma / |G|^2 of the training rows, in rows (`measures.gradient_noise_scale`), in training mode.

    Args:
        batch: rows of the gradients from which it is taken; its expectation does not depend on them.

    Cost: a gradient of every row.
    """

    batch: int = 16

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 3.0

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        net, data = training.net, training.splits.train
        as_updated(net)
        loss_of = objective(training.recipe)
        found = gradient_noise_scale(
            lambda rows: loss_of(net(data.inputs[rows]), data.targets[rows]),
            len(data),
            self.batch,
            [p for p in net.parameters() if p.requires_grad],
            generator=training.generator,
            device=training.device,
        )
        return {"value": found.value, "variance": found.variance, "square": found.square}
