"""Edge of stability: sharpness rises to the stability threshold of the optimizer and hovers there."""

from __future__ import annotations

from dataclasses import dataclass

from universality import plugin as u
from universality.measures import settling

SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484"
RATIO, LABEL = {"sharpness.ratio": ""}, "sharpness / stability threshold"
CHART = u.Lines(RATIO, LABEL, band=True, level=1, level_title="stability threshold", low=0, high=2.5)


def hovers(runs: u.RunSet[u.Run], title: str, unit: str) -> u.Claim:
    return u.claim(u.Within(low=0.90, high=1.15, unit=unit), settled, runs=runs, title=title, chart=CHART)


def settled(run: u.Trajectory) -> u.Outcome:
    """Median of rho = sharpness / threshold from its first upward crossing of 0.95 to the end."""
    rho, loss, steps = run.series("sharpness.ratio"), run.series("train_loss").values, run.spec.recipe.steps
    at = settling(rho.steps, rho.values, loss, level=0.95)
    crossing = "sharpness over the threshold, after it was below 0.95"
    u.need(crossing, at.highest, at_least=0.95, label="never reached")
    left = (steps - at.start) / steps
    u.need("share of steps behind the crossing", left, at_least=0.30, label="reached too late")
    details = {"crossing_step": at.start, "final": rho.values[-1]}
    if run.steps("sharpness.audit"):  # how far warm starts were off where a cold one checked them
        details["worst_audit"] = max(map(abs, run.series("sharpness.audit").values))
    criteria = (
        u.Check("10 % quantile", at.low, at_least=0.80),
        u.Check("90 % quantile", at.high, at_most=1.40),
        u.Check("share of single steps on which the loss rises", at.rising, at_least=0.05),
        u.Check("last tenth of the loss over the first", at.falling, at_most=1.0),
    )
    return u.Outcome(effect=at.median, criteria=criteria, label="settled", details=details)


@u.register("edge_of_stability", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(u.Phenomenon):
    """Under full-batch training, sharpness / threshold settles at 1; the threshold is 2/lr, for Adam 38/lr.

    Args:
        gd_steps, adam_steps: updates.
        gd_multiple: 2/lr as a multiple of the sharpness at initialisation; lr follows per run.
        adam_lr: Adam's learning rate, with beta2 = 0.99.
        records: how often sharpness is taken. batch_size: rows per update, all of them but in a control.
    """

    gd_steps: int = 1000
    adam_steps: int = 800
    gd_multiple: float = 1.25
    adam_lr: float = 0.01
    records: int = 40
    batch_size: int = 0

    title, version, strand, sense = "Edge of stability", 1, "laws", "number"
    gates = (u.require("share of eigenvalues that converged", u.mean("sharpness.converged"), at_least=0.95),)

    @u.per_seed
    def gd_runs(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.gd_steps, lr_over_stability=self.gd_multiple, loss="mse")
        run = run.observing(sharpness=u.Every(self.records), accuracy=u.Every(20))
        return run.trained(batch_size=self.batch_size)

    @u.per_seed
    def adam_runs(self, run: u.Run) -> u.Run:
        adam = u.Recipe(steps=self.adam_steps, optimizer="adam", lr=self.adam_lr, beta2=0.99, loss="mse")
        return self.gd_runs(run).trained(adam, batch_size=self.batch_size)

    gd = hovers(gd_runs, "gradient descent", "sharpness / (2/lr)")
    adam = hovers(adam_runs, "Adam", "preconditioned sharpness / (38/lr)")

    reference = "mlp[width=32,activation=tanh]", "digits[subset=200]"
    controls = (
        u.positive("tanh network on digits", "Cohen et al. 2021: tanh networks with squared loss"),
        # Not of Adam, whose preconditioner follows the gradient: even a quadratic is driven to the edge.
        u.negative(
            "lazy network, output scale 100",
            "Chizat et al. 2019, arXiv:1812.07956: a linearised network keeps its curvature",
            claims=["gd"],
            architecture="mlp[width=32,activation=tanh,output_scale=100.0,centred=true]",
        ),
        u.negative("batches of 8", "Cohen et al. 2021, sec. 6: noise keeps sharpness below", batch_size=8),
    )
