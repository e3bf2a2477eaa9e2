"""Grokking: generalisation long after memorisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from universality import plugin as u
from universality.measures import Thresholds, grokking_times

THRESHOLDS = Thresholds(train=0.99, validation=0.90, ratio=5.0, memorised=0.5)
PATIENCE = 8000
"""Ten times the steps of the positive control (median 796 of 8 seeds): only then is silence an absence."""
ACCURACIES = {"accuracy.train": "training", "accuracy.validation": "validation"}


def patient(suite: Grokking) -> int:
    return max(suite.steps, PATIENCE)


@u.register("grokking", source="Power et al. 2022, arXiv:2201.02177; Nanda et al. 2023, arXiv:2301.05217")
@dataclass(frozen=True, kw_only=True)
class Grokking(u.Phenomenon):
    """On algorithmic data with weight decay, t_gen / t_mem >= 5 in most runs, right-censored at the budget.

    The times are `measures.grokking_times`; at t_mem, validation accuracy is at most half-way from chance to 1. A
    censored run counts against grokking only where it stayed within 0.1 of chance for `PATIENCE` steps.

    Args:
        steps: budget, fixed beforehand.
        decay: factor on the architecture's weight decay; 0 is a control.
    """

    steps: int = 4000
    decay: float = 1.0

    title, version, strand, sense = "Grokking", 1, "universality", "form"
    asks = u.classes(2), u.families("algorithmic", why="claimed for algorithmic tasks with partial data")

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        lr, decay = 0.01, 1.0  # tuned per family of architecture
        if run.task.name == "sparse_parity":
            lr, decay = 0.02, 0.3
        elif run.architecture.family in ("feedforward", "recurrent"):
            lr = 0.03
        run = run.trained(steps=self.steps, optimizer="adamw", lr=lr, beta2=0.98)
        return run.trained(weight_decay=decay * self.decay).observing(accuracy=u.LogSpaced())

    @u.claim(
        u.Most(at_least=THRESHOLDS.ratio, unit="t_generalise / t_memorise"),
        runs=run,
        title="generalises late",
        criteria=[u.require("validation at memorisation, above chance", "v_mem", at_most=0.5)],
        chart=u.Lines(ACCURACIES, "accuracy", log="x", low=-0.03, high=1.03),
    )
    def delay(self, run: u.Trajectory) -> u.Outcome:
        train, validation = run.series("accuracy.train"), run.series("accuracy.validation").values
        budget, chance = run.spec.recipe.steps, 1 / float(run.facts["outputs"])
        times = grokking_times(
            train.steps, train.values, validation, budget=budget, chance=chance, thresholds=THRESHOLDS
        )
        t_mem = math.inf if times.t_mem is None else float(times.t_mem)
        u.need("step at which the training set is fitted", t_mem, at_most=budget, label=times.label)
        details = {"t_mem": t_mem, "v_mem": float(times.v_mem or 0), "gap_area": times.gap_area}
        if times.t_gen is not None:
            details["t_gen"] = times.t_gen
            return u.Outcome(effect=times.t_gen / t_mem, label=times.label, details=details)
        best = details["best_validation"] = (validation.max() - chance) / (1 - chance)
        waited = (
            u.Check("steps without generalising", budget, at_least=PATIENCE),
            u.Check("highest validation accuracy, above chance", best, at_most=0.1),
        )
        return u.Outcome(
            effect=budget / t_mem,
            censored=True,
            gates=waited,
            criteria=(u.Check("step at which it generalises", math.inf, at_most=budget),),
            label="memorised only" if all(check.met for check in waited) else "censored",
            details=details,
        )

    reference = "mlp[width=128,depth=1,bias=false]", "modular[p=23,train_fraction=0.7]"
    random = reference[1].replace("]", ",random_labels=true]")
    controls = (
        u.positive("addition mod 23, one-hot network", "Gromov 2023, arXiv:2301.02679", follows=True),
        u.negative("random labels", "nothing can be learnt", task=random, steps=patient),
        u.negative("no weight decay", "Power et al. 2022: decay drives it", decay=0, steps=patient),
    )
