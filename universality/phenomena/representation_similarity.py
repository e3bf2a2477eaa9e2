"""Representation similarity: independently trained networks agree more than what they share by default."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from universality import plugin as u
from universality.measures import debiased_cka
from universality.plugin.kit.similarity import beyond_nulls, layers_beyond_chance, nearest_in_common

NULLS = {
    "random_labels": "random labels",
    "through_inputs": "through the inputs",
    "chain": "through both starts",
    "cross": "with the other's start",
}
MARGIN = 0.10
APART = 500
"""Between a seed and that of its partner in a pair which shares no seed with another pair: more than any suite has."""
ABOVE_CHANCE = 0.7
"""Of Kornblith et al. 2019, table 2, ten layers: linear CKA identifies 99.3 %, and of the measures that are no CKA
linear regression the most, 45.4 %. Less the chance of 10 % these are .99 and .39 of what can be identified; the bound
is half-way."""

TITLES, OF = {"trained": "trained", "untrained": "untrained"}, "layers of the network named"
LAYERS = u.Matrices(TITLES, "debiased linear CKA", rows=f"{OF} first", columns=f"{OF} second")
CKA, KNN = ("debiased CKA", debiased_cka), ("mutual kNN", nearest_in_common)
LEAK = "the reference inputs of an algorithmic task include training rows"
SOURCE = "Kornblith et al. 2019, arXiv:1905.00414; Huh et al. 2024, arXiv:2405.07987"


def agree(runs: u.RunSet[dict[str, u.Run]], measure: Any, title: str, *layers: u.Matrices) -> u.Claim:
    what, similarity = measure
    bound = u.Within(low=MARGIN, unit=f"{what} above the largest null", ceiling=1.0)
    effect = partial(beyond_nulls, similarity=similarity, nulls=tuple(NULLS), layers=bool(layers))
    chart: tuple[u.Levels | u.Matrices, ...] = (
        u.Levels("trained", NULLS, what, margin=MARGIN, title="trained"),
        *layers,
    )
    # Under a ceiling of less than two margins even equal networks would hardly stand out.
    room = u.require("room above the largest null", "room", at_least=2 * MARGIN)
    return u.claim(bound, effect, runs=runs, title=title, chart=chart, gates=[room])


def balance(runs: u.Runs) -> float:
    """Validation accuracy of the weaker over the stronger."""
    weaker, stronger = sorted(u.at_end("accuracy.validation")(runs[key]) for key in ("a", "b"))
    return weaker / max(stronger, 1e-12)


def on_true_labels(runs: u.Runs) -> bool:
    return not dict(runs["a"].spec.task.params)["random_labels"]


@u.register("representation_similarity", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class RepresentationSimilarity(u.Phenomenon):
    """Between seeds and between architectures, globally (CKA) and locally (mutual nearest neighbours); and whether
    CKA tells which layers of two seeds correspond.

    Effect: s(trained) less the largest of s(random labels) and of what inputs and initial geometry carry through
    training (`measures.against_defaults`), on 512 held-out inputs. On random labels both validation accuracies are
    chance, and their ratio is noise.

    Args:
        steps, lr, batch_size: of Adam, whose steps are scaled alike in every architecture.
        fitted: where so many of its rows are, training is half-way (`Recipe.fitted`); 0 takes all `steps`.
        labels: `random` trains the pair itself on random labels, against a null of others; a control does.
    """

    steps: int = 600
    lr: float = 2e-3
    batch_size: int = 128
    fitted: float = 0.0
    labels: Literal["true", "random"] = "true"

    title, version, strand, sense = "Representation similarity", 3, "universality", "sign"
    asks = (u.classes(2), u.not_families("algorithmic", why=LEAK), u.reference_rows(512))
    gates = (
        u.require(
            "training accuracy of the weaker", u.at_end("accuracy.train"), at_least=0.9, keys=("a", "b")
        ),
        u.require("validation accuracy, weaker over stronger", balance, at_least=0.9, when=on_true_labels),
    )

    @u.per_pair
    def seeds(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        random, shift = self.labels == "random", 1000 if self.labels == "random" else 0
        runs = {"a": a.on(random_labels=random), "b": b.on(random_labels=random)}
        nulls = {f"{k}_random": r.on(random_labels=True).seeded(r.seed + shift) for k, r in runs.items()}
        adam = u.Recipe(
            steps=self.steps, optimizer="adam", lr=self.lr, batch_size=self.batch_size, fitted=self.fitted
        )
        observe = {"taps": u.At(0, 1), "accuracy": u.Every(10)}
        return {key: run.trained(adam).observing(observe) for key, run in (runs | nulls).items()}

    @u.per_partner
    def architectures(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        return self.seeds(a, b)

    @u.per_seed
    def pairs_apart(self, run: u.Run) -> dict[str, u.Run]:
        runs = self.seeds(run, run.seeded(run.seed + APART))
        return {key: runs[key] for key in ("a", "b")}

    cka_seeds = agree(seeds, CKA, "seeds agree, globally")
    cka_architectures = agree(architectures, CKA, "architectures agree, globally", LAYERS)
    knn_seeds = agree(seeds, KNN, "seeds agree, locally")
    knn_architectures = agree(architectures, KNN, "architectures agree, locally")
    layers_cka = u.claim(
        # All or nothing in many networks, so that a mean tells little; each pair has seeds of its own.
        u.Most(at_least=ABOVE_CHANCE, unit="layers identified, above chance", scale="linear", ceiling=1.0),
        layers_beyond_chance,
        runs=pairs_apart,
        title="CKA identifies layers",
        asks=[u.layers(3)],
        chart=(LAYERS, u.Levels("identified", {"chance": "chance"}, "layers identified")),
    )

    reference = "mlp[width=64,depth=2]", "digits[subset=1000]"
    wider, few = ("mlp[width=96,depth=2]",), "digits[subset=400]"
    similar = ("cka_seeds", "cka_architectures", "knn_seeds", "knn_architectures")
    told_apart = "mlp[width=256,depth=3,activation=tanh]"
    # Ten times the usual weights hardly move, and fit nevertheless (Chizat et al. 2019, arXiv:1812.07956).
    lazy, wider_lazy = "mlp[width=64,depth=3,init_scale=10]", ("mlp[width=96,depth=3,init_scale=10]",)
    unrelated = "trained on unrelated random labels"
    controls = (
        u.positive(
            "two seeds, two widths of one network", "Kornblith et al. 2019", claims=similar, partners=wider
        ),
        u.positive(
            "three layers", "Kornblith et al. 2019", claims=["layers_cka"], architecture=told_apart, seeds=8
        ),
        # Few rows and more steps, so that random labels are fitted and no gate answers.
        u.negative(
            unrelated,
            "no common task",
            claims=similar,
            task=few,
            partners=wider,
            labels="random",
            steps=1000,
        ),
        u.negative(
            "large initial weights",
            "initial geometry is all they share, and there deep layers resemble the first most",
            architecture=lazy,
            partners=wider_lazy,
        ),
    )
