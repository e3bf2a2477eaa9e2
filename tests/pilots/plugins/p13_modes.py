"""Deep linear networks learn the modes of their data one after another, each along a logistic curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from universality import plugin as u

RISE = u.Within(high=0.05, unit="largest |rise / (ln 81 / 2 s) - 1|", scale="log")
ORDER = u.Within(low=0.99, unit="Kendall tau of half-times and -s")
RISES = u.Dots("rises", "predicted rise, ln 81 / 2s", "measured rise", log="xy")
SHAPE = u.Curves(
    {"shape": "mode", "logistic": ""}, "2s (t - half-time)", "strength of the mode", theory="logistic"
)
COURSE = u.Curves({"course": "mode"}, "time, lr x updates", "strength of the mode")


@u.register("linear_modes", source="Saxe et al. 2014, arXiv:1312.6120")
@dataclass(frozen=True, kw_only=True)
class LinearModes(u.Phenomenon):
    """Two linear layers, whitened inputs, small initialisation: the strength a_k = u_k^T W2 W1 v_k / s_k of mode k is
    logistic in time t = lr x updates, a_k = 1 / (1 + exp(-2 s_k (t - t_k))), and rises from 10 to 90 % in ln 81 / 2s_k.

    Effects: the largest |rise / (ln 81 / 2s) - 1| over modes, at most 0.05; Kendall's tau of half-times t_k and -s_k,
    1. A single layer rises in ln 9, whatever s.

    Args:
        steps, lr: of gradient descent, which follows the flow where lr s is far below 1.
    """

    steps: int = 1400
    lr: float = 0.005

    title, version, strand, sense = "Modes of linear networks", 1, "solvable", "number"
    asks = (u.families("calibration", why="the modes of whitened inputs are known"),)

    @u.per_seed
    def flow(self, run: u.Run) -> u.Run:
        return run.trained(steps=self.steps, lr=self.lr, loss="mse").observing(outputs=u.Every(350))

    @u.claim(RISE, runs=flow, title="modes rise in ln 81 / 2s", chart=(RISES, SHAPE))
    def rise(self, run: u.Trajectory) -> u.Outcome:
        s, t, a = strengths(run)
        rises, theory = [when(t, x, 0.9) - when(t, x, 0.1) for x in a], math.log(81) / (2 * s)
        grid, points = np.linspace(-6, 6, 49), {"rises": u.Points.of(theory, rises)}
        for rate, each in zip(s, a, strict=True):
            x = 2 * rate * (t - when(t, each, 0.5))
            points[f"shape:s = {rate:.2g}"] = u.Points.of(x[abs(x) < 6], each[abs(x) < 6])
        points["logistic"] = u.Points.of(grid, 1 / (1 + np.exp(-grid)))
        return u.Outcome(effect=abs(rises / theory - 1).max(), points=points)

    @u.claim(ORDER, runs=flow, title="modes in order of s", chart=COURSE)
    def order(self, run: u.Trajectory) -> u.Outcome:
        s, t, a = strengths(run)
        points = {f"course:s = {rate:.2g}": u.Points.of(t, each) for rate, each in zip(s, a, strict=True)}
        return u.Outcome(effect=kendalltau([when(t, each, 0.5) for each in a], -s)[0], points=points)

    reference = "mlp[width=8,depth=1,activation=identity,bias=false]+init_scale[scale=0.01]", "whitened"
    large, single = reference[0].replace("0.01", "3"), reference[0].replace("depth=1", "depth=0")
    controls = (
        u.positive("two layers from small weights", "Saxe et al. 2014: exact"),
        u.negative("large initialisation", "its modes are not decoupled", architecture=large),
        u.negative("one layer", "it rises in ln 9", claims=["rise"], architecture=single),
    )


def strengths(run: u.Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values [k], times [t], strengths [k, t]. Reference inputs are unit vectors: outputs are the map."""
    train, steps = run.splits().train, run.steps("outputs.logits")
    x, y = train.inputs.double().numpy(), train.targets.double().numpy()
    U, s, Vt = np.linalg.svd(y.T @ x / len(x))
    maps = np.array([run.array("outputs.logits", step) for step in steps], dtype=np.float64)
    return s, float(run.facts["lr"]) * np.array(steps), np.einsum("ik,tji,kj->kt", U, maps, Vt) / s[:, None]


def when(t: np.ndarray, a: np.ndarray, level: float) -> float:
    """When a first passes a level, on the logistic between two records; the start where it is above it there."""
    u.need("strength that the weakest mode reaches", a.max(), at_least=0.9)
    i, logit = int(np.argmax(a >= level)), np.log(a.clip(1e-9) / (1 - a).clip(1e-9))
    near = slice(max(i - 1, 0), i + 1)
    return float(np.interp(math.log(level / (1 - level)), logit[near], t[near]))
