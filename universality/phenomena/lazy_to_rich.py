"""Lazy to rich: in the lazy regime weights and tangent kernel move as 1/alpha, in the rich regime the kernel changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from universality import plugin as u

LAZY = (10.0, 30.0, 100.0)
LOSS, WEIGHTS, PROBE = "accuracy.train_loss", "displacement.relative", "tangent_kernel[rows=24]"
KERNEL, ALIGNMENT = f"{PROBE}.change", f"{PROBE}.alignment"
INVERSE = u.Within(low=-1.15, high=-0.85, unit="d ln (relative change) / d ln alpha")
CHANGES = u.Within(low=0.5, unit="|K - K0| / |K0| at a small scale", scale="log")
FROZEN = u.require("kernel's change at alpha = 100", "alpha = 100", at_most=0.01)
TITLES = {"moved": "measured", "theory": "1/alpha, through alpha = 100"}
MOVED = u.Curves(TITLES, "output scale alpha", "|w - w0| / |w0|", "xy", theory="theory")
TURNED = u.Curves(TITLES, "output scale alpha", "|K - K0| / |K0|", "xy", theory="theory")
KAPPA = u.Lines({KERNEL: ""}, "|K - K0| / |K0|", level=0.5, level_title="claimed at the end", low=0)
# The law is of any loss that all scales reach, once something is learnt: what is lazy learns slowly. Rich features want more.
LEARNT = u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.9)
RICH = [u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.6)]
MORE = {"alignment": u.end_over_start(ALIGNMENT)}  # no criterion: on digits it is high at the start
NOISE = 1e-7  # relative change of float32 weights that is rounding


def falls(runs: u.Runs, series: str) -> u.Outcome:
    """Slope over the lazy scales, each at its first record with the highest final loss, or a lower one."""
    common, losses = max(runs.read(u.at_end(LOSS)).values()), {a: run.series(LOSS) for a, run in runs.items()}
    first = {a: int(loss.steps[np.argmax(loss.values <= common)]) for a, loss in losses.items()}
    moved = {a: run.series(series).at(first[a]) for a, run in runs.items()}
    last = moved[LAZY[-1]]
    u.need("least relative change", last, at_least=NOISE)
    slope = np.polyfit(np.log(LAZY), np.log([moved[a] for a in LAZY]), 1)[0]
    points = {"moved": u.Points.of(moved), "theory": u.Points.of({a: last * LAZY[-1] / a for a in LAZY})}
    return u.Outcome(effect=slope, details={"alpha = 100": last}, points=points)


def turned(run: u.Trajectory) -> float:
    return max(u.at_end(KERNEL)(run), NOISE)


@u.register(
    "lazy_to_rich", source="Chizat et al. 2019, arXiv:1812.07956; Geiger et al. 2020, arXiv:1906.08034"
)
@dataclass(frozen=True, kw_only=True)
class LazyToRich(u.Phenomenon):
    """f = alpha (h(w) - h(w0)) at lr = 0.2 / initial sharpness ~ alpha^-2, from one start for every alpha.

    Slopes of ln |w - w0| / |w0| and ln |K - K0| / |K0| against ln alpha over alpha = 10, 30, 100 are -1 +- 0.15, at the
    first record with a loss that all three reach, and the kernel moves by less than 0.01 at 100, by more than 0.5 at
    `rich`. Units that switch (ReLU) turn the kernel as the square root of their number: there its slope is nearer to -1/2.

    Args:
        steps, multiple: updates, and 2/lr over the initial sharpness; near 1 a catapult moves the weights, whatever alpha.
        rich: the small scale.
    """

    steps: int = 400
    multiple: float = 10.0
    rich: float = 0.1

    title, version, strand, sense = "Lazy to rich", 2, "limits", "number"
    dispute = "features that move most are not the best ones (Goring et al. 2025, arXiv:2507.19680)"

    @u.per_seed
    def small(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, lr_over_stability=self.multiple, loss="mse")
        run = run.observing({PROBE: u.Every(4)}, displacement=u.Every(4), accuracy=u.Every(4))
        return run.modified("output_scale", centred=True, alpha=self.rich)

    @u.per_seed
    def large(self, run: u.Run) -> u.Sweep:
        return self.small(run).vary(alpha=LAZY)

    law = partial(u.claim, INVERSE, runs=large, gates=[LEARNT])
    weights = law(partial(falls, series=WEIGHTS), title="weights move as 1/alpha", chart=MOVED)
    kernel = law(partial(falls, series=KERNEL), title="kernel as 1/alpha", criteria=[FROZEN], chart=TURNED)
    features = u.claim(CHANGES, turned, runs=small, title="rich kernel", gates=RICH, beside=MORE, chart=KAPPA)

    reference = "mlp[width=32,activation=tanh]", "digits[subset=200]"
    laws, rich_one = ["weights", "kernel"], ["features"]
    controls = (
        u.positive("tanh network on digits", "Chizat et al. 2019"),
        u.negative("rate at the threshold", "a catapult, arXiv:2003.02218", claims=laws, multiple=0.9),
        u.negative("linear model", "its kernel is constant", claims=rich_one, architecture="mlp[depth=0]"),
        u.negative("no small scale", "at alpha = 3 as at 10", claims=rich_one, rich=3.0),
    )
