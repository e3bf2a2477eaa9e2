"""Training at several learning rates, and where sharpness settles, as the outcome of a claim."""

from __future__ import annotations

from universality.measures import across_rates, settling
from universality.plugin.charts import Curves, Dots, Lines
from universality.plugin.outcome import Outcome, Points
from universality.plugin.readings import Runs, need
from universality.plugin.runs import Run, Sweep
from universality.plugin.spec import Recipe

NEARER = 2**0.5 - 1
"""Of an excess that falls at least with the square root of the rate, further halvings remove 1/NEARER times what the last
did; by more of the rest than this they may lead into the bounds."""

LABEL = "sharpness / stability threshold"
CHARTS = (
    Lines(
        {"sharpness.ratio": ""}, LABEL, band=True, level=1, level_title="stability threshold", low=0, high=2.5
    ),
    Curves({"settled": "median", "theory": "theory"}, "largest rate / rate", LABEL, "x", "theory"),
    Dots("sharpness", "stability threshold", "sharpness where it settles", log="xy", ratio=True),
)
"""Of the runs, and of what `settled` finds."""


def at_halves(run: Run, largest: Recipe, rates: int) -> Sweep:
    """A run by the recipe `largest` and at halves of its rate, by divisor, each with 2.5 times as many updates.

    Sharpening to twice the threshold takes more than twice the steps: more flow time, at half the rate.
    """

    def at(k: int) -> Run:
        rate = {"lr": largest.lr / 2**k, "lr_over_stability": largest.lr_over_stability * 2**k}
        return run.trained(largest, steps=round(largest.steps * 2.5**k), **rate)

    return Sweep(("divisor",), {2.0**k: at(k) for k in range(rates)})


def settled(runs: Runs, *, low: float, high: float) -> Outcome:
    """rho = sharpness / threshold where it settles, at the smallest rate at which it crossed 0.95 from below.

    Runs are told apart by their divisor, largest rate / rate. A rate counts where at least 0.3 of its steps lie behind
    the crossing (`measures.settling`, `measures.across_rates`). Details: the quantiles of rho from the crossing on, the
    slope of rho over rates, and how the loss falls. An outcome without effect where fewer than two rates count, or where
    still smaller ones may lead into the bounds [low, high].
    """
    done = {rate: run for rate, run in runs.items() if run.state == "done"}
    series = {rate: (run.series("sharpness.ratio"), run.series("train_loss")) for rate, run in done.items()}
    at = {k: settling(rho.steps, rho.values, loss.values, level=0.95) for k, (rho, loss) in series.items()}
    found = across_rates(at, low=low, high=high, left=0.30)
    why = "threshold out of reach" if done else "diverged"
    need("rates at which sharpness rose to the threshold in time", len(found.values), at_least=2, label=why)
    need("way into the bounds by the last halving of the rate, over the rest", found.nearer, at_most=NEARER)
    rho, last = found.values, found.smallest
    details = {
        "rates": len(rho),
        "rho at the largest": rho[min(rho)],
        "10 % quantile": last.low,
        "90 % quantile": last.high,
        "d log rho / d log (1/rate)": found.slope,
        "last tenth of the loss over the first": last.falling,
        "crossing step": last.start,
        "share of steps on which the loss rises": last.rising,
    }
    side = "below" if last.median < low else "above" if last.median > high else "at"
    threshold = {k: done[k].series("sharpness.threshold").values[-1] for k in rho}
    points = {
        "settled": Points.of(rho),
        "theory": Points.of(dict.fromkeys(rho, 1.0)),
        "sharpness": Points.of([threshold[k] for k in rho], [rho[k] * threshold[k] for k in rho]),
    }
    return Outcome(effect=last.median, label=f"settles {side} the threshold", details=details, points=points)
