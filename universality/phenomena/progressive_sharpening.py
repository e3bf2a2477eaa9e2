"""Progressive sharpening: below the stability threshold, sharpness rises along gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from universality import plugin as u

SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Yoo et al. 2025, arXiv:2506.06940"
LOSS, LEFT, NEAR, UNIT = "accuracy.train_loss", 0.1, 0.5, "max sharpness / initial"
IN_ORDER = u.require("rank correlation of sharpness and update", "rank correlation", at_least=0.8)
COURSE = u.Curves({"course": ""}, x="update", y="sharpness / initial sharpness")
RISES = u.Within(low=1.3, unit=UNIT, scale="log", floor=1.0)
STAYS = u.Within(high=1.1, unit=UNIT, scale="log", floor=1.0)


def followed(run: u.Trajectory) -> tuple[u.Series, bool]:
    """Sharpness until the loss is a tenth, or the threshold near enough to bend it; and whether `steps` ended before."""
    sharpness, loss = run.series("sharpness.value"), run.series(LOSS).values
    over = (loss <= LEFT * loss[0]) | (run.series("sharpness.ratio").values >= NEAR)
    end = int(np.argmax(over)) + 1 if over.any() else len(over)
    return u.Series(sharpness.steps[:end], sharpness.values[:end]), not over.any()


def risen(sharpness: u.Series) -> tuple[float, u.Points]:
    """R, and sharpness over its first value at each update."""
    course = sharpness.values / sharpness.values[0]
    return float(course.max()), u.Points.of(sharpness.steps, course)


@u.register("progressive_sharpening", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class ProgressiveSharpening(u.Phenomenon):
    """Of full-batch gradient descent on the squared loss at 2/lr = `multiple` times the initial sharpness, R = max sharpness /
    initial sharpness until the loss is a tenth of what it was, or sharpness half of 2/lr (which is R = `multiple` / 2).

    `rises`: R at least 1.3, with Spearman's correlation of sharpness and update at least 0.8; undecided where `steps` end
    before R is that high or the loss a tenth. `stays`: in the lazy limit, of alpha (h(w) - h(w0)) at a large alpha, the
    Hessian is that of a linear model, and R at most 1.1 by then, or by the end of `steps`.

    Args:
        steps: updates.
        multiple: 2/lr over the sharpness at initialisation; the smaller, the farther the flow gets in as many updates.
        lazy: the output scale that is taken for the limit; a control takes a small one.
    """

    steps: int = 1000
    multiple: float = 10.0
    lazy: float = 100.0

    title, version, strand, sense = "Progressive sharpening", 3, "laws", "sign"
    dispute = (
        "sharpness may fall first from a large initial one; SGD, large rates and width suppress the rise"
    )
    gates = (
        u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.5),
        u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),
    )

    @u.per_seed
    def descent(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, lr_over_stability=self.multiple, loss="mse")
        return run.observing(sharpness=u.Every(20), accuracy=u.Every(20))

    @u.per_seed
    def limit(self, run: u.Run) -> u.Run:
        return self.descent(run).modified("output_scale", alpha=self.lazy, centred=True)

    @u.claim(RISES, runs=descent, title="sharpness rises", criteria=[IN_ORDER], chart=COURSE)
    def rises(self, run: u.Trajectory) -> u.Outcome:
        sharpness, cut = followed(run)
        rank = spearmanr(sharpness.steps, sharpness.values)[0] if np.ptp(sharpness.values) else 0.0
        effect, course = risen(sharpness)
        censored, details = cut and effect < RISES.low, {"rank correlation": rank}
        return u.Outcome(effect=effect, censored=censored, details=details, points={"course": course})

    @u.claim(STAYS, runs=limit, title="not in the lazy limit", chart=COURSE)
    def stays(self, run: u.Trajectory) -> u.Outcome:
        effect, course = risen(followed(run)[0])
        return u.Outcome(effect=effect, points={"course": course})

    reference = "mlp[width=32,activation=tanh]+output_scale[alpha=0.3]", "digits[subset=200]"
    controls = (
        u.positive("rich network, output scale 0.3", "Cohen et al. 2021; small scales move the weights far"),
        u.negative("linear", "constant Hessian", claims=["rises"], architecture="mlp[depth=0]"),
        u.negative("rich in place of lazy", "its Hessian moves", claims=["stays"], lazy=0.3),
    )
