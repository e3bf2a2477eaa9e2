"""Function agreement: independently trained networks err at the same inputs and in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from universality import plugin as u
from universality.measures import error_consistency, wrong_alike
from universality.plugin.kit.agreement import beyond_accuracy
from universality.plugin.kit.trained_apart import TrainedApart

FAIR = 0.2
"""Kappa up to 0.2 is "slight", above it "fair" (Landis and Koch 1977, Biometrics 33)."""

SOURCE = "Mao et al. 2024, arXiv:2305.01604; Geirhos et al. 2020, arXiv:2006.16736"


def agree(runs: u.RunSet[dict[str, u.Run]], measure: Any, title: str) -> u.Claim:
    unit = "kappa of being right" if measure is error_consistency else "kappa of wrong answers"
    effect = partial(beyond_accuracy, measure=measure, errors=10, inputs=20)
    chart = u.Levels("observed", {"expected": "by chance"}, "share of inputs", title="observed")
    return u.claim(u.Within(low=FAIR, unit=unit), effect, runs=runs, title=title, chart=chart)


@u.register("function_agreement", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class FunctionAgreement(TrainedApart):
    """Two networks trained independently, of other seeds or of other seeds and architectures, each on its own draw of
    the data, agree on held-out inputs beyond what their accuracies imply.

    `errors_*`: they are wrong at the same inputs, Cohen's kappa above that of independent errors
    (`measures.error_consistency`). `answers_*`: where both are wrong their answers are the same, above those to other
    inputs of the class (`measures.wrong_alike`; not defined of two classes). Trained as `representation_similarity` is.
    """

    title, version, strand, sense = "Function agreement", 2, "universality", "sign"
    dispute = (
        "Hard or mislabelled inputs alone make errors consistent: agreement is no evidence of one mechanism."
    )

    @u.per_pair
    def seeds(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        return self.trained(self.labelled(a, b), outputs=u.At(1))

    @u.per_partner
    def architectures(self, a: u.Run, b: u.Run) -> dict[str, u.Run]:
        # At one seed both would see the same rows with the same labels, and agree on random ones too.
        return self.seeds(a, b.seeded(b.seed + 1))

    errors_seeds = agree(seeds, error_consistency, "seeds err at the same inputs")
    errors_architectures = agree(architectures, error_consistency, "architectures err at the same inputs")
    answers_seeds = agree(seeds, wrong_alike, "seeds give the same wrong answers")
    answers_architectures = agree(architectures, wrong_alike, "architectures: the same wrong answers")

    reference = "mlp[width=64,depth=2]", "gaussian_mixture[separation=4]"
    bayes = "both are near the Bayes classifier, which errs there itself"
    unrelated, digits = "two functions that have nothing in common", "digits[subset=400]"
    other, wider = ["transformer[dim=16,depth=1]"], ["mlp[width=96,depth=2]"]
    controls = (
        u.positive("overlapping clusters", bayes, partners=other),
        u.negative("random labels", unrelated, task=digits, partners=wider, labels="random", steps=1000),
    )
