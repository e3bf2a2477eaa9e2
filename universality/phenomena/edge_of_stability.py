"""Edge of stability: sharpness rises to the stability threshold of the optimizer and hovers there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from universality import plugin as u

MEDIAN = (0.90, 1.15)
BAND = (0.80, 1.40)
CROSSING = 0.95
WINDOW = 0.30

_SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484"


@u.register("edge_of_stability", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(u.Phenomenon):
    """Under full-batch training, rho = sharpness / threshold settles at 1.

    The threshold is that of the linearised optimizer on a quadratic: 2/lr for gradient descent,
    (2 + 2 beta1) / ((1 - beta1) lr) on the preconditioned Hessian for Adam, 38/lr at beta1 = 0.9.
    Effect: median of rho from its first upward crossing of 0.95 to the end.

    Gates: such a crossing exists (a run whose sharpness never comes near could not show it), at
    least 30 % of the steps remain behind it, every eigenvalue converged.
    Criteria: the 10-90 % band of rho lies in [0.80, 1.40]; the loss rises on at least 5 % of single
    steps, yet falls from the first to the last tenth of the window.

    Args:
        gd_steps, adam_steps: updates.
        gd_multiple: 2/lr as a multiple of the sharpness at initialisation; lr follows per run.
        adam_lr: Adam's learning rate, with beta2 = 0.99.
        records: how often sharpness is taken over the run.
        batch_size: rows per update; the claim is about 0, all of them. Only a control sets it.
    """

    gd_steps: int = 1000
    adam_steps: int = 800
    gd_multiple: float = 1.25
    adam_lr: float = 0.01
    records: int = 40
    batch_size: int = 0

    title = "Edge of stability"
    version = 1
    strand = "laws"
    sense = "number"
    claims = {
        "gd": u.Within(low=MEDIAN[0], high=MEDIAN[1], unit="sharpness / (2/lr)"),
        "adam": u.Within(low=MEDIAN[0], high=MEDIAN[1], unit="preconditioned sharpness / (38/lr)"),
    }
    claim_titles = {"gd": "gradient descent", "adam": "Adam"}

    def groups(self, cell: u.Cell, cross: u.Cross) -> Sequence[u.Group]:
        observe = (u.Observe("sharpness", u.Every(self.records)), u.Observe("accuracy", u.Every(20)))
        gd = u.Recipe(
            steps=self.gd_steps, lr_over_stability=self.gd_multiple, loss="mse", batch_size=self.batch_size
        )
        adam = replace(
            gd, steps=self.adam_steps, optimizer="adam", lr=self.adam_lr, lr_over_stability=0.0, beta2=0.99
        )
        return [
            group
            for name, recipe in (("gd", gd), ("adam", adam))
            for group in u.run_by_seed(cell, cross, recipe, observe, role=name, prefix=f"{name}/")
        ]

    def measure(self, runs: Mapping[str, u.Trajectory]) -> Mapping[str, u.Outcome]:
        return {name: settle(run) for name, run in runs.items()}

    def speaks_to(self, key: str, claim: str) -> bool:
        return key.startswith(claim)

    def controls(self) -> Sequence[u.Control]:
        network, task = "mlp[width=32,activation=tanh]", "digits[subset=200]"
        return [
            u.Control(
                name="tanh network on digits",
                sign="positive",
                phenomenon=EdgeOfStability(),
                architecture=network,
                task=task,
                expects={"gd": frozenset({"present"}), "adam": frozenset({"present"})},
                why="Cohen et al. 2021: fully connected tanh networks with squared loss",
            ),
            u.Control(
                name="lazy network, output scale 100",
                sign="negative",
                phenomenon=EdgeOfStability(),
                architecture=network.replace("]", ",output_scale=100.0,centred=true]"),
                task=task,
                # Adam is not judged: its preconditioner follows the shrinking gradient, so that
                # even a quadratic is driven to the threshold.
                expects={"gd": u.NOT_SHOWN},
                why="Chizat et al. 2019, arXiv:1812.07956: a linearised network keeps its curvature",
            ),
            u.Control(
                name="batches of 8",
                sign="negative",
                phenomenon=replace(EdgeOfStability(), batch_size=8),
                architecture=network,
                task=task,
                expects={"gd": u.NOT_SHOWN, "adam": u.NOT_SHOWN},
                why="Cohen et al. 2021, section 6: gradient noise keeps sharpness below the threshold",
            ),
        ]


def settle(run: u.Trajectory) -> u.Outcome:
    """The outcome of one full-batch run that recorded `sharpness`."""
    ratio = run.series("sharpness.ratio")
    start, highest = upward_crossing(ratio, CROSSING)
    crossed = u.Check("sharpness over the threshold, after it was below 0.95", highest, at_least=CROSSING)
    converged = float(run.series("sharpness.converged").values.mean())
    solved = u.Check("share of eigenvalues that converged", converged, at_least=0.95)
    if start is None:
        return u.Outcome(effect=None, gates=(crossed, solved), label="never reached")
    steps = run.spec.recipe.steps
    left = u.Check("share of steps behind the crossing", (steps - start) / steps, at_least=WINDOW)
    gates = (crossed, left, solved)
    if not all(gate.met for gate in gates):
        return u.Outcome(effect=None, gates=gates, label="reached too late")
    tail = ratio.since(start).values
    low, median, high = np.quantile(tail, [0.1, 0.5, 0.9])
    loss = run.series("train_loss").since(start).values
    rising = float(np.mean(np.diff(loss) > 0))
    tenth = max(1, len(loss) // 10)
    falls = float(loss[-tenth:].mean() / loss[:tenth].mean())
    criteria = (
        u.Check("10 % quantile", low, at_least=BAND[0]),
        u.Check("90 % quantile", high, at_most=BAND[1]),
        u.Check("share of single steps on which the loss rises", rising, at_least=0.05),
        u.Check("last tenth of the loss over the first", falls, at_most=1.0),
    )
    details = {"crossing_step": float(start), "final": float(ratio.values[-1])}
    if run.steps("sharpness.audit"):
        # How far warm-started eigenvalues were off where a cold start checked them.
        details["worst_audit"] = float(np.abs(run.series("sharpness.audit").values).max())
    return u.Outcome(effect=float(median), gates=gates, criteria=criteria, label="settled", details=details)


def upward_crossing(ratio: u.Series, level: float) -> tuple[int | None, float]:
    """First recorded step at or above `level` with an earlier record below it, and the highest value from the
    first record below on.

    Adam and RMSProp start above their threshold, fall and rise again: "the first time above" would
    be the initialisation. Without a record below, None and -infinity.
    """
    below = np.flatnonzero(ratio.values < level)
    if not len(below):
        return None, -math.inf
    after = ratio.since(int(ratio.steps[below[0]]))
    reached = np.flatnonzero(after.values >= level)
    return (int(after.steps[reached[0]]) if len(reached) else None), float(after.values.max())
