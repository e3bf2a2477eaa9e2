"""Saddle to saddle: from small weights, networks take up one direction after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from universality import plugin as u

SOURCE = "Jacot et al. 2021, arXiv:2106.15933; Li, Luo, Lyu 2021, arXiv:2012.09839"
LOSS, LEFT, UNIT = "accuracy.train_loss", 0.9, "stable rank of the weights"
COURSE = u.Lines({"ranks.weights": "weights", "ranks.change": "change since the start"}, "stable rank", low=0)
AGAINST_LOSS = u.Curves({"rank": ""}, "training loss / initial", UNIT)


def escape(run: u.Trajectory, effect: str) -> u.Outcome:
    """The rank at the first record with a loss of at most 0.9 of the initial one, and how it has grown at the end."""
    loss, rank = run.series(LOSS), run.series("ranks.weights").values
    share = loss.values / loss.values[0]
    first = int(np.argmax(share <= LEFT))
    u.need("loss at that record, over the start", share[first], at_least=0.6, at_most=LEFT, label="not seen")
    change = run.series("ranks.change").values[first]
    details = {"at escape": rank[first], "grown": rank[-1] - rank[first], "of the change": change}
    details |= {"before": rank[0], "step of the escape": loss.steps[first]}
    points = {"rank": u.Points.of(share[first:], rank[first:])}
    return u.Outcome(effect=details[effect], details=details, points=points)


@u.register("saddle_escape", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class SaddleEscape(u.Phenomenon):
    """Under full-batch gradient descent from small weights, all weight matrices have rank 1 when the loss first falls,
    and their rank grows from there. It is the stable rank |W|_F^2 / |W|_2^2, the median over the matrices.

    `first`: when the loss is down to 0.9 of the initial one, the rank is at most 1.5, nearer to one direction than to
    two; in the limit of small weights it is 1. `grows`: at the end it is greater by 1/2 or more.

    It is not the rank of the change since the start, which is low from large weights too (1.1 from three times the usual
    ones, when the loss first falls), while the weights themselves keep the rank of noise.

    Args:
        steps, lr: of gradient descent.
        scale: of the initial weights (`init_scale`), in multiples of the architecture's own; 1 is a control.
        records: how often ranks are taken.
    """

    steps: int = 2500
    lr: float = 0.3
    scale: float = 0.02
    records: int = 250

    title, version, strand, sense = "Saddle escape at rank one", 2, "solvable", "sign"
    dispute = "Proved of linear and shallow networks; no such steps are seen at usual initial scales."
    asks = (u.classes(3),)
    gates = (u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.5),)

    @u.per_seed
    def descent(self, run: u.Run) -> u.Run:
        run = run.modified("init_scale", scale=self.scale).trained(steps=self.steps, lr=self.lr)
        return run.observing(ranks=u.Every(self.records), accuracy=u.Every(self.records))

    first = u.claim(
        u.Within(high=1.5, unit=UNIT, floor=1.0),
        partial(escape, effect="at escape"),
        runs=descent,
        title="one direction at first",
        chart=(COURSE, AGAINST_LOSS),
    )
    grows = u.claim(
        u.Within(low=0.5, unit="growth of the stable rank"),
        partial(escape, effect="grown"),
        runs=descent,
        title="more directions later",
        chart=COURSE,
    )

    reference = "mlp[width=32,depth=2,bias=false]", "digits[subset=200]"
    controls = (
        u.positive(
            "small weights", "Jacot et al. 2021: gradient descent leaves the origin along one direction"
        ),
        u.negative("usual weights", "they have the rank of noise, and keep it", scale=1.0, steps=500),
    )
