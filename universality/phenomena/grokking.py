"""Grokking: generalisation long after memorisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from universality.measures import Thresholds, grokking_times
from universality.plugin import (
    Cell,
    Check,
    Control,
    Cross,
    Group,
    LogSpaced,
    Most,
    Observe,
    Outcome,
    Phenomenon,
    Recipe,
    Request,
    Trajectory,
    register,
)

RATIO = 5.0
TRAIN, VALIDATION = 0.99, 0.90
MEMORISED = 0.5
THRESHOLDS = Thresholds(train=TRAIN, validation=VALIDATION, ratio=RATIO, memorised=MEMORISED)
RISEN = 0.1
REFERENCE_TIME = 800
"""Steps in which the positive control generalises (median 796 of 8 seeds). Only a budget of ten
times this can make "it did not generalise" an absence."""

_SOURCE = "Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217"


@register("grokking", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class Grokking(Phenomenon):
    """On algorithmic data with weight decay, t_gen / t_mem >= 5 in most runs.

    t_mem and t_gen are the first recorded steps with training accuracy >= 0.99 and validation
    accuracy >= 0.90, kept on at least 80 % of the records in [t, 1.1 t]. Effect: their ratio,
    right-censored at the budget. A run groks where the ratio is at least 5 and validation
    accuracy, normalised to 0 at chance, is at most 0.5 at t_mem.

    Gates: the training set is fitted; without generalisation, the ratio is censored: it counts
    against grokking only where validation never rose 0.1 above chance in ten times the positive
    control's time. A censored run is never an absence otherwise.

    Args:
        steps: budget, fixed beforehand.
        decay: factor on the architecture's weight decay; 0 is a control.
    """

    steps: int = 4000
    decay: float = 1.0

    title = "Grokking"
    version = 1
    strand = "universality"
    sense = "form"
    claims = {"delay": Most(at_least=RATIO, unit="t_generalise / t_memorise")}  # noqa: RUF012

    def applies(self, cell: Cell) -> str:
        if cell.task.family != "algorithmic":
            return "claimed for algorithmic tasks with partial data"
        return ""

    def groups(self, cell: Cell, cross: Cross) -> Sequence[Group]:
        lr, decay = settings(cell)
        recipe = Recipe(
            steps=self.steps,
            optimizer="adamw",
            lr=lr,
            weight_decay=decay * self.decay,
            beta2=0.98,
            loss="cross_entropy",
        )
        observe = (Observe("accuracy", LogSpaced(dense=20, per_decade=30)),)
        return [
            Group(
                f"s{seed}",
                {"run": Request(cell.architecture, cell.task, recipe, seed, observe)},
                (f"s{seed}",),
            )
            for seed in cross.seeds
        ]

    def measure(self, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
        return {"delay": delay(runs["run"])}

    def controls(self) -> Sequence[Control]:
        network, task = "mlp[width=128,depth=1,bias=false]", "modular[p=23,train_fraction=0.7]"
        long = replace(self, steps=max(self.steps, 10 * REFERENCE_TIME))
        absent = {"delay": frozenset({"absent"})}
        return [
            Control(
                name="addition mod 23, one-hot network",
                sign="positive",
                phenomenon=self,
                architecture=network,
                task=task,
                expects={"delay": frozenset({"present"})},
                why="Gromov 2023, arXiv:2301.02679: two-layer networks grok modular addition",
            ),
            Control(
                name="random labels",
                sign="negative",
                phenomenon=long,
                architecture=network,
                task=task.replace("]", ",random_labels=true]"),
                expects=absent,
                why="nothing can be generalised",
            ),
            Control(
                name="no weight decay",
                sign="negative",
                phenomenon=replace(long, decay=0.0),
                architecture=network,
                task=task,
                expects=absent,
                why="Power et al. 2022: weight decay drives the late generalisation",
            ),
        ]


def settings(cell: Cell) -> tuple[float, float]:
    """(lr, weight decay) of AdamW with betas (0.9, 0.98), tuned per family of architecture."""
    if cell.task.name == "sparse_parity":
        return 0.02, 0.3
    if cell.architecture.family in ("feedforward", "recurrent"):
        return 0.03, 1.0
    return 0.01, 1.0


def delay(run: Trajectory) -> Outcome:
    """The outcome of one run that recorded `accuracy` on a log-spaced grid.

    Times, delay and label are `measures.grokking_times`; what its censored runs say is decided here.
    """
    train, validation = run.series("accuracy.train"), run.series("accuracy.validation")
    budget, chance = run.spec.recipe.steps, 1 / float(run.facts["outputs"])
    found = grokking_times(
        train.steps, train.values, validation.values, budget=budget, chance=chance, thresholds=THRESHOLDS
    )
    if found.t_mem is None or found.v_mem is None:
        peak = float(train.values.max())
        fitted = Check("training set fitted", peak, f"accuracy >= {TRAIN}", False)
        return Outcome(effect=None, gates=(fitted,), label=found.label)
    fitted = Check("training set fitted", float(found.t_mem), f"accuracy >= {TRAIN}", True)
    memorised = Check(
        "validation at memorisation, above chance",
        found.v_mem,
        f"<= {MEMORISED}",
        found.v_mem <= MEMORISED,
    )
    details = {"t_mem": float(found.t_mem), "v_mem": found.v_mem, "gap_area": found.gap_area}
    if found.t_gen is not None:
        return Outcome(
            effect=found.t_gen / found.t_mem,
            gates=(fitted,),
            criteria=(memorised,),
            label=found.label,
            details={**details, "t_gen": float(found.t_gen)},
        )
    best = (float(validation.values.max()) - chance) / (1 - chance)
    long_enough = budget >= 10 * REFERENCE_TIME
    waited = Check(
        "generalised, or stayed at chance for ten times the control's time",
        float(budget),
        f">= {10 * REFERENCE_TIME} steps, validation <= {RISEN} above chance",
        long_enough and best <= RISEN,
    )
    never = Check("generalises within the budget", best, f"validation >= {VALIDATION}", False)
    return Outcome(
        effect=budget / found.t_mem,
        censored=True,
        gates=(fitted, waited),
        criteria=(memorised, never),
        label="memorised only" if waited.met else "censored",
        details={**details, "best_validation": best},
    )
