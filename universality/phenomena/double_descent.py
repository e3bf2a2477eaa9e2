"""Double descent: without a ridge, test error peaks where features are as many as rows, and then falls again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.nn import functional as F

from universality import plugin as u
from universality.measures import random_feature_errors

NETWORKS, REACH, MOST, LEAST, TAPS = 10, 10, 64, 16, "taps[rows=512,rotate=false]"
RATIOS = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5, 5.0, REACH])
ERROR = u.Curves({"error": ""}, "features over rows", "test error over that of the mean", "xy")

FIRST = u.require("least test error below the threshold, over that of the mean", "least below", at_most=1)


def enough_features(cell: u.Cell) -> str:
    has, needs = NETWORKS * cell.features, REACH * LEAST
    return "" if not has or has >= needs else f"{NETWORKS} networks have {has} features, {needs} are needed"


@u.register(
    "double_descent", source="Belkin et al. 2019, arXiv:1812.11118; Hastie et al. 2022, arXiv:1903.08560"
)
@dataclass(frozen=True, kw_only=True)
class DoubleDescent(u.Phenomenon):
    """Regression on p random features, those before the readout of ten untrained networks of the architecture, from n
    rows with noise on their targets; n is a tenth of all features, at most 64.

    Effects: the largest test error at p = 0.8 n to 1.25 n over the least at p <= 0.6 n, at least 2 (the peak); the error
    at p = 10 n over that least, at most 1 (the second descent; of a first one, where that least is at most the error of
    the mean). Medians over 20 draws of rows, features and noise.

    Args:
        noise: standard deviation, over that of the targets.
        ridge: over the mean square singular value of the features; a control has one.
    """

    noise: float = 0.3
    ridge: float = 0.0

    title, version, strand, sense = "Double descent", 2, "solvable", "form"
    dispute = (
        "Curth et al. 2023, arXiv:2310.18988: two axes of complexity drawn as one; a tuned ridge has no peak"
    )
    asks = u.reference_rows(256), enough_features

    @u.per_seed
    def untrained(self, run: u.Run) -> dict[int, u.Run]:
        run = run.trained(steps=0, loss="mse").observing({TAPS: u.At(0)})
        return {k: run.streams(init=NETWORKS * run.seed + k) for k in range(NETWORKS)}

    high = u.Within(low=2.0, unit="error at the threshold / least below", scale="log")
    again = u.Within(high=1.0, unit="error of most features / least below", scale="log")

    @u.claim(high, runs=untrained, title="peak at the threshold", chart=ERROR)
    def peak(self, runs: u.Runs) -> u.Outcome:
        error = self.errors(runs)
        at_threshold = error[(RATIOS >= 0.8) & (RATIOS <= 1.25)].max()
        points = {"error": u.Points.of(RATIOS, error)}
        return u.Outcome(effect=at_threshold / error[RATIOS <= 0.6].min(), points=points)

    @u.claim(again, runs=untrained, title="second descent", gates=[FIRST], chart=ERROR)
    def second(self, runs: u.Runs) -> u.Outcome:
        error = self.errors(runs)
        points, below = {"error": u.Points.of(RATIOS, error)}, error[RATIOS <= 0.6].min()
        return u.Outcome(effect=error[-1] / below, details={"least below": below}, points=points)

    def errors(self, runs: u.Runs) -> np.ndarray:
        """By ratio of features to rows."""
        reference, seed = runs[0].splits().reference, runs[0].spec.seed
        features = np.concatenate([run.array(f"{TAPS}.penultimate", 0) for run in runs.values()], axis=1)
        targets = reference.targets[: len(features)]
        Y = (targets if reference.regression else F.one_hot(targets)).double().numpy()
        rows, rng = min(MOST, features.shape[1] // REACH), np.random.default_rng(seed)
        widths, X = np.round(RATIOS * rows).astype(int), features.astype(np.float64)
        return random_feature_errors(X, Y, rows, widths, rng, noise=self.noise, ridge=self.ridge)

    reference = "mlp[width=128,depth=1]", "digits"
    low = "in few dimensions interpolation keeps the noise (Rakhlin and Zhai 2019, arXiv:1812.11167)"
    controls = (
        u.positive("random ReLU features of digits", "Belkin et al. 2019"),
        u.negative("with a ridge", "Nakkiran et al. 2021, arXiv:2003.01897", claims=["peak"], ridge=1.0),
        u.negative("two dimensions", low, claims=["second"], task="gaussian_mixture[dim=2]"),
    )
