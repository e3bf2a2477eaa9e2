"""Eigenlearning: the learning curve of kernel regression from the kernel's eigensystem, without a free parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch.nn import functional as F

from universality import plugin as u
from universality.measures import eigenlearning_error, kernel_regression_error, trace_ntk

ROWS, SIZES = 512, (8, 16, 32, 64, 96, 128)
BOUND = u.Within(high=0.10, unit="median |ln(measured / predicted)|", scale="log")
WORST = u.require("largest |ln(measured / predicted)|", "largest", at_most=0.25)
CURVE = u.Curves(
    {"measured": "", "theory": "predicted"}, "training rows", "squared error", "xy", theory="theory"
)
ERRORS = u.Dots("errors", "predicted error", "measured error", log="xy")
UNTRAINED = (
    "mlp[width=64]", "cnn[width=8]", "resnet[width=8,blocks=1]", "vit[dim=32]", "mixer[dim=32]", "lstm[width=32]",
    "transformer[dim=32]",
)  # fmt: skip


@u.register("eigenlearning", source="Simon et al. 2023, arXiv:2110.03922")
@dataclass(frozen=True, kw_only=True)
class Eigenlearning(u.Phenomenon):
    """Ridge regression with a kernel of the untrained network. The population are 512 reference inputs: the mean error
    over all of them after n draws is, with eigenvalues l_i and coefficients v_i,

        MSE = n / (n - sum L_i^2) sum_i (1 - L_i)^2 v_i^2,  L_i = l_i / (l_i + k),  sum L_i + ridge / k = n.

    Median over n = 8 to 128 of |ln(measured / predicted)| at most 0.10, the largest at most 0.25. Targets are centred.

    Args:
        kernel: inner products of the features before the readout, or the tangent kernel, its trace over outputs.
        ridge: over the mean of the kernel's diagonal.
        coefficients: `shuffled` predicts from permuted v_i; a control does.
    """

    kernel: Literal["features", "tangent"] = "features"
    ridge: float = 0.01
    coefficients: Literal["true", "shuffled"] = "true"

    title, version, strand, sense = "Eigenlearning", 1, "solvable", "number"
    calibration = True
    asks = (u.reference_rows(ROWS),)

    @u.per_seed
    def untrained(self, run: u.Run) -> u.Run:
        kept = {"weights": u.At(0)} if self.kernel == "tangent" else {"taps": u.At(0)}
        return run.trained(steps=0, loss="mse").observing(kept)

    @u.claim(BOUND, runs=untrained, title="curve from the spectrum", criteria=[WORST], chart=(CURVE, ERRORS))
    def curve(self, run: u.Trajectory) -> u.Outcome:
        population, rng = run.splits().reference, np.random.default_rng(run.spec.seed)
        if self.kernel == "tangent":
            K = trace_ntk(run.network(0), population.inputs[:ROWS]).numpy()
        else:
            features = run.array("taps.penultimate", 0).astype(np.float64)
            K = features @ features.T
        targets = population.targets[:ROWS]
        Y = (targets if population.regression else F.one_hot(targets)).double().numpy()
        Y, ridge = Y - Y.mean(0), self.ridge * np.trace(K) / ROWS
        values, vectors = np.linalg.eigh(K / ROWS)
        power = ((vectors.T @ Y) ** 2).sum(1) / ROWS
        if self.coefficients == "shuffled":
            power = rng.permutation(power)
        theory = np.array([eigenlearning_error(values.clip(0), power, n, ridge) for n in SIZES])
        errors = np.array([kernel_regression_error(K, Y, n, ridge, rng) for n in SIZES])
        off, points = abs(np.log(errors / theory)), {"errors": u.Points.of(theory, errors)}
        points |= {"measured": u.Points.of(SIZES, errors), "theory": u.Points.of(SIZES, theory)}
        return u.Outcome(effect=np.median(off), details={"largest": off.max()}, points=points)

    reference, tanh = ("mlp[depth=0,bias=false]", "power_law"), "mlp[width=64,depth=1,activation=tanh]"
    controls = (
        u.positive("Gaussian features", "the theory's own design"),
        u.positive("tangent kernel", "Simon et al. 2023", architecture=tanh, task="digits", kernel="tangent"),
        *(u.positive(f"untrained {a}", "a kernel", architecture=a, task="digits") for a in UNTRAINED),
        u.negative("shuffled", "where the target lies matters", coefficients="shuffled"),
    )
