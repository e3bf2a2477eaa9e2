"""Grokking: generalisation long after memorisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from universality import plugin as u
from universality.measures import Thresholds, grokking_times

RATIO = 5.0
TRAIN, VALIDATION = 0.99, 0.90
MEMORISED = 0.5
THRESHOLDS = Thresholds(train=TRAIN, validation=VALIDATION, ratio=RATIO, memorised=MEMORISED)
CHANCE_MARGIN = 0.1
REFERENCE_TIME = 800
"""Steps in which the positive control generalises (median 796 of 8 seeds). Only a budget of ten
times this can make "it did not generalise" an absence."""

_SOURCE = "Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217"


@u.register("grokking", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class Grokking(u.Phenomenon):
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
    claims = {"delay": u.Most(at_least=RATIO, unit="t_generalise / t_memorise")}
    claim_titles = {"delay": "generalises late"}

    def applies(self, cell: u.Cell) -> str:
        if cell.task.family != "algorithmic":
            return "claimed for algorithmic tasks with partial data"
        return ""

    def groups(self, cell: u.Cell, cross: u.Cross) -> Sequence[u.Group]:
        lr, decay = rate_and_decay(cell)
        recipe = u.Recipe(
            steps=self.steps,
            optimizer="adamw",
            lr=lr,
            weight_decay=decay * self.decay,
            beta2=0.98,
            loss="cross_entropy",
        )
        observe = (u.Observe("accuracy", u.LogSpaced(dense=20, per_decade=30)),)
        return u.run_by_seed(cell, cross, recipe, observe)

    def measure(self, runs: Mapping[str, u.Trajectory]) -> Mapping[str, u.Outcome]:
        return {"delay": delay(runs["run"])}

    def controls(self) -> Sequence[u.Control]:
        network, task = "mlp[width=128,depth=1,bias=false]", "modular[p=23,train_fraction=0.7]"
        long = replace(self, steps=max(self.steps, 10 * REFERENCE_TIME))
        return [
            u.Control(
                name="addition mod 23, one-hot network",
                sign="positive",
                phenomenon=self,
                architecture=network,
                task=task,
                expects={"delay": frozenset({"present"})},
                why="Gromov 2023, arXiv:2301.02679: two-layer networks grok modular addition",
            ),
            u.Control(
                name="random labels",
                sign="negative",
                phenomenon=long,
                architecture=network,
                task=task.replace("]", ",random_labels=true]"),
                expects={"delay": frozenset({"absent"})},
                why="nothing can be generalised",
            ),
            u.Control(
                name="no weight decay",
                sign="negative",
                phenomenon=replace(long, decay=0.0),
                architecture=network,
                task=task,
                expects={"delay": frozenset({"absent"})},
                why="Power et al. 2022: weight decay drives the late generalisation",
            ),
        ]


def rate_and_decay(cell: u.Cell) -> tuple[float, float]:
    """(lr, weight decay) of AdamW with betas (0.9, 0.98), tuned per family of architecture."""
    if cell.task.name == "sparse_parity":
        return 0.02, 0.3
    if cell.architecture.family in ("feedforward", "recurrent"):
        return 0.03, 1.0
    return 0.01, 1.0


def delay(run: u.Trajectory) -> u.Outcome:
    """The outcome of one run that recorded `accuracy` on a log-spaced grid.

    Times, delay and label are `measures.grokking_times`; what its censored runs say is decided here.
    """
    train, validation = run.series("accuracy.train"), run.series("accuracy.validation")
    budget, chance = run.spec.recipe.steps, 1 / float(run.facts["outputs"])
    times = grokking_times(
        train.steps, train.values, validation.values, budget=budget, chance=chance, thresholds=THRESHOLDS
    )
    memorised_at = math.inf if times.t_mem is None else float(times.t_mem)
    fitted = u.Check("step at which the training set is fitted", memorised_at, at_most=budget)
    if times.t_mem is None or times.v_mem is None:
        return u.Outcome(effect=None, gates=(fitted,), label=times.label)
    memorised = u.Check("validation at memorisation, above chance", times.v_mem, at_most=MEMORISED)
    details = {"t_mem": memorised_at, "v_mem": times.v_mem, "gap_area": times.gap_area}
    if times.t_gen is not None:
        return u.Outcome(
            effect=times.t_gen / times.t_mem,
            gates=(fitted,),
            criteria=(memorised,),
            label=times.label,
            details={**details, "t_gen": float(times.t_gen)},
        )
    best = (float(validation.values.max()) - chance) / (1 - chance)
    # Only a run that stayed at chance for ten times the positive control's time counts against grokking.
    waited = (
        u.Check("steps without generalising", budget, at_least=10 * REFERENCE_TIME),
        u.Check("highest validation accuracy, above chance", best, at_most=CHANCE_MARGIN),
    )
    never = u.Check("step at which it generalises", math.inf, at_most=budget)
    return u.Outcome(
        effect=budget / times.t_mem,
        censored=True,
        gates=(fitted, *waited),
        criteria=(memorised, never),
        label="memorised only" if all(check.met for check in waited) else "censored",
        details={**details, "best_validation": best},
    )
