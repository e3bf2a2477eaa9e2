"""Data scaling: validation loss falls as a power of the number of training rows, judged by extrapolation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from universality import plugin as u
from universality.measures import compare_scaling, fit_scaling

SOURCE = "Hestness et al. 2017, arXiv:1712.00409; Kaplan et al. 2020, arXiv:2001.08361"
ROWS = [round(32 * 2 ** (k / 2)) for k in range(11)]
CLUSTERS = "gaussian_mixture[dim=4,separation=3,train_rows=1024]"
RIVALS = ("exponential", "logarithmic", "last")
BAND = u.Within(low=0.75, high=1.33, unit="predicted / observed loss", scale="log")
LAW = u.Curves({"loss": "", "law": "fit to smaller sizes"}, "training rows", "validation loss", "xy", "law")
DOTS = u.Dots("largest", "predicted loss at the largest size", "validation loss there", log="xy")


def whole_set(cell: u.Cell) -> str:
    return "chooses its own subsets" if cell.task.subset else ""


@u.register("data_scaling", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class DataScaling(u.Phenomenon):
    """L(n) = a n^-b of n = 32 to 1024 training rows, L the validation loss, least over updates and rates, its mean over
    seeds geometric: fitted to all but the three largest sizes, a decade, predicted over observed at the largest, 2.8
    times as large as any that was fitted, lies within [0.75, 1.33].

    Criterion: an exponential, a logarithm, and no change at all, predict worse by a factor of two. A coefficient of
    determination is none: of shuffled labels it was 0.91. Gates: the smallest set teaches something, L at most 0.9 of
    the loss of a guess (below that knee no law is claimed), and the last quarter of updates takes at most 0.05 off ln L.

    Args:
        updates, epochs, lr, batch_size: of Adam, updates and epochs beside, at lr and lr / 3. More rows take longer.
    """

    updates: int = 150
    epochs: int = 40
    lr: float = 1e-2
    batch_size: int = 32

    title, version, strand, sense = "Data scaling", 3, "laws", "form"
    dispute = "exponents are fitted over little more than a decade, and rates seldom tuned for each size"
    asks = u.classes(2), whole_set, u.train_rows(ROWS[-1]), u.balanced(1.5)

    @u.per_seed
    def subsets(self, run: u.Run) -> u.Sweep:
        run = run.trained(steps=self.updates, optimizer="adam", lr=self.lr, batch_size=self.batch_size)
        run = run.observing(accuracy=u.Every(20))
        runs, each = run.vary(subset=ROWS, lr=(self.lr, self.lr / 3)), self.epochs / self.batch_size
        return runs.each(lambda run: run.trained(steps=self.updates + round(each * run.task.subset)))

    @u.claim(BAND, runs=subsets, title="a power law extrapolates", chart=(LAW, DOTS), pooled=True)
    def extrapolates(self, runs: u.Runs) -> u.Outcome:
        loss = {key: run.series("accuracy.validation_loss").values for key, run in runs.items()}
        seeds, sizes, rates = (sorted(set(of)) for of in zip(*loss, strict=True))
        every = np.array([[[loss[seed, n, lr] for seed in seeds] for lr in rates] for n in sizes])
        losses = torch.from_numpy(every.min((1, 3)))
        early = every[..., : 1 + (every.shape[3] - 1) * 3 // 4].min((1, 3))
        late = float(np.log(early / losses.numpy()).mean(1).max())
        u.need("what the last quarter of updates takes off ln L, at most of any size", late, at_most=0.05)
        guess = math.log(next(iter(runs.values())).facts["outputs"])
        u.need("loss of the smallest set over that of a guess", float(losses[0].mean()) / guess, at_most=0.9)
        found = compare_scaling(torch.tensor(sizes), losses, held_out=3)
        fit = fit_scaling(torch.tensor(sizes[:-3]), losses[:-3], form="power")
        rival = min(found.errors[name] for name in RIVALS) / found.errors["power"]
        predicted = [fit.amplitude * rows**-fit.exponent for rows in sizes]
        return u.Outcome(
            effect=found.ratios["power"][-1],
            criteria=(u.Check("error of the best rival over that of the power law", rival, at_least=2),),
            details={"exponent": fit.exponent, "rival": rival},
            points={
                "loss": u.Points.of(sizes, losses.log().mean(1).exp()),
                "law": u.Points.of(sizes, predicted),
                "largest": u.Points.of(predicted[-1:], losses[-1:].log().mean(1).exp()),
            },
        )

    reference = "mlp[width=64]", "digits"
    controls = (
        u.positive("symbols of a power law", "Hutter 2021: unseen symbols", task="zipf"),
        u.negative("overlapping clusters", "the loss ends at the Bayes error, a floor", task=CLUSTERS),
    )
