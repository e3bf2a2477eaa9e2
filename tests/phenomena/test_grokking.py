"""Every label of `delay` on made-up accuracies, and the closed forms behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality import registry
from universality.phenomena.grokking import REFERENCE_TIME, Grokking, delay, gap_area, settings, sustained
from universality.phenomenon import Cell
from universality.records import Outcome, Series
from universality.schedules import LogSpaced
from universality.task import Signature

registry.load_plugins()

CLASSES = 10
CLAIM = Grokking.claims["delay"]


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
    return delay(
        FakeRun(
            {
                "accuracy.train": step_function(budget, train),
                "accuracy.validation": step_function(budget, validation),
            },
            budget,
        )
    )


def verdict(found: Outcome) -> str:
    if not found.decided():
        return "inconclusive"
    return "holds" if found.holds(CLAIM) else "does not hold"


LONG = 10 * REFERENCE_TIME

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
    found = outcome(train, validation, budget)
    assert (found.label, verdict(found)) == (label, expected)


def test_the_effect_is_the_ratio_of_the_two_times() -> None:
    found = outcome({10: 1.0}, {0: 0.1, 1000: 0.95})
    assert (found.effect, found.censored) == (100.0, False)
    assert (found.details["t_mem"], found.details["t_gen"]) == (10, 1000)
    assert found.details["v_mem"] == pytest.approx(0.0)


def test_without_generalisation_the_ratio_is_a_lower_bound_at_the_budget() -> None:
    found = outcome({10: 1.0}, {0: 0.1}, LONG)
    assert (found.effect, found.censored) == (LONG / 10, True)
    assert "t_gen" not in found.details
    assert found.details["best_validation"] == pytest.approx(0.0)


def test_validation_at_memorisation_is_zero_at_chance_and_one_at_one() -> None:
    found = outcome({10: 1.0}, {0: 0.4, 1000: 0.95})
    assert found.details["v_mem"] == pytest.approx((0.4 - 0.1) / 0.9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 1, 1], 1),
        ([1, 0, 0, 0, 0], None),
        ([1, 1, 1, 1, 1], 1),
        ([0, 0, 0, 0, 0], None),
        ([0, 0, 0, 0, 1], 4),
    ],
    ids=["at once", "only at initialisation", "from the start", "never", "at the end"],
)
def test_the_first_sustained_step_is_at_least_one(values: list[float], expected: int | None) -> None:
    assert sustained(Series(np.arange(5), np.array(values, float)), 0.9) == expected


def test_a_blip_is_not_sustained() -> None:
    steps = np.arange(1, 1001)
    values = np.where(steps == 100, 1.0, np.where(steps >= 400, 1.0, 0.0))
    assert sustained(Series(steps, values), 0.9) == 400


@pytest.mark.parametrize(("gaps", "expected"), [(2, 100), (3, 104)])
def test_a_fifth_of_the_records_up_to_a_tenth_later_may_fall_short(gaps: int, expected: int) -> None:
    # [100, 110] holds eleven records: two misses leave 9/11 = 0.82, three leave 8/11 = 0.73.
    steps = np.arange(1, 201)
    values = (steps >= 100).astype(float)
    values[[100, 101, 102][:gaps]] = 0.0  # steps 101, 102 and 103
    assert sustained(Series(steps, values), 0.9) == expected


def test_a_blip_of_validation_does_not_make_a_run_generalise() -> None:
    found = outcome({10: 1.0}, {0: 0.1, 1000: 0.95, 1010: 0.1}, LONG)
    assert found.censored
    assert verdict(found) == "inconclusive"


def test_the_gap_area_of_a_step_is_its_length_in_decades() -> None:
    steps = np.unique(np.round(np.logspace(0, 4, 4001)).astype(np.int64))
    train = Series(steps, (steps >= 10).astype(float))
    validation = Series(steps, (steps >= 1000).astype(float))
    # Each jump is smeared over one interval of the grid, half of which lies outside.
    grid = np.log10(np.array([11 / 10, 10 / 9, 1000 / 999])).sum()
    assert gap_area(train, validation) == pytest.approx(2.0, abs=grid)


def test_the_gap_area_of_a_gap_linear_in_log_time_is_half_its_height_times_its_length() -> None:
    steps = np.array([0, *np.unique(np.round(np.logspace(0, 3, 200)).astype(np.int64))])
    high = np.ones(len(steps))
    falling = np.ones(len(steps))
    falling[1:] = np.log10(steps[1:]) / 3
    assert gap_area(Series(steps, high), Series(steps, falling)) == pytest.approx(1.5)
    assert gap_area(Series(steps, falling), Series(steps, high)) == 0.0


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
    lr, decay = settings(cell)
    assert decay > 0
    from universality.phenomenon import Cross

    groups = Grokking(decay=0.0).groups(cell, Cross(range(2)))
    recipes = {group.runs["run"].recipe for group in groups}
    assert {(r.lr, r.weight_decay) for r in recipes} == {(lr, 0.0)}
    assert [group.units for group in groups] == [("s0",), ("s1",)]
