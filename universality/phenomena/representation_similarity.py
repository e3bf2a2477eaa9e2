"""Representation similarity: independently trained networks agree more than what they share by default."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from universality import plugin as u
from universality.measures import debiased_cka
from universality.plugin.kit.similarity import beyond_nulls, nearest_in_common

NULLS = {"untrained": "untrained", "random_labels": "random labels", "through_inputs": "through the inputs"}
TITLES, OF = {"trained": "trained", "untrained": "untrained"}, "layers of the network named"
LAYERS = u.Matrices(TITLES, "debiased linear CKA", rows=f"{OF} first", columns=f"{OF} second")
CKA, KNN = ("debiased CKA", debiased_cka, (LAYERS,)), ("mutual kNN", nearest_in_common, ())
LEAK = "the reference inputs of an algorithmic task include training rows"
SOURCE = "Kornblith et al. 2019, arXiv:1905.00414; Huh et al. 2024, arXiv:2405.07987"


def agree(runs: u.RunSet[dict[str, u.Run]], measure: Any, title: str) -> u.Claim:
    what, similarity, layers = measure
    bound = u.Within(low=0.10, unit=f"{what} above the largest null")
    effect = partial(beyond_nulls, similarity=similarity, nulls=tuple(NULLS), layers=bool(layers))
    chart = (u.Levels("trained", NULLS, what, margin=0.10, title="trained"), *layers)
    return u.claim(bound, effect, runs=runs, title=title, chart=chart)


def balance(runs: u.Runs) -> float:
    """Validation accuracy of the weaker over the stronger."""
    weaker, stronger = sorted(u.at_end("accuracy.validation")(runs[key]) for key in ("a", "b"))
    return weaker / max(stronger, 1e-12)


def on_true_labels(runs: u.Runs) -> bool:
    return not dict(runs["a"].spec.task.params)["random_labels"]


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
    asks = (u.classes(2), u.not_families("algorithmic", why=LEAK), u.reference_rows(512))
    fitted = u.at_end("accuracy.train")
    gates = (
        u.require("training accuracy of the weaker", fitted, at_least=0.9, keys=("a", "b")),
        u.require("validation accuracy, weaker over stronger", balance, at_least=0.9, when=on_true_labels),
    )

    @u.per_pair
    def seeds(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        random, shift = self.labels == "random", 1000 if self.labels == "random" else 0
        runs = {"a": a.on(random_labels=random), "b": b.on(random_labels=random)}
        nulls = {f"{k}_random": r.on(random_labels=True).seeded(r.seed + shift) for k, r in runs.items()}
        adam = u.Recipe(steps=self.steps, optimizer="adam", lr=self.lr, batch_size=self.batch_size)
        observe = {"taps": u.At(0, 1), "accuracy": u.Every(10)}
        return {key: run.trained(adam).observing(observe) for key, run in (runs | nulls).items()}

    @u.per_partner
    def architectures(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        return self.seeds(a, b)

    cka_seeds = agree(seeds, CKA, "seeds agree, globally")
    cka_architectures = agree(architectures, CKA, "architectures agree, globally")
    knn_seeds = agree(seeds, KNN, "seeds agree, locally")
    knn_architectures = agree(architectures, KNN, "architectures agree, locally")

    reference = "mlp[width=64,depth=2]", "digits[subset=1000]"
    wider, few = ("mlp[width=96,depth=2]",), "digits[subset=400]"
    unrelated = "trained on unrelated random labels"
    controls = (
        u.positive("two seeds, two widths of one network", "Kornblith et al. 2019", partners=wider),
        # Few rows and more steps, so that random labels are fitted and no gate answers.
        u.negative(unrelated, "no common task", task=few, partners=wider, labels="random", steps=1000),
    )
