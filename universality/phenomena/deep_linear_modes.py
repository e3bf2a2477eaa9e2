"""Deep linear networks learn the modes of their data one after another, each along a logistic curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from universality import plugin as u
from universality.measures import mode_strengths, passage_times

RISE = u.Within(high=0.05, unit="largest |rise / (ln 81 / 2 s) - 1|", scale="log")
ORDER = u.Within(low=0.99, unit="Kendall tau of half-times and -s", ceiling=1.0)
RISES = u.Dots("rises", "predicted rise, ln 81 / 2s", "measured rise", log="xy")
SHAPE = u.Curves(
    {"shape": "mode", "logistic": ""}, "2s (t - half-time)", "strength of the mode", theory="logistic"
)
COURSE = u.Curves({"course": "mode"}, "time, lr x updates", "strength of the mode")


@u.register("deep_linear_modes", source="Saxe et al. 2014, arXiv:1312.6120")
@dataclass(frozen=True, kw_only=True)
class DeepLinearModes(u.Phenomenon):
    """Two linear layers, whitened inputs, small initialisation: the strength a_k = u_k^T W2 W1 v_k / s_k of mode k is
    logistic in time t = lr x updates, a_k = 1 / (1 + exp(-2 s_k (t - t_k))), and rises from 10 to 90 % in ln 81 / 2s_k.

    Effects: the largest |rise / (ln 81 / 2s) - 1| over modes, at most 0.05; Kendall's tau of half-times t_k and -s_k,
    1. A single layer rises in ln 9 whatever s, all modes at once.

    Args:
        steps, lr: of gradient descent, which follows the flow where lr s is far below 1.
    """

    steps: int = 1400
    lr: float = 0.005

    title, version, strand, sense = "Modes of deep linear networks", 2, "solvable", "number"
    calibration = True

    @u.per_seed
    def flow(self, run: u.Run) -> u.Run:
        return run.trained(steps=self.steps, lr=self.lr, loss="mse").observing(outputs=u.Every(350))

    @u.claim(RISE, runs=flow, title="modes rise in ln 81 / 2s", chart=(RISES, SHAPE))
    def rise(self, run: u.Trajectory) -> u.Outcome:
        s, t, a = strengths(run)
        rises, theory = passage_times(t, a, 0.9) - passage_times(t, a, 0.1), math.log(81) / (2 * s)
        grid, points = np.linspace(-6, 6, 49), {"rises": u.Points.of(theory, rises)}
        for rate, half, each in zip(s, passage_times(t, a, 0.5), a, strict=True):
            x = 2 * rate * (t - half)
            points[f"shape:s = {rate:.2g}"] = u.Points.of(x[abs(x) < 6], each[abs(x) < 6])
        points["logistic"] = u.Points.of(grid, 1 / (1 + np.exp(-grid)))
        return u.Outcome(effect=abs(rises / theory - 1).max(), points=points)

    @u.claim(ORDER, runs=flow, title="modes in order of s", chart=COURSE)
    def order(self, run: u.Trajectory) -> u.Outcome:
        s, t, a = strengths(run)
        points = {f"course:s = {rate:.2g}": u.Points.of(t, each) for rate, each in zip(s, a, strict=True)}
        return u.Outcome(effect=kendalltau(passage_times(t, a, 0.5), -s)[0], points=points)

    reference = "mlp[width=8,depth=1,activation=identity,bias=false]+init_scale[scale=0.001]", "whitened"
    large, single = reference[0].replace("0.001", "3"), reference[0].replace("depth=1", "depth=0")
    controls = (
        u.positive("two layers from small weights", "Saxe et al. 2014: exact"),
        u.negative("large initialisation", "its modes are not decoupled", architecture=large),
        u.negative("one layer", "all modes rise in ln 9, at once", architecture=single),
    )


def strengths(run: u.Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values [k], times [t], strengths [k, t]. Reference inputs are unit vectors: outputs are the map."""
    train, steps = run.splits().train, run.steps("outputs.logits")
    x, y = train.inputs.double().numpy(), train.targets.double().numpy()
    maps = np.array([run.array("outputs.logits", step).T for step in steps])
    s, a = mode_strengths(maps, y.T @ x / len(x))
    u.need("strength that the weakest mode reaches", a.max(axis=1).min(), at_least=0.9)
    return s, float(run.facts["lr"]) * np.array(steps), a
