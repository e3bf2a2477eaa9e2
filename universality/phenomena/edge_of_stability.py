"""Edge of stability: sharpness rises to the stability threshold of the optimizer and hovers there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from universality.plugin import (
    NOT_SHOWN,
    Cell,
    Check,
    Control,
    Cross,
    Every,
    Group,
    Observe,
    Outcome,
    Phenomenon,
    Recipe,
    Request,
    Series,
    Trajectory,
    Within,
    register,
)

MEDIAN = (0.90, 1.15)
BAND = (0.80, 1.40)
CROSSING = 0.95
WINDOW = 0.30

_SOURCE = "Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484"


@register("edge_of_stability", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(Phenomenon):
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
    claims = {  # noqa: RUF012
        "gd": Within(low=MEDIAN[0], high=MEDIAN[1], unit="sharpness / (2/lr)"),
        "adam": Within(low=MEDIAN[0], high=MEDIAN[1], unit="preconditioned sharpness / (38/lr)"),
    }

    def applies(self, cell: Cell) -> str:
        return ""

    def groups(self, cell: Cell, cross: Cross) -> Sequence[Group]:
        observe = (Observe("sharpness", Every(self.records)), Observe("accuracy", Every(20)))
        recipes = {
            "gd": Recipe(
                steps=self.gd_steps,
                optimizer="sgd",
                lr_over_stability=self.gd_multiple,
                loss="mse",
                batch_size=self.batch_size,
            ),
            "adam": Recipe(
                steps=self.adam_steps,
                optimizer="adam",
                lr=self.adam_lr,
                beta2=0.99,
                loss="mse",
                batch_size=self.batch_size,
            ),
        }
        return [
            Group(
                f"{name}/s{seed}",
                {name: Request(cell.architecture, cell.task, recipe, seed, observe)},
                (f"s{seed}",),
            )
            for seed in cross.seeds
            for name, recipe in recipes.items()
        ]

    def measure(self, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
        return {name: settle(run) for name, run in runs.items()}

    def speaks_to(self, key: str, claim: str) -> bool:
        return key.startswith(claim)

    def controls(self) -> Sequence[Control]:
        network, task = "mlp[width=32,activation=tanh]", "digits[subset=200]"
        return [
            Control(
                name="tanh network on digits",
                sign="positive",
                phenomenon=EdgeOfStability(),
                architecture=network,
                task=task,
                expects={"gd": frozenset({"present"}), "adam": frozenset({"present"})},
                why="Cohen et al. 2021: fully connected tanh networks with squared loss",
            ),
            Control(
                name="lazy network, output scale 100",
                sign="negative",
                phenomenon=EdgeOfStability(),
                architecture=network.replace("]", ",output_scale=100.0,centred=true]"),
                task=task,
                # Adam is not judged: its preconditioner follows the shrinking gradient, so that
                # even a quadratic is driven to the threshold.
                expects={"gd": NOT_SHOWN},
                why="Chizat et al. 2019, arXiv:1812.07956: a linearised network keeps its curvature",
            ),
            Control(
                name="batches of 8",
                sign="negative",
                phenomenon=replace(EdgeOfStability(), batch_size=8),
                architecture=network,
                task=task,
                expects={"gd": NOT_SHOWN, "adam": NOT_SHOWN},
                why="Cohen et al. 2021, section 6: gradient noise keeps sharpness below the threshold",
            ),
        ]


def settle(run: Trajectory) -> Outcome:
    """The outcome of one full-batch run that recorded `sharpness`."""
    ratio = run.series("sharpness.ratio")
    converged = float(run.series("sharpness.converged").values.mean())
    start = upward_crossing(ratio, CROSSING)
    steps = run.spec.recipe.steps
    solved = Check("eigenvalues converged", converged, ">= 0.95 of records", converged >= 0.95)
    if start is None:
        peak = float(ratio.values.max())
        crossed = Check("sharpness rises to the threshold", peak, f"crosses {CROSSING} from below", False)
        return Outcome(effect=None, gates=(crossed, solved), label="never reached")
    left = (steps - start) / steps
    gates = (
        Check("sharpness rises to the threshold", float(start), f"crosses {CROSSING} from below", True),
        Check("steps behind the crossing", left, f">= {WINDOW:.0%} of the run", left >= WINDOW),
        solved,
    )
    if not all(gate.met for gate in gates):
        return Outcome(effect=None, gates=gates, label="reached too late")
    tail = ratio.since(start).values
    low, median, high = np.quantile(tail, [0.1, 0.5, 0.9])
    loss = run.series("train_loss").since(start).values
    rising = float(np.mean(np.diff(loss) > 0))
    tenth = max(1, len(loss) // 10)
    falls = float(loss[-tenth:].mean() / loss[:tenth].mean())
    criteria = (
        Check("10 % quantile", float(low), f">= {BAND[0]}", bool(low >= BAND[0])),
        Check("90 % quantile", float(high), f"<= {BAND[1]}", bool(high <= BAND[1])),
        Check("single steps on which the loss rises", rising, ">= 5 %", rising >= 0.05),
        Check("last tenth of the loss over the first", falls, "< 1", falls < 1),
    )
    details = {"crossing_step": float(start), "final": float(ratio.values[-1])}
    if run.steps("sharpness.audit"):
        # How far warm-started eigenvalues were off where a cold start checked them.
        details["worst_audit"] = float(np.abs(run.series("sharpness.audit").values).max())
    return Outcome(effect=float(median), gates=gates, criteria=criteria, label="settled", details=details)


def upward_crossing(ratio: Series, level: float) -> int | None:
    """First recorded step at or above `level` with an earlier record below it.

    Adam and RMSProp start above their threshold, fall and rise again: "the first time above" would
    be the initialisation.
    """
    below = False
    for step, value in zip(ratio.steps, ratio.values, strict=True):
        if value < level:
            below = True
        elif below:
            return int(step)
    return None
