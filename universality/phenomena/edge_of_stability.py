"""Edge of stability: sharpness rises to the stability threshold of the optimizer and hovers there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from universality import plugin as u
from universality.measures import across_rates, settling

SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484"
RATIO, LABEL = {"sharpness.ratio": ""}, "sharpness / stability threshold"
COURSE = u.Lines(RATIO, LABEL, band=True, level=1, level_title="stability threshold", low=0, high=2.5)
SETTLED = u.Curves({"settled": "median", "theory": "theory"}, "largest rate / rate", LABEL, "x", "theory")
NEARER = 2**0.5 - 1
"""Of an excess that falls at least with the square root of the rate, further halvings remove 1/NEARER times what the last
did; by more of the rest than this they may lead into the bounds."""
LOW, HIGH, SLOPE = 0.90, 1.15, "d log rho / d log (1/rate)"


def hovers(runs: u.RunSet[u.Sweep], title: str, unit: str) -> u.Claim:
    bound, charts = u.Within(low=LOW, high=HIGH, unit=unit, scale="log"), (COURSE, SETTLED)
    return u.claim(bound, settled, runs=runs, title=title, chart=charts, diverged=True)


def settled(runs: u.Runs) -> u.Outcome:
    """rho = sharpness / threshold where it settles, at the smallest rate at which it crossed 0.95 from below."""
    done = {rate: run for rate, run in runs.items() if run.state == "done"}
    series = {rate: (run.series("sharpness.ratio"), run.series("train_loss")) for rate, run in done.items()}
    at = {k: settling(rho.steps, rho.values, loss.values, level=0.95) for k, (rho, loss) in series.items()}
    found = across_rates(at, low=LOW, high=HIGH, left=0.30)
    why = "threshold out of reach" if done else "diverged"
    u.need("rates at which sharpness rose to the threshold in time", len(found.values), at_least=2, label=why)
    u.need("way into the bounds by the last halving of the rate, over the rest", found.nearer, at_most=NEARER)
    rho, last = found.values, found.smallest
    side = "below" if last.median < LOW else "above" if last.median > HIGH else "at"
    criteria = (
        u.Check("10 % quantile", last.low, at_least=0.80),
        u.Check("90 % quantile", last.high, at_most=1.40),
        u.Check(SLOPE, found.slope, at_least=-0.5, at_most=0.5),
        u.Check("last tenth of the loss over the first", last.falling, at_most=1.0),
    )
    details = {"rates": len(rho), "rho at the largest": rho[min(rho)], SLOPE: found.slope}
    details |= {"crossing step": last.start, "share of steps on which the loss rises": last.rising}
    points = {"settled": u.Points.of(rho), "theory": u.Points.of(dict.fromkeys(rho, 1.0))}
    label = f"settles {side} the threshold"
    return u.Outcome(effect=last.median, criteria=criteria, label=label, details=details, points=points)


@u.register("edge_of_stability", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(u.Phenomenon):
    """Under full-batch training, sharpness / threshold settles at 1, at the smallest rate that reaches it.

    Args:
        gd_steps, momentum_steps, adaptive_steps: updates at the largest rate; 2.5 times as many at each half of it.
        rates: learning rates of gradient descent, each half of the one before; other optimizers have two. The
            largest has its threshold at 1.25 times the initial sharpness; it is 0.01 of Adam, 0.001 of RMSProp.
        momentum: of heavy ball and Nesterov.
        records: how often sharpness is taken.
        late_rate: factor on the rate from half of the steps on, in a control.
    """

    gd_steps: int = 800
    momentum_steps: int = 600
    adaptive_steps: int = 400
    rates: int = 3
    momentum: float = 0.5
    records: int = 20
    late_rate: float = 1.0

    title, version, strand, sense = "Edge of stability", 3, "laws", "number"
    gates = (u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),)

    def halved(self, run: u.Run, rates: int = 2, **largest: Any) -> u.Sweep:
        """Sharpening to twice the threshold takes more than twice the steps: more flow time, at half the rate."""
        late: dict[str, Any] = {} if self.late_rate == 1 else {"milestones": (0.5,), "gamma": self.late_rate}
        recipe = u.Recipe(loss="mse", **late, **largest)

        def at(k: int) -> u.Run:
            rate = {"lr": recipe.lr / 2**k, "lr_over_stability": recipe.lr_over_stability * 2**k}
            return run.trained(recipe, steps=round(recipe.steps * 2.5**k), **rate)

        sweep = u.Sweep(("divisor",), {2.0**k: at(k) for k in range(rates)})
        return sweep.each(lambda run: run.observing(sharpness=u.Every(self.records)))

    @u.per_seed
    def gd_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, self.rates, steps=self.gd_steps, lr_over_stability=1.25)

    @u.per_seed
    def heavy_ball_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, steps=self.momentum_steps, lr_over_stability=1.25, momentum=self.momentum)

    @u.per_seed
    def nesterov_runs(self, run: u.Run) -> u.Sweep:
        return self.heavy_ball_runs(run).each(lambda run: run.trained(nesterov=True))

    @u.per_seed
    def rmsprop_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(
            run, steps=self.adaptive_steps, lr=0.001, optimizer="rmsprop", beta2=0.99, warmup=0.4
        )

    @u.per_seed
    def adam_runs(self, run: u.Run) -> u.Sweep:
        return self.halved(run, steps=self.adaptive_steps, lr=0.01, optimizer="adam", beta2=0.99)

    gd = hovers(gd_runs, "gradient descent", "sharpness / (2/lr)")
    heavy_ball = hovers(heavy_ball_runs, "heavy ball", "sharpness / (2 (1 + b)/lr)")
    nesterov = hovers(nesterov_runs, "Nesterov", "sharpness / (2 (1 + b)/((1 + 2b) lr))")
    rmsprop = hovers(rmsprop_runs, "RMSProp", "preconditioned sharpness / (2/lr)")
    adam = hovers(adam_runs, "Adam", "preconditioned sharpness / (38/lr)")

    reference = "mlp[width=32,depth=3,activation=tanh]", "digits[subset=200]"
    controls = (
        u.positive(
            "tanh network on digits", "Cohen et al. 2021, 2022: tanh networks with squared loss", follows=True
        ),
        u.negative(
            "rate cut to a hundredth",
            "Cohen et al. 2021: sharpness follows the flow, not the rate, and rises no hundredfold",
            follows=True,
            seeds=3,
            late_rate=0.01,
        ),
    )
