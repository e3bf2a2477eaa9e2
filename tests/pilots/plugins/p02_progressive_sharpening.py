"""Progressive sharpening: below the stability threshold, sharpness rises along gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from universality import plugin as u

LOSS, LEFT = "accuracy.train_loss", 0.1
UNIT, SOURCE = (
    "max sharpness / initial",
    "Cohen et al. 2021, arXiv:2103.00065; Yoo et al. 2025, arXiv:2506.06940",
)
IN_ORDER = u.require("rank correlation of sharpness and update", "rank correlation", at_least=0.8)
COURSE = u.Curves({"course": ""}, x="update", y="sharpness / initial sharpness", log="y")
RATIO, THRESHOLD = {"sharpness.ratio": ""}, "sharpness / stability threshold"
STABLE = u.Lines(RATIO, THRESHOLD, level=1, level_title="stability threshold", low=0, high=1.2)
SCALES = u.Curves({"risen": ""}, x="output scale alpha", y=UNIT, log="xy")


@u.register("progressive_sharpening", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class ProgressiveSharpening(u.Phenomenon):
    """R = max sharpness / initial sharpness, until the loss is a tenth of what it was, of gradient descent at
    lr = 0.2 / initial sharpness: at least 1.3, and Spearman's correlation of sharpness and update at least 0.8.

    In the lazy limit, of alpha (h(w) - h(w0)) at a large alpha, the Hessian stays: R is at most 1.1.

    Args:
        steps: updates.
        multiple: 2/lr over the sharpness at initialisation.
        lazy: the output scale that is taken for the limit; a control takes a small one.
    """

    steps: int = 1000
    multiple: float = 10.0
    lazy: float = 100.0

    title, version, strand, sense = "Progressive sharpening", 1, "laws", "sign"
    gates = (
        u.require("peak sharpness over the stability threshold", u.highest("sharpness.ratio"), at_most=0.5),
        u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.5),
        u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),
    )

    @u.per_seed
    def descent(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, lr_over_stability=self.multiple, loss="mse")
        return run.observing(sharpness=u.Every(20), accuracy=u.Every(20))

    @u.per_seed
    def scales(self, run: u.Run) -> u.Sweep:
        return self.descent(run).modified("output_scale", centred=True).vary(alpha=(1.0, 10.0, self.lazy))

    bound, lazy_bound = u.Within(low=1.3, unit=UNIT, scale="log"), u.Within(high=1.1, unit=UNIT, scale="log")

    @u.claim(bound, runs=descent, title="sharpness rises", criteria=[IN_ORDER], chart=(COURSE, STABLE))
    def rises(self, run: u.Trajectory) -> u.Outcome:
        steps, values = followed(run)
        rank = spearmanr(steps, values)[0] if np.ptp(values) else 0.0
        points = {"course": u.Points.of(steps, values / values[0])}
        return u.Outcome(effect=values.max() / values[0], details={"rank correlation": rank}, points=points)

    @u.claim(lazy_bound, runs=scales, title="not in the lazy limit", chart=SCALES)
    def stays(self, runs: u.Runs) -> u.Outcome:
        risen = runs.read(lambda run: followed(run)[1].max() / followed(run)[1][0])
        return u.Outcome(effect=risen[self.lazy], points={"risen": u.Points.of(risen)})

    reference = "mlp[width=32,activation=tanh]+output_scale[alpha=0.3]", "digits[subset=200]"
    controls = (
        u.positive("rich network, output scale 0.3", "Cohen et al. 2021; small scales move the weights far"),
        u.negative("linear", "constant Hessian", claims=["rises"], architecture="mlp[depth=0]"),
        u.negative("rich in place of lazy", "its Hessian moves", claims=["stays"], lazy=0.3),
    )


def followed(run: u.Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Updates and sharpness until the loss has fallen."""
    loss, sharpness = run.series(LOSS).values, run.series("sharpness.value")
    end = int(np.argmax(loss <= LEFT * loss[0])) + 1 if loss.min() <= LEFT * loss[0] else len(loss)
    return sharpness.steps[:end], sharpness.values[:end]
