"""Supercollapse: loss curves of networks of all sizes are one curve, closer than two seeds of one size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality import plugin as u
from universality.measures import curve_collapse
from universality.plugin.kit import scaling_axis

SCALES, RECORDS, LOSS = (1.0, 2.0, 4.0, 8.0), 40, "accuracy.train_loss"
CURVES = u.Curves({"curve": "relative width"}, "share of the updates", "loss over that at the end", log="y")
BOUND = u.Within(high=1.0, scale="log", unit="deviation of curves over that of seeds")


@u.register("supercollapse", source="Qiu et al. 2025, arXiv:2507.02119")
@dataclass(frozen=True, kw_only=True)
class Supercollapse(u.Phenomenon):
    """Networks of 1 to 8 times the width under muP, on the squared loss of data without noise, are trained for a number of
    updates that grows as a power of the width, while the rate decays. Their losses over those at the end, against the
    share of the updates, deviate from each other by less than seeds of one size do at that time, geometric mean over the
    second half (`measures.curve_collapse`).

    The power is near to what is best for the compute that is spent, and not fitted. The irreducible loss is taken as 0.

    Args:
        steps, growth: updates of width w, steps (w / least)^growth.
        lr, batch_size: of Adam.
        decay: over the last four fifths, by a factor of 0.8 every twentieth; `false` keeps the rate.
    """

    steps: int = 150
    growth: float = 0.75
    lr: float = 0.01
    batch_size: int = 32
    decay: bool = True

    title, version, strand, sense = "Supercollapse", 1, "universality", "form"
    asks = (u.has_width, u.train_rows(512))

    @u.per_seed
    def widths(self, run: u.Run) -> dict[float, u.Run]:
        base = scaling_axis(run.architecture)[1]
        recipe = {"optimizer": "adam", "lr": self.lr, "batch_size": self.batch_size, "eps": 1e-12}
        recipe |= {"milestones": tuple(k / 20 for k in range(4, 20)), "gamma": 0.8} if self.decay else {}
        run = run.trained(steps=self.steps, loss="mse", **recipe).observing(accuracy=u.Every(RECORDS))
        return {
            scale: run.scaled(scale)
            .modified("mup", base=base)
            .trained(steps=round(self.steps * scale**self.growth))
            for scale in SCALES
        }

    @u.claim(BOUND, runs=widths, title="closer than seeds", chart=CURVES, pooled=True)
    def closer(self, runs: u.Runs) -> u.Outcome:
        seeds = sorted({seed for seed, _ in runs})
        losses = np.array([[runs[seed, scale].series(LOSS).values[1:] for seed in seeds] for scale in SCALES])
        ends = losses[..., -1].mean(axis=1)
        u.need("loss at the end, widest over narrowest", ends[-1] / ends[0], at_most=0.9)
        found = curve_collapse(losses)
        at = np.arange(1, RECORDS + 1) / RECORDS
        points = {
            f"curve:{s:g}": u.Points.of(at, c.mean(axis=0)) for s, c in zip(SCALES, found.curves, strict=True)
        }
        return u.Outcome(effect=found.ratio, points=points)

    reference = "mlp[width=16]", "power_law[dim=50,rows=2048]"
    controls = (
        u.positive("power-law data", "Qiu et al. 2025: networks on power-law random features"),
        u.negative("constant rate", "a loss at the end is noise, and divides all of its curve", decay=False),
    )
