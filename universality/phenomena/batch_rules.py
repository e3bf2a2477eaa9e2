"""Batch rules: the power of the batch size with which the learning rate must grow for the loss at equal examples to stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from universality import plugin as u

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
LOSS, SMALL, RECORDS = "accuracy.train_loss", "small", 10
Optimizer = Literal["sgd", "adam"]
POWER = "power p of rate ~ batch^p"
TITLES = {"off": "measured", "theory": "no difference"}
OFF = u.Curves(TITLES, POWER, "ln loss, large over small batch", theory="theory")
# Nearer to the rule than to the next one: constant (0), square root (1/2), linear (1).
LINEAR, ROOT = (u.Within(low=power - 0.25, high=power + 0.25, unit=POWER) for power in (1.0, 0.5))
SOURCE = "Goyal et al. 2017, arXiv:1706.02677; Malladi et al. 2022, arXiv:2205.10287"
LEFT = u.require("loss left", u.end_over_start(LOSS), at_least=0.05, at_most=0.9, keys=(SMALL,))


def unchanged(runs: u.Runs) -> u.Outcome:
    """The power at which the log loss at equal examples, the mean of the second half, is that of the small batch."""
    late = {key: np.log(run.series(LOSS).values[-RECORDS // 2 :]) for key, run in runs.items()}
    off = [float(np.mean(late[p] - late[SMALL])) for p in POWERS]
    points = {"off": u.Points.of(POWERS, off), "theory": u.Points.of(dict.fromkeys(POWERS, 0.0))}
    # Where it comes back up to that of the small batch two powers keep it, and none where it rises before.
    u.need("rise of ln loss with the rate, above 0", max(np.diff(np.maximum(off, 0.0))), at_most=0.02)
    return u.Outcome(effect=np.interp(0.0, -np.minimum.accumulate(off), POWERS), points=points)


@u.register("batch_rules", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class BatchRules(u.Phenomenon):
    """From a batch to `factor` times it, SGD keeps its loss at equal examples where lr ~ B, Adam where lr ~ sqrt(B).

    Effect: the power p of lr ~ B^p at which ln of the loss, over that of the small batch, is 0 in the mean over the second half of
    the examples, interpolated. Adam's 1 - beta ~ B, so that its averages are over equal numbers of examples, and eps ~ 1/sqrt(B), as
    in Malladi et al. Without noise p is 1 for both: of SGD, so far below the threshold, gradient flow alone implies it.

    Args:
        batch, factor, updates: the small batch, the ratio, and the updates with the small batch.
        multiple: of SGD, 2/lr over the initial sharpness, at the rate of the linear rule for the large batch.
        lr: of Adam, with the small batch.
        linear, root: the optimizer that is judged by either rule; the negative controls exchange them.
    """

    batch: int = 2
    factor: int = 8
    updates: int = 2400
    multiple: float = 24.0
    lr: float = 2.5e-4
    linear: Optimizer = "sgd"
    root: Optimizer = "adam"

    title, version, strand, sense = "Batch size rules", 2, "hyperparameters", "number"
    dispute = "below a critical batch (arXiv:1812.06162); neither rule is general (arXiv:1811.03600, arXiv:2405.14578)"
    asks, gates = (u.train_rows(64),), (LEFT,)

    def powers(self, run: u.Run, optimizer: Optimizer) -> dict[str | float, u.Run]:
        def trained(k: int, p: float) -> u.Run:
            how = {"steps": self.updates // k, "batch_size": k * self.batch}
            if optimizer == "sgd":
                return run.trained(**how, lr_over_stability=self.multiple * self.factor / k**p)
            betas = {"beta1": 1 - 0.1 * k, "beta2": 1 - 0.001 * k, "eps": 1e-8 / math.sqrt(k)}
            return run.trained(**how, **betas, optimizer="adam", lr=self.lr * k**p)

        runs = {SMALL: trained(1, 0.0)} | {p: trained(self.factor, p) for p in POWERS}
        return {key: run.observing(accuracy=u.Every(RECORDS)) for key, run in runs.items()}

    @u.per_seed
    def linear_runs(self, run: u.Run) -> dict[str | float, u.Run]:
        return self.powers(run, self.linear)

    @u.per_seed
    def root_runs(self, run: u.Run) -> dict[str | float, u.Run]:
        return self.powers(run, self.root)

    sgd = u.claim(LINEAR, unchanged, runs=linear_runs, title="linear rule of SGD", chart=OFF)
    adam = u.claim(ROOT, unchanged, runs=root_runs, title="square-root rule of Adam", chart=OFF)

    reference = "mlp[width=64,depth=1]", "digits[label_noise=0.1]"
    controls = (
        u.positive("digits with noisy labels", "Goyal et al. 2017; Malladi et al. 2022"),
        u.negative("Adam by the linear rule", "its updates are normalised", claims=["sgd"], linear="adam"),
        u.negative("SGD by the square-root rule", "its updates are not", claims=["adam"], root="sgd"),
    )
