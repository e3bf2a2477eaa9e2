"""Central flow: at the edge of stability gradient descent follows, on average, a flow of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality import plugin as u

DISTANCES = {"flows.central_distance": "central flow", "flows.gradient_distance": "gradient flow"}
LOSSES = {"train_loss": "gradient descent", "flows.central_loss": "central flow"}
MEANS = u.Lines(DISTANCES, "distance of mean weights")
COURSE = u.Lines(LOSSES | {"flows.gradient_loss": "gradient flow"}, "training loss", log="y")
NEARER = u.Within(high=0.25, unit="distance to central flow / to gradient flow", scale="log")
RIGHT = u.Within(high=0.05, unit="|ln predicted / measured|", scale="log")


def off(run: u.Trajectory, flow: str) -> float:
    """|ln (predicted / measured)| of the mean of the training loss over the second half, which holds many oscillations."""
    loss, predicted = run.series("train_loss").values, run.series(f"flows.{flow}_loss")
    late = predicted.steps >= len(loss) // 2
    steps, values = predicted.steps[late], predicted.values[late]
    mean = np.trapezoid(values, steps) / (steps[-1] - steps[0])
    return float(abs(np.log(mean / loss[steps[0] :].mean())))


def told_apart(run: u.Trajectory) -> float:
    """A run in which both flows are right tells nothing; one in which central flow is wrong does, whatever the other."""
    return max(off(run, "gradient"), 3 * off(run, "central"))


def peak(run: u.Trajectory) -> float:
    return float(np.max(run.series("flows.gradient_sharpness").values / run.series("flows.threshold").values))


def second(run: u.Trajectory) -> float:
    return float(np.max(run.series("flows.second").values / run.series("flows.threshold").values))


@u.register("central_flow", source="Cohen, Damian et al. 2024, arXiv:2410.24206")
@dataclass(frozen=True, kw_only=True)
class CentralFlow(u.Phenomenon):
    """Of full-batch gradient descent on the squared loss, at a rate whose threshold 2/lr sharpness would pass, with one
    direction at the edge: flows that start where its mean weights are after a tenth of the updates (`probes.flows`; no
    parameter is fitted).

    `weights`: at the end, the distance of its mean weights to the central flow is at most a quarter of that to gradient
    flow. `loss`: its prediction of the mean loss over the second half is right to 5 %, where that of gradient flow is wrong by
    15 % or more: where both are right, nothing is decided.

    Args:
        steps: updates.
        multiple: 2/lr over the sharpness at initialisation.
        momentum: of heavy ball, in a control: its time runs faster, and its threshold is another.
    """

    steps: int = 1600
    multiple: float = 1.25
    momentum: float = 0.0

    title, version, strand, sense = "Central flow", 1, "laws", "number"
    dispute = "derived for smooth networks; several critical directions need as many variances, which is not done here"
    gates = (
        u.require("sharpness of gradient flow over 2/lr", peak, at_least=1.2),
        u.require("second eigenvalue over 2/lr", second, at_most=0.9),
    )

    @u.per_seed
    def descent(self, run: u.Run) -> u.Run:
        gd = {"loss": "mse", "momentum": self.momentum}
        run = run.trained(steps=self.steps, lr_over_stability=self.multiple, **gd)
        return run.observing(flows=u.At(*(k / 20 for k in range(2, 21))))

    @u.claim(NEARER, runs=descent, title="leads where gradient descent goes", chart=MEANS)
    def weights(self, run: u.Trajectory) -> u.Outcome:
        central, gradient = (float(run.series(name).values[-1]) for name in DISTANCES)
        return u.Outcome(effect=central / gradient, details={"to central": central, "to gradient": gradient})

    apart = u.require("the same of gradient flow, or three times its own", told_apart, at_least=0.15)

    @u.claim(RIGHT, runs=descent, title="predicts the mean loss", gates=[apart], chart=COURSE)
    def loss(self, run: u.Trajectory) -> float:
        return off(run, "central")

    reference = "mlp[width=16,depth=1,activation=tanh]", "digits[classes=2,subset=200,label_noise=0.2]"
    controls = (
        u.positive("tanh network on two digits", "Cohen, Damian et al. 2024"),
        u.negative("heavy ball", "its time runs faster, to another threshold", momentum=0.5, multiple=2.0),
    )
