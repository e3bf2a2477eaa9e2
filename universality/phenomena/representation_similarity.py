"""Representation similarity: independently trained networks agree more than what they share by default."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from universality import plugin as u
from universality.measures import debiased_cka
from universality.plugin.kit import similarity as kit
from universality.plugin.kit.trained_apart import TrainedApart

MARGIN = 0.10
ROOM = u.require("room above the largest null", "room", at_least=2 * MARGIN)  # else equals hardly stand out
TOLD = u.Most(at_least=0.7, unit="layers identified, above chance", scale="linear", ceiling=1.0)
"""Kornblith et al. 2019, table 2, ten layers: linear CKA identifies 99.3 %, linear regression, the best that is no CKA,
45.4 %; less the chance of 10 %, .99 and .39 of what can be. The bound is half-way. Of most pairs, since in many networks
it is all or nothing, so that a mean tells little."""

LAYERS_TOLD = kit.LAYERS, u.Levels("identified", {"chance": "chance"}, "layers identified")
CKA, KNN = ("debiased CKA", debiased_cka), ("mutual kNN", kit.nearest_in_common)
SOURCE = "Kornblith et al. 2019, arXiv:1905.00414; Huh et al. 2024, arXiv:2405.07987"


def agree(runs: Any, measure: Any, title: str, *layers: u.Matrices, nulls: Any = kit.NULLS) -> u.Claim:
    what, similarity = measure
    bound = u.Within(low=MARGIN, unit=f"{what} above the largest null", ceiling=1.0)
    effect = partial(kit.beyond_nulls, similarity=similarity, nulls=nulls, layers=bool(layers))
    levels = u.Levels("trained", nulls, what, margin=MARGIN, title="trained")
    return u.claim(bound, effect, runs=runs, title=title, chart=[levels, *layers], gates=[ROOM])


@u.register("representation_similarity", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class RepresentationSimilarity(TrainedApart):
    """Of seeds and architectures, globally (CKA) and locally (mutual nearest neighbours); and of layers, told by CKA.

    Effect: s(trained) less the largest of s(random labels) and of what inputs and initial geometry carry through training
    (`measures.against_defaults`), on 512 held-out inputs; `_beyond_labels`, of what sharing class means gives too. Pairs
    that are on random labels have no such null.
    """

    title, version, strand, sense = "Representation similarity", 5, "universality", "sign"
    dispute = "of large models neighbourhoods agree and global similarity does not (arXiv:2602.14486)"
    gates = (*TrainedApart.gates, kit.EVEN)

    @u.per_pair
    def seeds(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        pair, random = self.labelled(a, b), self.labels == "random"
        nulls = {} if random else {f"{k}_random": r.on(random_labels=True) for k, r in pair.items()}
        return self.trained(pair | nulls, taps=u.At(0, 1))

    @u.per_partner
    def architectures(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        # At one seed both would memorise the same random labels, which are a task in common.
        return self.seeds(a, b if self.labels == "true" else b.seeded(b.seed + 1))

    @u.per_seed
    def pairs_apart(self, run: u.Run) -> dict[str, u.Run]:
        pair = self.labelled(run, run.seeded(run.seed + 500))  # no two share a seed: no suite has 500
        return self.trained(pair, taps=u.At(0, 1))

    cka_seeds = agree(seeds, CKA, "seeds agree, globally")
    cka_architectures = agree(architectures, CKA, "architectures agree, globally", kit.LAYERS)
    knn_seeds = agree(seeds, KNN, "seeds agree, locally")
    knn_architectures = agree(architectures, KNN, "architectures agree, locally")
    cka_beyond_labels = agree(seeds, CKA, "seeds agree beyond labels, globally", nulls=kit.BEYOND)
    knn_beyond_labels = agree(seeds, KNN, "seeds agree beyond labels, locally", nulls=kit.BEYOND)

    @u.claim(TOLD, runs=pairs_apart, title="CKA identifies layers", asks=[u.layers(3)], chart=LAYERS_TOLD)
    def layers_cka(self, runs: u.Runs) -> u.Outcome:
        return kit.layers_beyond_chance(runs)

    reference = "mlp[width=64,depth=2]", "digits[subset=1000]"
    seeds_agree = ("cka_seeds", "knn_seeds", "cka_beyond_labels", "knn_beyond_labels")
    similar = (*seeds_agree, "cka_architectures", "knn_architectures")
    wider, few, kornblith = ("mlp[width=96,depth=2]",), "digits[subset=400]", "Kornblith et al. 2019"
    told_apart = "mlp[width=256,depth=3,activation=tanh]"
    # Ten times the usual weights hardly move, and fit nevertheless (Chizat et al. 2019, arXiv:1812.07956).
    lazy, wider_lazy = "mlp[width=64,depth=3,init_scale=10]", ("mlp[width=96,depth=3,init_scale=10]",)
    unrelated, none = "trained on unrelated random labels", "no common task"
    start = "initial geometry is all they share, and there deep layers resemble the first most"
    controls = (
        u.positive("two seeds, two widths of one network", kornblith, claims=similar, partners=wider),
        u.positive("three layers", kornblith, claims=["layers_cka"], architecture=told_apart, seeds=8),
        # Few rows and more steps, so that random labels are fitted and no gate answers.
        u.negative(unrelated, none, claims=similar, task=few, partners=wider, labels="random", steps=1000),
        u.negative("large initial weights", start, architecture=lazy, partners=wider_lazy),
    )
