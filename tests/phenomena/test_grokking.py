"""Every label of `delay` on made-up accuracies, and the closed forms behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality.judge.outcomes import outcome_of
from universality.phenomena.grokking import PATIENCE, Grokking
from universality.plan.groups import groups_of
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cross
from universality.plugin.schedules import LogSpaced
from universality.plugin.task import Signature
from universality.plugin.trajectory import Series

registry.load_plugins()

CLASSES = 10
DELAY = Grokking.claims["delay"]
CLAIM = DELAY.bound


@dataclass
class FakeRun:
    """A trajectory with the series it is given."""

    given: dict[str, Series]
    budget: int
    state: str = "done"
    facts: dict[str, Any] = field(default_factory=lambda: {"outputs": CLASSES})

    @property
    def spec(self) -> Any:
        return SimpleNamespace(recipe=SimpleNamespace(steps=self.budget))

    def series(self, name: str) -> Series:
        return self.given[name]


def step_function(budget: int, jumps: dict[int, float]) -> Series:
    """Accuracy on the grid of the phenomenon; from each step on, the value given for it."""
    steps = np.array(LogSpaced(dense=20, per_decade=30).steps(budget))
    values = np.zeros(len(steps))
    for step, value in sorted(jumps.items()):
        values[steps >= step] = value
    return Series(steps, values)


def outcome(train: dict[int, float], validation: dict[int, float], budget: int = 4000) -> Outcome:
    return outcome_of(
        Grokking(),
        DELAY,
        FakeRun(
            {
                "accuracy.train": step_function(budget, train),
                "accuracy.validation": step_function(budget, validation),
            },
            budget,
        ),
    )


def verdict(course: Outcome) -> str:
    if not course.decided():
        return "inconclusive"
    return "holds" if course.holds(CLAIM) else "does not hold"


LONG = PATIENCE

TRUTH = {
    "late generalisation": ({10: 1.0}, {0: 0.1, 1000: 0.95}, 4000, "grokking", "holds"),
    "a ratio of exactly five": ({20: 1.0}, {100: 1.0}, 4000, "grokking", "holds"),
    "a ratio below five": ({20: 1.0}, {80: 1.0}, 4000, "prompt", "does not hold"),
    "validation before training": ({100: 1.0}, {50: 1.0}, 4000, "prompt", "does not hold"),
    # 0.55 is halfway between chance and one for ten classes.
    "half generalised when memorised": ({10: 1.0}, {0: 0.549, 1000: 0.95}, 4000, "grokking", "holds"),
    "mostly generalised when memorised": (
        {10: 1.0},
        {0: 0.551, 1000: 0.95},
        4000,
        "slow tail",
        "does not hold",
    ),
    "at chance for a long time": ({10: 1.0}, {0: 0.1}, LONG, "memorised only", "does not hold"),
    "a tenth above chance for a long time": ({10: 1.0}, {0: 0.189}, LONG, "memorised only", "does not hold"),
    "rising above chance": ({10: 1.0}, {0: 0.1, 7000: 0.2}, LONG, "censored", "inconclusive"),
    "at chance within a short budget": ({10: 1.0}, {0: 0.1}, LONG - 1, "censored", "inconclusive"),
    "almost generalised at the end": ({10: 1.0}, {0: 0.1, 900: 0.89}, LONG, "censored", "inconclusive"),
    "never fitted": ({10: 0.98}, {0: 0.1}, LONG, "not fitted", "inconclusive"),
    "generalised but never fitted": ({10: 0.98}, {10: 0.95}, 4000, "not fitted", "inconclusive"),
}


@pytest.mark.parametrize("case", TRUTH)
def test_every_course_of_training_has_its_label(case: str) -> None:
    train, validation, budget, label, expected = TRUTH[case]
    course = outcome(train, validation, budget)
    assert (course.label, verdict(course)) == (label, expected)


def test_the_effect_is_the_ratio_of_the_two_times() -> None:
    course = outcome({10: 1.0}, {0: 0.1, 1000: 0.95})
    assert (course.effect, course.censored) == (100.0, False)
    assert (course.details["t_mem"], course.details["t_gen"]) == (10, 1000)
    assert course.details["v_mem"] == pytest.approx(0.0)


def test_without_generalisation_the_ratio_is_a_lower_bound_at_the_budget() -> None:
    course = outcome({10: 1.0}, {0: 0.1}, LONG)
    assert (course.effect, course.censored) == (LONG / 10, True)
    assert "t_gen" not in course.details
    assert course.details["best_validation"] == pytest.approx(0.0)


def test_validation_at_memorisation_is_zero_at_chance_and_one_at_one() -> None:
    course = outcome({10: 1.0}, {0: 0.4, 1000: 0.95})
    assert course.details["v_mem"] == pytest.approx((0.4 - 0.1) / 0.9)


def unmet(course: Outcome) -> dict[str, tuple[float, str]]:
    return {gate.name: (gate.value, gate.needs) for gate in course.gates if not gate.met}


FITTED, WAITED = "step at which the training set is fitted", "steps without generalising"
HIGHEST = "highest validation accuracy, above chance"


def test_a_run_that_never_fits_has_no_step_at_which_it_did() -> None:
    course = outcome({10: 0.98}, {0: 0.1}, LONG)
    assert unmet(course) == {FITTED: (math.inf, f"<= {LONG:g}")}
    assert [gate.name for gate in course.gates] == [FITTED]


def test_a_run_that_generalises_needs_to_be_fitted_and_nothing_else() -> None:
    course = outcome({10: 1.0}, {0: 0.1, 1000: 0.95})
    assert [(gate.name, gate.value, gate.met) for gate in course.gates] == [(FITTED, 10.0, True)]


@pytest.mark.parametrize(
    ("budget", "validation", "gates"),
    [
        (LONG, 0.1, {}),
        (LONG - 1, 0.1, {WAITED: (LONG - 1, f">= {LONG:g}")}),
        # 0.28 is 0.2 above chance on the scale on which chance is 0 and all is 1, and 0.1 is allowed.
        (LONG, 0.28, {HIGHEST: (pytest.approx(0.2), "<= 0.1")}),
        (4000, 0.28, {WAITED: (4000, f">= {LONG:g}"), HIGHEST: (pytest.approx(0.2), "<= 0.1")}),
    ],
    ids=["long at chance", "one step short", "rising", "short and rising"],
)
def test_without_generalisation_a_run_must_have_stayed_at_chance_for_long(
    budget: int, validation: float, gates: dict[str, tuple[float, str]]
) -> None:
    course = outcome({10: 1.0}, {0: validation}, budget)
    assert unmet(course) == gates
    assert course.censored
    assert course.label == ("censored" if gates else "memorised only")
    # Whatever the gates say, the criterion that it generalises is not met.
    assert {c.name for c in course.criteria if not c.met} == {"step at which it generalises"}


def test_a_blip_of_validation_does_not_make_a_run_generalise() -> None:
    course = outcome({10: 1.0}, {0: 0.1, 1000: 0.95, 1010: 0.1}, LONG)
    assert course.censored
    assert verdict(course) == "inconclusive"


def test_it_is_claimed_for_algorithmic_tasks_only() -> None:
    network = registry.resolve("architecture", "mlp")

    def reason(task: str) -> str:
        plugin = registry.resolve("task", task)
        signature = Signature(
            registry.resolve("task", "digits").load(np.random.default_rng(0), None).inputs, 10, 1, 1, 1
        )
        return Grokking().applies(Cell(network, plugin, signature))

    assert reason("modular") == reason("sparse_parity") == ""
    assert "algorithmic" in reason("digits")


def test_no_weight_decay_is_a_setting_of_the_same_recipe() -> None:
    cell = Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "modular"), None)
    usual, without = (groups_of(Grokking(decay=d), cell, Cross(range(2))) for d in (1.0, 0.0))
    for one, other in zip(usual, without, strict=True):
        recipe = one.runs["run"].recipe
        assert recipe.weight_decay > 0
        assert other.runs["run"].recipe == replace(recipe, weight_decay=0.0)
    assert [group.units for group in without] == [("s0",), ("s1",)]
