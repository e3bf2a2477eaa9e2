"""Neural collapse: in the terminal phase, class features and classifier form a simplex ETF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

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
    Trajectory,
    Within,
    register,
)

TERMINAL = 0.999
MEMORY = 0.01
BALANCED = 1.5
SHRUNK = {"nc1": 0.1, "nc2_norms": 0.5, "nc2_angles": 0.5}
"""At most this share of its initial value is left at the end."""

_SOURCE = "Papyan, Han, Donoho 2020, arXiv:2008.08186; Zhu et al. 2021, arXiv:2105.02375"


@register("neural_collapse", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(Phenomenon):
    """Far beyond 100 % training accuracy, with weight decay and balanced classes:

    NC1 = tr(S_W S_B^+) / C <= 0.05 and at most a tenth of its value at initialisation;
    NC2: std/mean of the norms of the centred class means <= 0.10, mean |cos + 1/(C-1)| <= 0.08, each
    at most half of its value at initialisation: independent directions in many dimensions meet both
    bounds without any training;
    NC3 = |W/|W| - M/|M||_F <= sqrt(0.05). Each has a column of its own: "NC1 only" is a frequent
    and different result. NC4 is in the details: it is 0 in controls too, so it decides nothing.

    Gates: training accuracy >= 0.999 at the end, feature dimension >= C - 1, classes balanced
    within a factor of 1.5 (under imbalance minority classes collapse; Fang et al. 2021,
    arXiv:2101.12699), and time enough for decay to act: the memory of initialisation,
    exp(-2 wd integral lr/(1 - momentum) dt), is at most 1 % (the conserved quantities of gradient
    flow decay with that rate; Kunin et al. 2021, arXiv:2012.04728). The last needs decay.

    Args:
        steps, lr_multiple, weight_decay, batch_size: of `terminal_phase`.
    """

    steps: int = 5000
    lr_multiple: float = 20.0
    weight_decay: float = 5e-3
    batch_size: int = 128

    title = "Neural collapse"
    version = 2  # NC2 against initialisation
    strand = "laws"
    sense = "form"
    claims = {  # noqa: RUF012
        "nc1": Within(high=0.05, unit="tr(S_W S_B^+)/C", scale="log"),
        "nc2_norms": Within(high=0.10, unit="std/mean of class-mean norms", scale="log"),
        "nc2_angles": Within(high=0.08, unit="mean |cos + 1/(C-1)|", scale="log"),
        "nc3": Within(high=math.sqrt(0.05), unit="|W/|W| - M/|M||", scale="log"),
    }

    def applies(self, cell: Cell) -> str:
        if cell.signature.outputs < 3:
            return "a simplex of two classes is any pair of opposite vectors"
        return ""

    def groups(self, cell: Cell, cross: Cross) -> Sequence[Group]:
        recipe = terminal_phase(self.steps, self.lr_multiple, self.weight_decay, self.batch_size)
        observe = (Observe("collapse", Every(20)), Observe("accuracy", Every(20)))
        return [
            Group(
                f"s{seed}",
                {"run": Request(cell.architecture, cell.task, recipe, seed, observe)},
                (f"s{seed}",),
            )
            for seed in cross.seeds
        ]

    def measure(self, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
        run = runs["run"]
        end = run.spec.recipe.steps
        accuracy = run.series("accuracy.train").at(end)
        dimension = run.series("collapse.dimension").at(end)
        imbalance = run.series("collapse.imbalance").at(end)
        classes = int(run.facts["outputs"])
        initial, last = (run.series("collapse.nc1").at(step) for step in (0, end))
        defined = math.isfinite(initial) and math.isfinite(last)
        gates = (
            Check("training accuracy at the end", accuracy, f">= {TERMINAL}", accuracy >= TERMINAL),
            Check("feature dimension", dimension, f">= {classes - 1}", dimension >= classes - 1),
            Check("largest class over smallest", imbalance, f"<= {BALANCED}", imbalance <= BALANCED),
            Check("class means differ", float(defined), "NC1 is a number", defined),
            *memory_gate(run),
        )
        final = {n: run.series(f"collapse.{n}").at(end) for n in (*self.claims, "nc4", "nc1_permuted")}
        criteria = {}
        for name, most in SHRUNK.items():
            series = run.series(f"collapse.{name}")
            shrunk = series.at(end) / series.at(0)
            criteria[name] = (Check("over its initial value", shrunk, f"<= {most:g}", shrunk <= most),)
        details = {
            "nc4": final["nc4"],
            "nc1_permuted": final["nc1_permuted"],
            "validation_accuracy": run.series("accuracy.validation").at(end),
        }
        return {
            name: Outcome(
                effect=final[name] if defined else None,
                gates=gates,
                criteria=criteria.get(name, ()),
                details=details,
            )
            for name in self.claims
        }

    def controls(self) -> Sequence[Control]:
        network, task = "mlp[width=64,depth=3]", "digits[classes=4,subset=400]"
        reference = NeuralCollapse()
        return [
            Control(
                name="four digits with weight decay",
                sign="positive",
                phenomenon=reference,
                architecture=network,
                task=task,
                expects=dict.fromkeys(self.claims, frozenset({"present"})),
                why="Papyan et al. 2020; Zhu et al. 2021: decay makes the ETF the global minimiser",
            ),
            Control(
                name="random labels",
                sign="negative",
                # Random labels sharpen more: at the full rate they are not fitted, and a gate would
                # answer for the control.
                phenomenon=replace(reference, lr_multiple=80.0),
                architecture=network,
                task=task.replace("]", ",random_labels=true]"),
                expects={"nc1": NOT_SHOWN},
                why="labels without structure leave within-class variability; the means still form "
                "an ETF (Zhu et al. 2021), so NC2 and NC3 are not judged here",
            ),
            Control(
                name="no weight decay",
                sign="negative",
                phenomenon=replace(reference, weight_decay=0.0),
                architecture=network,
                task=task,
                expects=dict.fromkeys(("nc2_norms", "nc2_angles", "nc3"), NOT_SHOWN),
                why="without decay the ETF is approached only logarithmically in time",
            ),
        ]


def terminal_phase(steps: int, lr_multiple: float, weight_decay: float, batch_size: int) -> Recipe:
    """Training far beyond 100 % training accuracy, as in Papyan, Han, Donoho 2020 (arXiv:2008.08186).

    SGD with momentum 0.9, L2 decay, lr divided by ten at one and two thirds. lr is derived: its
    stability threshold is `lr_multiple` times the sharpness at initialisation (twenty, since momentum
    multiplies the step by ten); a linear warmup over the first tenth passes the first sharpening.
    """
    return Recipe(
        steps=steps,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=weight_decay,
        lr_over_stability=lr_multiple,
        milestones=(1 / 3, 2 / 3),
        warmup=0.1,
        batch_size=batch_size,
        loss="cross_entropy",
    )


def memory_gate(run: Trajectory) -> tuple[Check, ...]:
    """exp(-2 wd T) with T the summed learning rates over 1 - momentum: what is left of the start."""
    recipe = run.spec.recipe
    if recipe.weight_decay == 0:
        return ()
    ends = [0.0, *recipe.milestones, 1.0]
    # A linear warmup sums to half of its length.
    share = sum((b - a) * recipe.gamma**i for i, (a, b) in enumerate(pairwise(ends))) - recipe.warmup / 2
    duration = float(run.facts["lr"]) * recipe.steps * share / (1 - recipe.momentum)
    left = math.exp(-2 * recipe.weight_decay * duration)
    return (Check("memory of initialisation", left, f"<= {MEMORY:g}", left <= MEMORY),)
