"""Lazy to rich: in the lazy regime weights and tangent kernel move as 1/alpha, in the rich regime the kernel changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality import plugin as u

RICH, LAZY = 0.1, (10.0, 30.0, 100.0)
LOSS, WEIGHTS, PROBE = "accuracy.train_loss", "displacement.relative", "tangent_kernel[rows=24]"
KERNEL, ALIGNMENT = f"{PROBE}.change", f"{PROBE}.alignment"
INVERSE = u.Within(low=-1.15, high=-0.85, unit="d ln (relative change) / d ln alpha")
FROZEN = u.require("kernel's change at alpha = 100", "alpha = 100", at_most=0.01)
TITLES = {"moved": "measured", "theory": "1/alpha, through alpha = 100"}
MOVED = u.Curves(TITLES, "output scale alpha", "|w - w0| / |w0|", "xy", theory="theory")
TURNED = u.Curves(TITLES, "output scale alpha", "|K - K0| / |K0|", "xy", theory="theory")
CHANGES = u.Within(low=0.5, unit="|K - K0| / |K0| at alpha = 0.1", scale="log")
COURSE = u.Lines({KERNEL: ""}, "|K - K0| / |K0|, a line per alpha", log="y")
BESIDE = {
    "alignment": u.end_over_start(ALIGNMENT)
}  # told and no criterion: on digits it is high at the start
ALIGNS = u.Curves({"alignment": ""}, "output scale alpha", "alignment at the end / at the start", "x")


@u.register("lazy_rich", source="Chizat et al. 2019, arXiv:1812.07956; Geiger et al. 2020, arXiv:1906.08034")
@dataclass(frozen=True, kw_only=True)
class LazyRich(u.Phenomenon):
    """f = alpha (h(w) - h(w0)) at lr = 0.2 / initial sharpness ~ alpha^-2, from one start for every alpha.

    Slopes of ln |w - w0| / |w0| and ln |K - K0| / |K0| against ln alpha over alpha = 10 .. 100 are -1 +- 0.15, and the
    kernel moves by less than 0.01 at alpha = 100, by more than 0.5 at alpha = 0.1. All at the first record with a loss
    that every alpha reaches.

    Args:
        steps, multiple: updates, and 2/lr over the initial sharpness; near 1 a catapult moves the weights, whatever alpha.
    """

    steps: int = 400
    multiple: float = 10.0

    title, version, strand, sense = "Lazy to rich", 1, "limits", "number"
    gates = (u.require("loss at the end over the start", u.end_over_start(LOSS), at_most=0.6),)

    @u.per_seed
    def scales(self, run: u.Run) -> u.Sweep:
        run = run.trained(steps=self.steps, lr_over_stability=self.multiple, loss="mse")
        run = run.observing({PROBE: u.Every(10)}, displacement=u.Every(10), accuracy=u.Every(10))
        return run.modified("output_scale", centred=True).vary(alpha=(RICH, 1.0, *LAZY))

    @u.claim(INVERSE, runs=scales, title="weights move as 1/alpha", chart=MOVED)
    def weights(self, runs: u.Runs) -> u.Outcome:
        return falls(at_common_loss(runs, WEIGHTS))

    @u.claim(INVERSE, runs=scales, title="kernel moves as 1/alpha", criteria=[FROZEN], chart=TURNED)
    def kernel(self, runs: u.Runs) -> u.Outcome:
        return falls(at_common_loss(runs, KERNEL))

    @u.claim(CHANGES, runs=scales, title="rich kernel changes", chart=(COURSE, ALIGNS), beside=BESIDE)
    def rich(self, runs: u.Runs) -> float:
        u.need("kernel's change", moved := at_common_loss(runs, KERNEL)[RICH], at_least=1e-7)
        return moved

    reference, fixed = ("mlp[width=32,activation=tanh]", "digits[subset=200]"), ["kernel", "rich"]
    controls = (
        u.positive("tanh network on digits", "Chizat et al. 2019"),
        u.negative("linear model", "a constant kernel", claims=fixed, architecture="mlp[depth=0]"),
        u.negative("fast", "a catapult, arXiv:2003.02218", claims=["weights", "kernel"], multiple=0.9),
    )


def at_common_loss(runs: u.Runs, series: str) -> dict[float, float]:
    """The series of each run at its first record with the highest final loss, or a lower one."""
    common, losses = max(runs.read(u.at_end(LOSS)).values()), {a: run.series(LOSS) for a, run in runs.items()}
    first = {a: int(loss.steps[np.argmax(loss.values <= common)]) for a, loss in losses.items()}
    return {a: run.series(series).at(first[a]) for a, run in runs.items()}


def falls(moved: dict[float, float]) -> u.Outcome:
    """Slope over the lazy scales."""
    last = moved[LAZY[-1]]
    u.need("least relative change", last, at_least=1e-7)
    slope = np.polyfit(np.log(LAZY), np.log([moved[alpha] for alpha in LAZY]), 1)[0]
    points = {"moved": u.Points.of(moved), "theory": u.Points.of({a: last * LAZY[-1] / a for a in LAZY})}
    return u.Outcome(effect=slope, details={"alpha = 100": last}, points=points)
