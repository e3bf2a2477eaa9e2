"""Neural collapse: in the terminal phase, class features and classifier form a simplex ETF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from universality import plugin as u

TERMINAL = 0.999
MEMORY = 0.01
BALANCED = 1.5
MAX_REMAINING_SHARE = {"nc1": 0.1, "nc2_norms": 0.5, "nc2_angles": 0.5}
"""At most this share of its initial value is left at the end."""

_SOURCE = "Papyan, Han, Donoho 2020, arXiv:2008.08186; Zhu et al. 2021, arXiv:2105.02375"


@u.register("neural_collapse", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(u.Phenomenon):
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
    claims = {
        "nc1": u.Within(high=0.05, unit="tr(S_W S_B^+)/C", scale="log"),
        "nc2_norms": u.Within(high=0.10, unit="std/mean of class-mean norms", scale="log"),
        "nc2_angles": u.Within(high=0.08, unit="mean |cos + 1/(C-1)|", scale="log"),
        "nc3": u.Within(high=math.sqrt(0.05), unit="|W/|W| - M/|M||", scale="log"),
    }
    claim_titles = {
        "nc1": "within-class variability vanishes (NC1)",
        "nc2_norms": "class means are equally long",
        "nc2_angles": "class means are equally far apart",
        "nc3": "classifier and class means align (NC3)",
    }

    def applies(self, cell: u.Cell) -> str:
        if cell.signature.outputs < 3:
            return "a simplex of two classes is any pair of opposite vectors"
        return ""

    def groups(self, cell: u.Cell, cross: u.Cross) -> Sequence[u.Group]:
        recipe = terminal_phase(self.steps, self.lr_multiple, self.weight_decay, self.batch_size)
        observe = (u.Observe("collapse", u.Every(20)), u.Observe("accuracy", u.Every(20)))
        return u.run_by_seed(cell, cross, recipe, observe)

    def measure(self, runs: Mapping[str, u.Trajectory]) -> Mapping[str, u.Outcome]:
        run = runs["run"]
        end = run.spec.recipe.steps
        numbers = (*self.claims, "nc4", "nc1_permuted", "dimension", "imbalance")
        final = {name: run.series(f"collapse.{name}").at(end) for name in numbers}
        defined = math.isfinite(run.series("collapse.nc1").at(0)) and math.isfinite(final["nc1"])
        gates = (
            u.Check("training accuracy at the end", run.series("accuracy.train").at(end), at_least=TERMINAL),
            u.Check("feature dimension", final["dimension"], at_least=int(run.facts["outputs"]) - 1),
            u.Check("largest class over smallest", final["imbalance"], at_most=BALANCED),
            u.Check("class means differ, so that NC1 is a number", float(defined), at_least=1),
            *memory_gate(run),
        )
        criteria = {}
        for name, most in MAX_REMAINING_SHARE.items():
            series = run.series(f"collapse.{name}")
            criteria[name] = (u.Check("over its initial value", series.at(end) / series.at(0), at_most=most),)
        details = {name: final[name] for name in ("nc4", "nc1_permuted")}
        details["validation_accuracy"] = run.series("accuracy.validation").at(end)
        return {
            name: u.Outcome(
                effect=final[name] if defined else None,
                gates=gates,
                criteria=criteria.get(name, ()),
                details=details,
            )
            for name in self.claims
        }

    def controls(self) -> Sequence[u.Control]:
        network, task = "mlp[width=64,depth=3]", "digits[classes=4,subset=400]"
        reference = NeuralCollapse()
        return [
            u.Control(
                name="four digits with weight decay",
                sign="positive",
                phenomenon=reference,
                architecture=network,
                task=task,
                expects=dict.fromkeys(self.claims, frozenset({"present"})),
                why="Papyan et al. 2020; Zhu et al. 2021: decay makes the ETF the global minimiser",
            ),
            u.Control(
                name="random labels",
                sign="negative",
                # Random labels sharpen more: at the full rate they are not fitted, and a gate would
                # answer for the control.
                phenomenon=replace(reference, lr_multiple=80.0),
                architecture=network,
                task=task.replace("]", ",random_labels=true]"),
                expects={"nc1": u.NOT_SHOWN},
                why="labels without structure leave within-class variability; the means still form "
                "an ETF (Zhu et al. 2021), so NC2 and NC3 are not judged here",
            ),
            u.Control(
                name="no weight decay",
                sign="negative",
                phenomenon=replace(reference, weight_decay=0.0),
                architecture=network,
                task=task,
                expects=dict.fromkeys(("nc2_norms", "nc2_angles", "nc3"), u.NOT_SHOWN),
                why="without decay the ETF is approached only logarithmically in time",
            ),
        ]


def terminal_phase(steps: int, lr_multiple: float, weight_decay: float, batch_size: int) -> u.Recipe:
    """Training far beyond 100 % training accuracy, as in Papyan, Han, Donoho 2020 (arXiv:2008.08186).

    SGD with momentum 0.9, L2 decay, lr divided by ten at one and two thirds. lr is derived: its
    stability threshold is `lr_multiple` times the sharpness at initialisation (twenty, since momentum
    multiplies the step by ten); a linear warmup over the first tenth passes the first sharpening.
    """
    return u.Recipe(
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


def memory_gate(run: u.Trajectory) -> tuple[u.Check, ...]:
    """exp(-2 wd T) with T the summed learning rates over 1 - momentum: what is left of the start."""
    recipe = run.spec.recipe
    if recipe.weight_decay == 0:
        return ()
    ends = [0.0, *recipe.milestones, 1.0]
    # A linear warmup sums to half of its length.
    share = sum((b - a) * recipe.gamma**i for i, (a, b) in enumerate(pairwise(ends))) - recipe.warmup / 2
    duration = float(run.facts["lr"]) * recipe.steps * share / (1 - recipe.momentum)
    left = math.exp(-2 * recipe.weight_decay * duration)
    return (u.Check("memory of initialisation", left, at_most=MEMORY),)
