"""Edge of stochastic stability: under SGD it is the curvature met by its steps that settles at 2/lr, not that of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality import plugin as u

BATCH, FULL, LOSS = "batch_sharpness.ratio", "sharpness.ratio", "accuracy.train_loss"
COURSE = u.Lines({BATCH: "batch sharpness", FULL: "sharpness"}, "over 2/lr", level=1.0)
AT_EDGE = u.Within(low=0.85, high=1.25, scale="log", unit="batch sharpness over 2/lr")
BELOW = u.Within(high=0.9, scale="log", unit="sharpness over 2/lr")


def third(run: u.Trajectory, name: str, number: int) -> float:
    """Median of a series over the first (0), second or last (2) third of the updates."""
    series, steps = run.series(name), run.spec.recipe.steps
    inside = (series.steps >= number * steps / 3) & (series.steps <= (number + 1) * steps / 3)
    return float(np.median(series.values[inside]))


def rising(run: u.Trajectory) -> float:
    return third(run, BATCH, 2) / third(run, BATCH, 1)


def short(run: u.Trajectory) -> bool:
    return third(run, BATCH, 2) < AT_EDGE.low


def highest(run: u.Trajectory) -> float:
    return max(third(run, BATCH, 2), third(run, FULL, 2))


@u.register("stochastic_edge", source="Andreyev and Beneventano 2024, arXiv:2412.20553")
@dataclass(frozen=True, kw_only=True)
class StochasticEdge(u.Phenomenon):
    """Of SGD on the squared loss in small batches B, medians over the last third of the updates, in units of 2/lr:

    `batch`: E_B[ g_B^T H_B g_B / |g_B|^2 ], batch sharpness, lies in 0.85 to 1.25, as sharpness does under gradient
    descent. Gate, where it lies below: it no longer rises, over its median of the second third at most 1.15.

    `full`: the sharpness of the full loss stays below 0.9. Gate: one of the two is at the edge, at least 0.85.

    Args:
        steps, batch_size: of SGD, the rate rising over the first tenth.
        multiple: 2/lr over the sharpness at initialisation.
    """

    steps: int = 10_000
    batch_size: int = 4
    multiple: float = 0.6

    title, version, strand, sense = "Edge of stochastic stability", 1, "laws", "number"
    dispute = "its first version had another quantity settle; where data is fitted, none stays at 2/lr"
    asks = (u.train_rows(64),)
    gates = (
        u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.5),
        u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),
    )

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        sgd = {"batch_size": self.batch_size, "lr_over_stability": self.multiple, "warmup": 0.1}
        run = run.trained(steps=self.steps, loss="mse", **sgd)
        return run.observing(batch_sharpness=u.Every(24), sharpness=u.Every(12), accuracy=u.Every(12))

    settled = u.require("batch sharpness, last third over second", rising, at_most=1.15, when=short)
    edge = u.require("the larger of the two, over 2/lr", highest, at_least=0.85)

    @u.claim(AT_EDGE, runs=run, title="batch sharpness at 2/lr", gates=[settled], chart=COURSE)
    def batch(self, run: u.Trajectory) -> u.Outcome:
        return u.Outcome(effect=third(run, BATCH, 2), details={"sharpness": third(run, FULL, 2)})

    @u.claim(BELOW, runs=run, title="sharpness below", gates=[edge], chart=COURSE)
    def full(self, run: u.Trajectory) -> float:
        return third(run, FULL, 2)

    reference = "mlp[width=32,depth=3,activation=tanh]", "digits[subset=256,label_noise=0.5]"
    quadratic, gd = "constant Hessian", "gradient descent: at 2/lr"
    controls = (
        u.positive("noisy digits", "Andreyev and Beneventano 2024: small batches; noise keeps sharpening"),
        u.negative(
            "linear", quadratic, claims=["batch"], architecture="mlp[depth=0]", steps=2000, multiple=4
        ),
        u.negative("half of the rows", gd, claims=["full"], batch_size=128, steps=1500),
    )
