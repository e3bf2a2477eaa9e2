"""Eigenlearning: the learning curve of kernel regression from the kernel's eigensystem, without a free parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from torch.nn import functional as F

from universality import plugin as u
from universality.measures import trace_ntk

ROWS, SIZES, DRAWS = 512, (8, 16, 32, 64, 96, 128), 100
BOUND = u.Within(high=0.10, unit="median |ln(measured / predicted)|", scale="log")
WORST = u.require("largest |ln(measured / predicted)|", "largest", at_most=0.25)
TITLES = {"measured": "", "theory": "predicted"}
CURVE = u.Curves(TITLES, "training rows", "mean squared error", "xy", theory="theory")
ERRORS = u.Dots("errors", "predicted error", "measured error", log="xy")
TANH = "mlp[width=64,depth=1,activation=tanh]"


@u.register("eigenlearning", source="Simon et al. 2023, arXiv:2110.03922")
@dataclass(frozen=True, kw_only=True)
class Eigenlearning(u.Phenomenon):
    """Ridge regression with the tangent kernel (trace over outputs) of the untrained network. The population are 512
    reference inputs: the mean error over all of them after n draws is, with eigenvalues l_i and coefficients v_i,

        MSE = n / (n - sum L_i^2) sum_i (1 - L_i)^2 v_i^2,  L_i = l_i / (l_i + k),  sum L_i + ridge / k = n.

    Median over n of |ln(measured / predicted)| at most 0.10, the largest at most 0.25. Targets are centred.

    Args:
        ridge: over the mean eigenvalue of the kernel matrix.
        coefficients: `shuffled` predicts from permuted v_i; a control does.
    """

    ridge: float = 0.01
    coefficients: Literal["true", "shuffled"] = "true"

    title, version, strand, sense = "Eigenlearning", 1, "solvable", "number"
    asks = (u.reference_rows(ROWS),)

    @u.per_seed
    def untrained(self, run: u.Run) -> u.Run:
        return run.trained(steps=0, loss="mse").observing(weights=u.At(0))

    @u.claim(BOUND, runs=untrained, title="curve from the spectrum", criteria=[WORST], chart=(CURVE, ERRORS))
    def curve(self, run: u.Trajectory) -> u.Outcome:
        reference, rng = run.splits().reference, np.random.default_rng(run.spec.seed)
        K = trace_ntk(run.network(0), reference.inputs[:ROWS]).numpy()
        Y = reference.targets[:ROWS]
        Y = (Y if reference.regression else F.one_hot(Y)).double().numpy()
        Y, ridge = Y - Y.mean(0), self.ridge * np.trace(K) / ROWS
        values, vectors = np.linalg.eigh(K / ROWS)
        power = ((vectors.T @ Y) ** 2).sum(1) / ROWS
        if self.coefficients == "shuffled":
            power = rng.permutation(power)
        theory = np.array([predicted(values.clip(0), power, n, ridge) for n in SIZES])
        errors = np.array([measured(K, Y, n, ridge, rng) for n in SIZES])
        off, points = abs(np.log(errors / theory)), {"errors": u.Points.of(theory, errors)}
        points |= {"measured": u.Points.of(SIZES, errors), "theory": u.Points.of(SIZES, theory)}
        return u.Outcome(effect=np.median(off), details={"largest": off.max()}, points=points)

    reference = "mlp[depth=0,bias=false]", "power_law"
    controls = (
        u.positive("Gaussian inputs", "the theory's own design"),
        u.positive("network on digits", "Simon et al. 2023, figure 1", architecture=TANH, task="digits"),
        u.negative("shuffled", "where the target lies matters", coefficients="shuffled"),
    )


def predicted(values: np.ndarray, power: np.ndarray, n: int, ridge: float) -> float:
    """MSE after n rows from eigenvalues and squared coefficients."""
    k = brentq(lambda k: (values / (values + k)).sum() + ridge / k - n, 1e-15, values.sum() + ridge)
    L = values / (values + k)
    return float(n / (n - (L**2).sum()) * ((1 - L) ** 2 @ power))


def measured(K: np.ndarray, Y: np.ndarray, n: int, ridge: float, rng: np.random.Generator) -> float:
    """Mean over draws of n different rows of the squared error on the population, these rows among it.

    Rows that repeat, as no continuous population has them, would leave it 20 % above the theory at n = ROWS / 4.
    """
    errors = []
    for rows in (rng.permutation(len(K))[:n] for _ in range(DRAWS)):
        fitted = K[:, rows] @ np.linalg.solve(K[np.ix_(rows, rows)] + ridge * np.eye(n), Y[rows])
        errors.append(((fitted - Y) ** 2).sum(1).mean())
    return float(np.mean(errors))
