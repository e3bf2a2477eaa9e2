"""How near the weights of the first linear map are to the gradients that the network has there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.measures import feature_matrices, traceless_cosine
from universality.plugin import Probe, Recipe, Signature, Training, register


@register("feature_ansatz", source="Radhakrishnan et al. 2024, arXiv:2212.13881")
@dataclass(kw_only=True)
class FeatureAnsatz(Probe):
    """Of the first linear map W that runs, with G the average gradient outer product at its input
    (`measures.feature_matrices`) on `rows` random training rows, always the same: `cosine`, the traceless cosine of
    W^T W and G, beside what else W could be: `start`, that of the weights of the first record, `random`, of Gaussian
    ones, and `shuffled`, W with its inputs permuted. `plain` is the cosine with traces, `moved` = |W - W0| / |W0|.

    Observe it from step 0 on: `cosine` there is that of an untrained network. Cost: a forward pass of the rows, and a
    backward pass for each output.
    """

    rows: int = 512
    _start: Tensor | None = field(default=None, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return signature.outputs * min(self.rows, signature.train_rows) / signature.train_rows

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        return min(self.rows, signature.train_rows) * row_bytes

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        train = training.splits.train
        # At random: a sorted set has one class in its first rows.
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        inputs = train.inputs[order[: self.rows].sort().values.to(training.device)]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            found = feature_matrices(training.net, training.architecture.readout(training.net), inputs)
        W, G = found.weight, found.gradients
        if self._start is None:
            self._start = W
        draws, d = training.generator, W.shape[1]
        others = {
            "cosine": W,
            "start": self._start,
            "random": torch.randn(W.shape, generator=draws, dtype=W.dtype),
            "shuffled": W[:, torch.randperm(d, generator=draws)],
        }
        moved = float((W - self._start).norm() / self._start.norm())
        plain = float((W.T @ W * G).sum() / ((W.T @ W).norm() * G.norm()))
        cosines = {name: traceless_cosine(X.T @ X, G) for name, X in others.items()}
        return {**cosines, "plain": plain, "moved": moved}
