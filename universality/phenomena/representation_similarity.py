"""Representation similarity: independently trained networks agree more than what they share by default."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch

from universality import plugin as u
from universality.measures import against_defaults, calibrated, debiased_cka, mutual_knn
from universality.plugin.kit.features import features, layer_similarity

NULLS = {"untrained": "untrained", "random_labels": "random labels", "through_inputs": "through the inputs"}
SOURCE = "Kornblith et al. 2019, arXiv:1905.00414; Huh et al. 2024, arXiv:2405.07987"
ON_TRUE_LABELS: dict[str, Any] = {"when": lambda runs: not dict(runs["a"].spec.task.params)["random_labels"]}


def agree(runs: u.RunSet, measure: str, title: str) -> u.Claim:
    """The claim that penultimate features of the two networks are closer than every null, by 0.10."""
    what = "debiased CKA" if measure == "cka" else "mutual kNN"

    def effect(runs: u.Runs) -> u.Outcome:
        a, b, end = runs["a"], runs["b"], runs["a"].spec.recipe.steps
        pairs = [(a, b, end), (a, b, 0), (runs["a_random"], runs["b_random"], end)]
        seen = [(features(one, "penultimate", t), features(two, "penultimate", t)) for one, two, t in pairs]
        labels, similarity = (
            torch.from_numpy(a.array("taps.labels", 0)),
            debiased_cka if measure == "cka" else knn,
        )
        try:
            s = against_defaults(similarity, *seen, features(a, "inputs", 0), labels)
        except u.MeasurementError as error:
            return u.Outcome(
                effect=None, gates=[u.Check("representations can be compared", 0, 1)], label=error.what
            )
        matrices = {}
        # Of one pair of seeds: all layers of all pairs would cost most of the measuring.
        if measure == "cka" and (a.spec.seed, b.spec.seed) in ((0, 1), (0, 0)):
            with suppress(u.MeasurementError):  # a dead layer leaves out the picture
                matrices = {
                    kind: layer_similarity(a, b, t) for kind, t in (("trained", end), ("untrained", 0))
                }
        return u.Outcome(effect=s["trained"] - max(s[null] for null in NULLS), details=s, matrices=matrices)

    chart: list[u.Levels | u.Matrices] = [u.Levels("trained", NULLS, what, margin=0.10)]
    if measure == "cka":
        chart.append(u.Matrices({"trained": "trained", "untrained": "untrained"}, "debiased linear CKA"))
    return u.claim(
        u.Within(low=0.10, unit=f"{what} above the largest null"), effect, runs=runs, title=title, chart=chart
    )


def knn(x: torch.Tensor, y: torch.Tensor) -> float:
    return calibrated(mutual_knn(x, y, k=10), k=10, n=len(x))


def balance(runs: u.Runs) -> float:
    weak, strong = sorted(u.at_end("accuracy.validation")(runs[key]) for key in ("a", "b"))
    return weak / max(strong, 1e-12)


@u.register("representation_similarity", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class RepresentationSimilarity(u.Phenomenon):
    """Between seeds and between architectures, globally (CKA) and locally (mutual nearest neighbours).

    Effect: s(trained) - max(s(untrained), s(random labels), s(through the inputs)) on 512 held-out inputs. On random
    labels both validation accuracies are chance, and their ratio is noise.

    Args:
        steps, lr, batch_size: of Adam, whose steps are scaled alike in every architecture.
        labels: `random` trains the pair itself on random labels, against a null of others; a control does.
    """

    steps: int = 600
    lr: float = 2e-3
    batch_size: int = 128
    labels: Literal["true", "random"] = "true"

    title, version, strand, sense = "Representation similarity", 1, "universality", "sign"
    asks = (
        u.not_families(
            "algorithmic", why="the reference inputs of an algorithmic task include training rows"
        ),
        u.reference_rows(512),
    )
    gates = (
        u.require(
            "training accuracy of the weaker", u.at_end("accuracy.train"), at_least=0.9, keys=("a", "b")
        ),
        u.require("validation accuracy, weaker over stronger", balance, at_least=0.9, **ON_TRUE_LABELS),
    )

    @u.per_pair
    def seeds(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        runs = {
            "a": a.on(random_labels=self.labels == "random"),
            "b": b.on(random_labels=self.labels == "random"),
        }
        shift = 1000 if self.labels == "random" else 0
        runs |= {
            f"{key}_random": run.on(random_labels=True).seeded(run.seed + shift) for key, run in runs.items()
        }
        adam = u.Recipe(steps=self.steps, optimizer="adam", lr=self.lr, batch_size=self.batch_size)
        return {
            key: run.trained(adam).observing(taps=u.At(0, 1), accuracy=u.Every(10))
            for key, run in runs.items()
        }

    @u.per_partner
    def architectures(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        return self.seeds(a, b)

    cka_seeds = agree(seeds, "cka", "seeds agree, globally")
    cka_architectures = agree(architectures, "cka", "architectures agree, globally")
    knn_seeds = agree(seeds, "knn", "seeds agree, locally")
    knn_architectures = agree(architectures, "knn", "architectures agree, locally")

    reference = "mlp[width=64,depth=2]", "digits[subset=1000]"
    wider = ("mlp[width=96,depth=2]",)
    controls = (
        u.positive("two seeds, two widths of one network", "Kornblith et al. 2019", partners=wider),
        # Few rows and more steps, so that random labels are fitted and no gate answers.
        u.negative(
            "trained on unrelated random labels",
            "nothing common was there to be learnt",
            task="digits[subset=400]",
            partners=wider,
            labels="random",
            steps=1000,
        ),
    )
