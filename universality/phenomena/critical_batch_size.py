"""The critical batch size: updates to a loss are a hyperbola in the batch size, with its knee at the noise scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from universality import plugin as u
from universality.measures import critical_batch_size
from universality.measures.scaling.hyperbola import Hyperbola

LOSS, NOISE, RECORDS = "accuracy.train_loss", "noise_scale.value", 40
UPDATES = {4: 800, 8: 400, 16: 220, 32: 140, 64: 90, 128: 70, 256: 60, 512: 60}  # budgets by batch size
BATCHES, LARGEST = tuple(UPDATES), 512
RATES, SMALL = tuple(0.025 * 2**k for k in range(8)), 0.05
FIT = u.Curves({"updates": "best rate", "fit": "hyperbola"}, "batch size", "updates", "xy", theory="fit")
QUARTER = u.Within(high=1.25, scale="log", unit="farthest of the hyperbola, a factor", floor=1.0)
DECADE = u.Within(low=10**-0.5, high=10**0.5, scale="log", unit="B_crit over the noise scale")


@u.register("critical_batch_size", source="McCandlish et al. 2018, arXiv:1812.06162")
@dataclass(frozen=True, kw_only=True)
class CriticalBatchSize(u.Phenomenon):
    """S(B), the least updates of SGD over eight rates until the training loss is `share` of its start, is S_min (1 + B_crit / B).

    `hyperbola`: of S, its geometric mean over seeds, none of eight batch sizes, over a factor of 128, is off the fit by more
    than 25 %, and B_crit lies among them. `noise`, of every seed: B_crit is, within sqrt(10) either way, tr Sigma / |G|^2
    (`measures.gradient_noise_scale`), of that the geometric mean on the way there, in the largest batch at its best rate.

    Args:
        share: of the initial loss, that is to be reached.
        tuned: `false` takes one small rate alone, with which noise costs nothing.
    """

    share: float = 0.3
    tuned: bool = True

    title, version, strand, sense = "Critical batch size", 4, "hyperparameters", "form"
    dispute = "the noise scale grows in training, and which update counts is open (Merrill et al. 2025, arXiv:2505.23971)"
    asks, reference = (u.classes(2), u.train_rows(1024)), ("mlp[width=64,depth=1]", "digits[label_noise=0.1]")

    @u.per_seed
    def batches(self, run: u.Run) -> dict[tuple[int, float], u.Run]:
        runs = {}
        for batch, lr in product(BATCHES, RATES if self.tuned else [SMALL]):
            steps = UPDATES[batch if self.tuned else BATCHES[0]]
            each = run.trained(steps=steps, lr=lr, batch_size=batch).observing(accuracy=u.Every(RECORDS))
            runs[batch, lr] = each.observing(noise_scale=u.Every(10)) if batch == LARGEST else each
        return runs

    def reached(self, run: u.Trajectory) -> float:
        """The update at which the loss is `share` of its start, ln loss interpolated; infinite where it is not, or diverged."""
        loss = run.series(LOSS)
        left = np.log(loss.values / loss.values[0] / self.share)
        k = int(np.argmax(left <= 0)) if run.state == "done" else 0
        return float(np.interp(0, -left[k - 1 : k + 1], loss.steps[k - 1 : k + 1])) if k else math.inf

    def fitted(self, runs: u.Runs, *seeds: tuple[int, ...]) -> tuple[Hyperbola, float, dict[str, u.Points]]:
        """The hyperbola of mean ln S over seeds, the best rate of the largest batch, and what is drawn."""
        rates = RATES if self.tuned else (SMALL,)
        best = [[min((self.reached(runs[(*s, b, r)]), r) for r in rates) for b in BATCHES] for s in seeds]
        updates = np.exp(np.log([[t for t, _ in of] for of in best]).mean(axis=0))
        u.need("batch sizes that reach the loss", np.isfinite(updates).sum(), at_least=len(BATCHES))
        ends = sum(rate in (rates[0], rates[-1]) for of in best for _, rate in of) if self.tuned else 0
        u.need("batch sizes whose best rate is the smallest or the largest", ends, at_most=0)
        found = critical_batch_size(np.array(BATCHES), updates)
        drawn = {"updates": updates, "fit": found.fitted}
        return found, best[-1][-1][1], {name: u.Points.of(BATCHES, values) for name, values in drawn.items()}

    @u.claim(QUARTER, runs=batches, title="a hyperbola", chart=FIT, diverged=True, pooled=True)
    def hyperbola(self, runs: u.Runs) -> u.Outcome:
        found, _, points = self.fitted(runs, *sorted({(seed,) for seed, _, _ in runs}))
        inside = u.Check("B_crit, rows", found.critical, at_least=BATCHES[0], at_most=LARGEST)
        details = {"B_crit": found.critical, "S_min": found.least}
        return u.Outcome(effect=math.exp(found.off), criteria=(inside,), details=details, points=points)

    @u.claim(DECADE, runs=batches, title="knee at the noise scale", chart=FIT, diverged=True)
    def noise(self, runs: u.Runs) -> u.Outcome:
        found, lr, points = self.fitted(runs, ())
        scales, end = runs[LARGEST, lr].series(NOISE), self.reached(runs[LARGEST, lr])
        scale = float(np.exp(np.log(scales.values[scales.steps <= end]).mean()))
        return u.Outcome(effect=found.critical / scale, details={"noise scale": scale}, points=points)

    controls = (
        u.positive("digits with noisy labels", "McCandlish et al. 2018: images", seeds=8),
        u.negative("one small rate", "noise does not limit it, so that all batches are alike", tuned=False),
    )
