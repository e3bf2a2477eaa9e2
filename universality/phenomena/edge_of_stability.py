"""Edge of stability: sharpness rises to the stability threshold of the optimizer and hovers there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from universality import plugin as u
from universality.plugin.kit.hovering import CHARTS, at_halves, settled

SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484"
LOW, HIGH, SLOPE, FALLING = 0.9, 1.15, "d log rho / d log (1/rate)", "last tenth of the loss over the first"
CRITERIA = (
    u.require("10 % quantile", "10 % quantile", at_least=0.80),
    u.require("90 % quantile", "90 % quantile", at_most=1.40),
    u.require(SLOPE, SLOPE, at_least=-0.5, at_most=0.5),
    u.require(FALLING, FALLING, at_most=1.0),
)


def hovers(runs: u.RunSet[u.Sweep], title: str, unit: str) -> u.Claim:
    bound, effect = u.Within(low=LOW, high=HIGH, unit=unit, scale="log"), partial(settled, low=LOW, high=HIGH)
    return u.claim(bound, effect, runs=runs, title=title, criteria=CRITERIA, chart=CHARTS, diverged=True)


@u.register("edge_of_stability", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(u.Phenomenon):
    """Under full-batch training, sharpness / threshold settles at 1, at the smallest rate that reaches it.

    Args:
        gd_steps, momentum_steps, adaptive_steps: updates at the largest rate; 2.5 times as many at each half of it.
        rates: learning rates of gradient descent, each half of the one before; other optimizers have two. The
            largest has its threshold at 1.25 times the initial sharpness; it is 0.01 of Adam, 0.001 of RMSProp.
        momentum: of heavy ball and Nesterov.
        records: how often sharpness is taken.
        late_rate: factor on the rate from half of the steps on, in a control.
    """

    gd_steps: int = 800
    momentum_steps: int = 600
    adaptive_steps: int = 400
    rates: int = 3
    momentum: float = 0.5
    records: int = 20
    late_rate: float = 1.0

    title, version, strand, sense = "Edge of stability", 3, "laws", "number"
    gates = (u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),)

    def halved(self, run: u.Run, rates: int = 2, **largest: Any) -> u.Sweep:
        late: dict[str, Any] = {} if self.late_rate == 1 else {"milestones": (0.5,), "gamma": self.late_rate}
        run = run.observing(sharpness=u.Every(self.records))
        return at_halves(run, u.Recipe(loss="mse", **late, **largest), rates)

    @u.per_seed
    def gd_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, self.rates, steps=self.gd_steps, lr_over_stability=1.25)

    @u.per_seed
    def heavy_ball_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, steps=self.momentum_steps, lr_over_stability=1.25, momentum=self.momentum)

    @u.per_seed
    def nesterov_runs(self, run: u.Run) -> u.Sweep:
        return self.heavy_ball_runs(run).each(lambda run: run.trained(nesterov=True))

    @u.per_seed
    def rmsprop_runs(self, run: u.Run) -> u.Sweep:
        rmsprop: dict[str, Any] = {"optimizer": "rmsprop", "beta2": 0.99, "warmup": 0.4}
        return self.halved(run, steps=self.adaptive_steps, lr=0.001, **rmsprop)

    @u.per_seed
    def adam_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, steps=self.adaptive_steps, lr=0.01, optimizer="adam", beta2=0.99)

    gd = hovers(gd_runs, "gradient descent", "sharpness / (2/lr)")
    heavy_ball = hovers(heavy_ball_runs, "heavy ball", "sharpness / (2 (1 + b)/lr)")
    nesterov = hovers(nesterov_runs, "Nesterov", "sharpness / (2 (1 + b)/((1 + 2b) lr))")
    rmsprop = hovers(rmsprop_runs, "RMSProp", "preconditioned sharpness / (2/lr)")
    adam = hovers(adam_runs, "Adam", "preconditioned sharpness / (38/lr)")

    reference = "mlp[width=32,depth=3,activation=tanh]", "digits[subset=200]"
    tanh = "Cohen et al. 2021, 2022: tanh networks with squared loss"
    cut = "Cohen et al. 2021: sharpness follows the flow, not the rate, and rises no hundredfold"
    controls = (
        u.positive("tanh network on digits", tanh, follows=True),
        u.negative("rate cut to a hundredth", cut, follows=True, seeds=3, late_rate=0.01),
    )
