"""Gradient flow conserves the balance of neighbouring layers; a finite step breaks it in proportion to the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from universality import plugin as u

RATES, LEAST, Q, LOSS = (0.02, 0.006, 0.002), 0.002, "|Q - Q0| / |Q0|", "accuracy.train_loss"
LEARNT = u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.5)
SMALL = u.require("drift at the least rate", u.at_end("balance.drift"), at_most=0.01, keys=(LEAST,))
DRIFTS = u.Curves({"drift": "measured", "theory": "proportional to lr"}, "learning rate", Q, "xy", "theory")
TITLES = {"left": "measured", "theory": "exp(-2 wd t)"}
DECAY = u.Curves(TITLES, "time, lr x updates", "<Q, Q0> / |Q0|^2", "y", theory="theory")


@u.register(
    "conservation_laws", source="Du et al. 2018, arXiv:1806.00900; Kunin et al. 2021, arXiv:2012.04728"
)
@dataclass(frozen=True, kw_only=True)
class ConservationLaws(u.Phenomenon):
    """Q = W_l W_l^T - W_{l+1}^T W_{l+1} of linear layers, per unit |w_in|^2 + b^2 - |w_out|^2 of ReLUs (probe `balance`).

    At equal time t = lr x updates, |Q(t) - Q(0)| / |Q(0)| is of first order in lr: the slope of its logarithm
    against ln lr over a decade lies in 0.9 to 1.1, and it is below 1 % at the least rate. Under L2 decay of strength
    wd, Q(t) = Q(0) exp(-2 wd t): |Q(t) - exp(-2 wd t) Q(0)| / |Q(0)| is below 1 %.

    Args:
        time: lr x updates.
        decay: wd.
        optimizer: the law is of gradient descent; Adam is a control.
    """

    time: float = 3.0
    decay: float = 0.3
    optimizer: Literal["sgd", "adam"] = "sgd"

    title, version, strand, sense = "Conservation laws", 1, "laws", "number"
    calibration = True

    @u.per_seed
    def rates(self, run: u.Run) -> u.Sweep:
        run = run.observing(balance=u.Every(20), accuracy=u.At(0, 1))
        recipe = {"loss": "mse", "optimizer": self.optimizer}
        return u.Sweep(
            ("lr",), {lr: run.trained(steps=round(self.time / lr), lr=lr, **recipe) for lr in RATES}
        )

    @u.per_seed
    def decaying(self, run: u.Run) -> u.Run:
        return self.rates(run)[LEAST].trained(weight_decay=self.decay)

    slope = u.Within(low=0.9, high=1.1, unit="d ln drift / d ln lr")
    law = u.Within(high=0.01, unit="|Q - exp(-2 wd t) Q0| / |Q0|", scale="log")

    @u.claim(
        slope, runs=rates, title="broken by lr to first order", gates=[LEARNT], criteria=[SMALL], chart=DRIFTS
    )
    def order(self, runs: u.Runs) -> u.Outcome:
        drift = runs.read(u.at_end("balance.drift"))
        slope = np.polyfit(np.log(RATES), np.log([drift[lr] for lr in RATES]), 1)[0]
        theory = u.Points.of({lr: drift[LEAST] * lr / LEAST for lr in RATES})
        return u.Outcome(effect=slope, points={"drift": u.Points.of(drift), "theory": theory})

    @u.claim(law, runs=decaying, title="decays as exp(-2 wd t)", chart=DECAY)
    def decays(self, run: u.Trajectory) -> u.Outcome:
        drift, left = run.series("balance.drift"), run.series("balance.decayed").values
        times = run.spec.recipe.lr * drift.steps
        predicted = np.exp(-2 * self.decay * times)
        # |Q - c Q0|^2 = |Q - Q0|^2 + 2 (1 - c) <Q - Q0, Q0> + (1 - c)^2 |Q0|^2
        d, q, c = drift.values[-1], left[-1], predicted[-1]
        residual = np.sqrt(max(d**2 + 2 * (1 - c) * (q - 1) + (1 - c) ** 2, 1e-18))
        points = {"left": u.Points.of(times, left), "theory": u.Points.of(times, predicted)}
        return u.Outcome(effect=residual, points=points)

    reference = "mlp[width=6,depth=2,activation=identity,bias=false]", "whitened[top=1.0]"
    tanh, pairs = "mlp[width=16,activation=tanh]", "digits[classes=2,subset=100]"
    controls = (
        u.positive("three linear layers", "exact for gradient flow"),
        u.positive("ReLU network", "Du et al. 2018", architecture="mlp[width=16]", task=pairs),
        u.negative("Adam", "a preconditioner has no rescaling symmetry", optimizer="adam"),
        u.negative("tanh", "no rescaling symmetry", architecture=tanh, task="whitened[top=2]"),
    )
