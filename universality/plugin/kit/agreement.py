"""Comparing what two networks answer, from what the probe `outputs` stored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.similarity.agreement import Agreement
from universality.plugin.outcome import Outcome
from universality.plugin.readings import Runs, need
from universality.plugin.trajectory import Trajectory


def answers(run: Trajectory) -> Int[Tensor, " n"]:
    """The class that the trained network gives each reference input."""
    return torch.from_numpy(run.array("outputs.logits", run.spec.recipe.steps)).argmax(1)


def beyond_accuracy(
    runs: Runs, measure: Callable[[Tensor, Tensor, Tensor], Agreement], *, errors: int, inputs: int
) -> Outcome:
    """Kappa of the answers of runs `a` and `b` to the reference inputs; `observed` and `expected` in the details.

    An outcome without effect where it is not defined, where the better one makes fewer than so many errors, or where
    fewer than so many inputs can be compared.
    """
    a, b = answers(runs["a"]), answers(runs["b"])
    labels = runs["a"].splits().reference.targets[: len(a)]
    wrong, wrong_too = a != labels, b != labels
    fewest, both = min(int(wrong.sum()), int(wrong_too.sum())), int((wrong & wrong_too).sum())
    need("errors of the better", fewest, at_least=errors, label="too few errors")
    try:
        found = measure(a, b, labels)
    except MeasurementError as error:
        need("agreement beyond chance is defined", 0.0, at_least=1, label=error.what)
        raise
    need("inputs that can be compared", found.inputs, at_least=inputs, label="too few common errors")
    details = {"observed": found.observed, "expected": found.expected, "inputs": found.inputs}
    return Outcome(
        effect=found.kappa, details=details | {"errors of the better": fewest, "common errors": both}
    )
