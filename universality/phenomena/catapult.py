"""Catapult: above 2 / curvature the loss of a two-layer network rises, its curvature falls, and it converges, up to 4."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from universality import plugin as u

GRID, EARLY = (1.9, 2.1, 2.5, 3.0, 3.5, 3.9, 4.1), 4
WINDOW = GRID[1:-1]
A, TWO = "lr x initial curvature", dict.fromkeys(GRID, 2.0)
LOSSES = u.Lines({"train_loss": ""}, "loss", log="y", low=1e-9, high=1e9)
GROWTH = u.Curves({"growth": "measured", "theory": "2 ln |1 - a|"}, A, "growth of ln loss", theory="theory")
FLAT = u.Curves({"end": "at the end", "theory": "2"}, A, "lr x curvature, last record", theory="theory")


@u.register("catapult", source="Lewkowycz et al. 2020, arXiv:2003.02218")
@dataclass(frozen=True, kw_only=True)
class Catapult(u.Phenomenon):
    """f = v.u x on one point of target 0: with a = lr x curvature, (|u|^2 + |v|^2) x^2 at f = 0, and b = (lr x f)^2,

        a' = a + b (a - 4),    f' = f (1 - a + b),

    exactly. A small f shrinks below a = 2; above it grows, a falls until it is below 2 and f shrinks, unless a > 4.

    Effects: the a at which the loss begins to grow, 2 within 5 %; the geometric mean of the largest a that converges and
    the least that does not, 4 within 5 %; between, the largest a at the end, at most 2, after the loss rose threefold.

    Args:
        steps, momentum: of gradient descent; heavy ball is a control.
    """

    steps: int = 300
    momentum: float = 0.0

    title, version, strand, sense = "Catapult", 1, "hyperparameters", "number"
    dispute = "depth and cross-entropy blur the edges; ReLU networks diverge at about 12, not 4"
    calibration = True

    @u.per_seed
    def rates(self, run: u.Run) -> u.Sweep:
        run = run.observing(sharpness=u.At(0, 1))
        recipe = {"steps": self.steps, "loss": "mse", "momentum": self.momentum}
        over = {a: 2 * (1 + self.momentum) / a for a in GRID}  # threshold / curvature
        return u.Sweep(("a",), {a: run.trained(lr_over_stability=over[a], **recipe) for a in GRID})

    start = u.Within(low=1.9, high=2.1, unit=A)
    edge = u.Within(low=3.8, high=4.2, unit=A)
    flat = u.Within(high=2.0, unit="largest lr x curvature at the end")
    spikes = u.require("loss over that at the start, at its highest", "spike", at_least=3)

    @u.claim(start, runs=rates, title="loss grows above 2", chart=GROWTH, diverged=True)
    def grows(self, runs: u.Runs) -> u.Outcome:
        losses = {a: run.series("train_loss").values for a, run in runs.items()}
        growth = {a: float(np.log(loss[EARLY] / loss[0])) / EARLY for a, loss in losses.items()}
        first = next((i for i, rate in enumerate(growth.values()) if rate > 0), 0)
        u.need("rates below the first at which the loss grows", first, at_least=1)
        (a, low), (b, high) = list(growth.items())[first - 1 : first + 1]
        theory = u.Points.of({a: 2 * math.log(abs(1 - a)) for a in GRID})
        points = {"growth": u.Points.of(growth), "theory": theory}
        return u.Outcome(effect=a - low * (b - a) / (high - low), points=points)

    @u.claim(edge, runs=rates, title="diverges above 4", chart=LOSSES, diverged=True)
    def diverges(self, runs: u.Runs) -> u.Outcome:
        shrunk = u.end_over_start("train_loss")
        ends = {a: run.state == "done" and shrunk(run) < 1 for a, run in runs.items()}
        u.need("rates that converge", sum(ends.values()), at_least=1)
        u.need("rates that do not", len(ends) - sum(ends.values()), at_least=1)
        least = min(a for a, converged in ends.items() if not converged)
        return u.Outcome(effect=math.sqrt(least * max(a for a in ends if ends[a])))

    @u.claim(flat, runs=rates, title="flatter than 2", criteria=[spikes], chart=FLAT, diverged=True)
    def flattens(self, runs: u.Runs) -> u.Outcome:
        end = {a: runs[a].facts["lr"] * u.at_end("sharpness.value")(runs[a]) for a in GRID}
        spike = {a: np.nanmax(loss := runs[a].series("train_loss").values) / loss[0] for a in WINDOW}
        points = {"end": u.Points.of(end), "theory": u.Points.of(TWO)}
        details = {"spike": min(spike.values())}
        return u.Outcome(effect=max(end[a] for a in WINDOW), details=details, points=points)

    reference = "mlp[width=512,depth=1,activation=identity,bias=false]", "whitened[modes=1,top=0,rows=1]"
    linear = "mlp[depth=0,bias=false]"
    controls = (
        u.positive("two linear layers on one point", "Lewkowycz et al. 2020: exact"),
        u.negative("one layer", "constant curvature", claims=["diverges", "flattens"], architecture=linear),
        u.negative("heavy ball", "stable up to 2 (1 + momentum)", claims=["grows"], momentum=0.5),
    )
