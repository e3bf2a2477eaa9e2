"""muP: the size of feature updates and the best learning rate do not depend on the width."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from universality import plugin as u
from universality.plugin.kit import scaling_axis
from universality.plugin.kit.best_rate import best_rate

SCALES, OCTAVES, RATES, EARLY = (1.0, 4.0, 16.0), 4, tuple(2.0**k for k in range(-3, 4)), 4
TAPS, OUTPUT, LOSS = "taps[rows=64,rotate=false]", "outputs[rows=64]", "train_loss"
STEEP = 0.25  # half-way to 1/2, the least power with which hidden updates of Adam grow in standard parametrisation
KINDS = {"mup": "muP", "standard": "standard"}
MOVES = u.Curves(KINDS, "relative width", f"RMS change of a representation in {EARLY} updates", "xy")
LOSSES = u.Curves({"loss": "relative width"}, "learning rate", "training loss, mean of all updates", "xy")
UNMOVED = u.Within(low=-STEEP, high=STEEP, unit="power of the width")


@u.register("mup_transfer", source="Yang et al. 2022, arXiv:2203.03466")
@dataclass(frozen=True, kw_only=True)
class MupTransfer(u.Phenomenon):
    """Under Adam, over 16 times the width, representations move alike and the best rate stays.

    Coordinate check: the power of the width with which RMS(h_4 - h_0) grows, of the tap or the output where it is farthest
    from 0. Transfer: that of the best rate for the mean loss, where that falls by 1.5 octaves in standard parametrisation.

    Args:
        steps, lr, batch_size: of Adam; the grid has seven rates, factors of two apart, around lr.
        parametrisation: that is judged.
    """

    steps: int = 60
    lr: float = 0.016
    batch_size: int = 128
    parametrisation: Literal["mup", "standard"] = "mup"

    title, version, strand, sense = "muP transfer", 2, "limits", "number"
    dispute = "later it is decay, not muP, that carries the transfer (Kosson et al. 2025, arXiv:2510.19093)"
    asks, reference = (u.has_width,), ("mlp[width=32,activation=tanh]", "digits")

    def widened(self, run: u.Run, kind: str, scale: float, lr: float) -> u.Run:
        run = run.trained(optimizer="adam", steps=self.steps, lr=lr, eps=1e-12, batch_size=self.batch_size)
        wide, base = run.scaled(scale), scaling_axis(run.architecture)[1]
        return wide.modified("mup", base=base) if kind == "mup" else wide

    @u.per_seed
    def early(self, run: u.Run) -> dict[tuple[str, float], u.Run]:
        runs = {(kind, s): self.widened(run, kind, s, self.lr / 4) for kind in KINDS for s in SCALES}
        observe = {TAPS: u.At(0, 1), OUTPUT: u.At(0, 1)}
        return {key: run.trained(steps=EARLY).observing(observe) for key, run in runs.items()}

    @u.per_seed
    def grid(self, run: u.Run) -> dict[tuple[str, float, float], u.Run]:
        keys = product(KINDS, SCALES, [self.lr * factor for factor in RATES])
        return {key: self.widened(run, *key) for key in keys}

    @u.claim(UNMOVED, runs=early, title="representations move alike", chart=MOVES)
    def coordinates(self, runs: u.Runs) -> u.Outcome:
        slopes, points, last = {}, {}, runs["mup", 1.0].steps(TAPS)[-1]
        taps = [*(f"{TAPS}.{tap}" for tap in runs["mup", 1.0].facts["taps"]), f"{OUTPUT}.logits"]
        for kind, tap in ((kind, tap) for kind in KINDS for tap in taps):
            moved = [runs[kind, s].array(tap, last) - runs[kind, s].array(tap, 0) for s in SCALES]
            change, name = [float(np.sqrt(np.mean(h**2))) for h in moved], f"{kind}:{tap.rpartition('.')[2]}"
            slopes[name] = float(np.polyfit(np.log(SCALES), np.log(change), 1)[0])
            points[name] = u.Points.of(SCALES, change)
        steepest = {k: max((s for n, s in slopes.items() if n.startswith(k)), key=abs) for k in KINDS}
        u.need("growth with width, standard", steepest["standard"], at_least=STEEP)
        return u.Outcome(effect=steepest[self.parametrisation], details=slopes, points=points)

    @u.claim(UNMOVED, runs=grid, title="the best rate stays", chart=LOSSES, diverged=True)
    def transfer(self, runs: u.Runs) -> u.Outcome:
        slopes, points = dict[str, float](), dict[str, u.Points]()
        done = {key: u.mean(LOSS)(run) for key, run in runs.items() if run.state == "done"}
        for kind in KINDS:
            losses = {s: {r: loss for (k, w, r), loss in done.items() if (k, w) == (kind, s)} for s in SCALES}
            slopes[kind] = float(np.polyfit(np.log(SCALES), list(map(best_rate, losses.values())), 1)[0])
            if kind == self.parametrisation:
                points = {f"loss:{scale:g}": u.Points.of(of) for scale, of in losses.items()}
        u.need("octaves by which it falls, standard", -OCTAVES * slopes["standard"], at_least=1.5)
        return u.Outcome(effect=slopes[self.parametrisation], details=slopes, points=points)

    controls = (
        u.positive("two-layer network on digits", "Yang et al. 2022"),
        u.negative("standard parametrisation", "updates grow with the width", parametrisation="standard"),
    )
