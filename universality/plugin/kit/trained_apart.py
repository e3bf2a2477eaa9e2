"""Pairs of networks that are trained independently and compared on held-out inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from universality.plugin.asks import classes, held_out, reference_rows
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.readings import Requirement, Runs, at_end, require
from universality.plugin.runs import Run
from universality.plugin.schedules import Every
from universality.plugin.spec import Recipe

ROWS = 512
"""Held-out inputs on which networks are compared."""


def true_labels(runs: Runs) -> bool:
    return not dict(runs["a"].spec.task.params)["random_labels"]


def above_commonest(runs: Runs) -> float:
    """Validation accuracy of the weaker of `a` and `b` over that of always answering the commonest class.

    Its share is that among the held-out inputs on which the two are compared: their labels are stored with their
    representations, or are read with the task. Of n rows a share p is off by sqrt(p (1 - p) / n), .016 of .15.
    """
    a = runs["a"]
    stored = a.steps("taps.labels")
    labels = (
        torch.from_numpy(a.array("taps.labels", stored[0])) if stored else a.splits().reference.targets[:ROWS]
    )
    share = float(labels.bincount().max()) / len(labels)
    return min(at_end("accuracy.validation")(runs[key]) for key in ("a", "b")) / share


@dataclass(frozen=True, kw_only=True)
class TrainedApart(Phenomenon):
    """What phenomena have in common that compare networks `a` and `b` on held-out inputs.

    Args:
        steps, lr, batch_size: of Adam, whose steps are scaled alike in every architecture.
        fitted: where so many of its rows are, training is half-way (`Recipe.fitted`); 0 takes all `steps`.
        labels: `random` trains the pair itself on random labels, each on its own; a control does.
    """

    steps: int = 600
    lr: float = 2e-3
    batch_size: int = 128
    fitted: float = 0.0
    labels: Literal["true", "random"] = "true"

    asks = (classes(2), held_out, reference_rows(ROWS))
    gates: ClassVar[Sequence[Requirement]] = (
        require("training accuracy of the weaker", at_end("accuracy.train"), at_least=0.9, keys=("a", "b")),
        require(
            "validation accuracy of the weaker over the share of the commonest class",
            above_commonest,
            at_least=1,
            when=true_labels,
        ),
    )

    def labelled(self, a: Run, b: Run) -> dict[str, Run]:
        """The pair, on the labels that it is to be trained on."""
        random = self.labels == "random"
        return {"a": a.on(random_labels=random), "b": b.on(random_labels=random)}

    def trained(self, runs: Mapping[str, Run], **observed: Any) -> dict[str, Run]:
        """Each by the same recipe; accuracy is observed too."""
        adam = Recipe(
            steps=self.steps, optimizer="adam", lr=self.lr, batch_size=self.batch_size, fitted=self.fitted
        )
        return {key: run.trained(adam).observing(**observed, accuracy=Every(10)) for key, run in runs.items()}
