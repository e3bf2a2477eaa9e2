"""Neural collapse on synthetic features: an exact simplex passes, and each criterion fails alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from universality.judge.outcomes import outcome_of
from universality.measures import neural_collapse
from universality.phenomena.neural_collapse import NeuralCollapse
from universality.plugin.cell import Cell
from universality.plugin.kit.decay import memory_of_start
from universality.plugin.outcome import Outcome
from universality.plugin.rates import RateSchedule
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature
from universality.plugin.trajectory import Series

END, CLASSES = 300, 4
GOOD = {"nc1": 0.01, "nc2_norms": 0.05, "nc2_angles": 0.05, "nc3": 0.1, "nc4": 0.0, "nc1_permuted": 9.0}


@dataclass
class FakeRun:
    """A trajectory with the values it is given at its start and its end."""

    values: dict[str, tuple[float, float]]
    recipe: Recipe
    facts: dict[str, Any] = field(default_factory=dict)
    state: str = "done"

    @property
    def spec(self) -> Any:
        return SimpleNamespace(recipe=self.recipe)

    def series(self, name: str) -> Series:
        return Series(np.array([0, self.recipe.steps]), np.array(self.values[name]))


def recipe(**more: Any) -> Recipe:
    return Recipe(**{"steps": END, "lr": 1.0, "momentum": 0.9, "weight_decay": 5e-3, **more})


def run(
    last: dict[str, float] | None = None,
    *,
    initial_nc1: float = 5.0,
    initial: dict[str, float] | None = None,
    accuracy: float = 1.0,
    dimension: float = 16.0,
    imbalance: float = 1.0,
    given: Recipe | None = None,
) -> FakeRun:
    final = GOOD | (last or {})
    values = {f"collapse.{name}": (9.0, value) for name, value in final.items()}
    for name, value in ({"nc1": initial_nc1} | (initial or {})).items():
        values[f"collapse.{name}"] = (value, final[name])
    values["collapse.dimension"] = (dimension, dimension)
    values["collapse.imbalance"] = (imbalance, imbalance)
    values["accuracy.train"] = (0.25, accuracy)
    values["accuracy.validation"] = (0.25, 0.9)
    given = given or recipe()
    return FakeRun(values, given, {"outputs": CLASSES, "lr": given.lr})


def measured(fake: FakeRun) -> dict[str, Outcome]:
    return {name: outcome_of(NeuralCollapse(), claim, fake) for name, claim in NeuralCollapse.claims.items()}


def holding(outcomes: dict[str, Outcome]) -> set[str]:
    assert all(o.decided() for o in outcomes.values())
    return {name for name, o in outcomes.items() if o.holds(NeuralCollapse.claims[name].bound)}


EVERY = set(NeuralCollapse.claims)


def test_features_on_an_exact_simplex_collapse_in_every_sense() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=generator, dtype=torch.float64))[0]
    simplex = (torch.eye(CLASSES, dtype=torch.float64) - 1 / CLASSES) @ rotation[:CLASSES]
    labels = torch.arange(400) % CLASSES
    noise = 1e-3 * torch.randn(400, 16, generator=generator, dtype=torch.float64)
    centre = torch.full((16,), 3.0, dtype=torch.float64)
    found = neural_collapse(centre + simplex[labels] + noise, labels, 7 * simplex, -7 * simplex @ centre)
    last = {name: getattr(found, name) for name in (*EVERY, "nc4")}
    assert max(last.values()) < 1e-3
    assert holding(measured(run(last))) == EVERY


@pytest.mark.parametrize(
    ("name", "value"), [("nc1", 0.051), ("nc2_norms", 0.101), ("nc2_angles", 0.081), ("nc3", 0.224)]
)
def test_each_criterion_can_be_missed_alone(name: str, value: float) -> None:
    outcomes = measured(run({name: value}))
    assert holding(outcomes) == EVERY - {name}
    assert outcomes[name].effect == value


@pytest.mark.parametrize(("initial", "expected"), [(0.1001, EVERY), (0.0999, EVERY - {"nc1"})])
def test_nc1_must_shrink_to_a_tenth_of_its_initial_value(initial: float, expected: set[str]) -> None:
    assert holding(measured(run(initial_nc1=initial))) == expected


@pytest.mark.parametrize("name", ["nc2_norms", "nc2_angles"])
@pytest.mark.parametrize(("initial", "holds"), [(0.1001, True), (0.0999, False)])
def test_nc2_must_shrink_to_half_of_its_initial_value(name: str, initial: float, holds: bool) -> None:
    assert holding(measured(run(initial={name: initial}))) == (EVERY if holds else EVERY - {name})


def test_nc4_decides_nothing() -> None:
    outcomes = measured(run({"nc4": 0.9}))
    assert holding(outcomes) == EVERY
    assert outcomes["nc1"].details["nc4"] == 0.9


@pytest.mark.parametrize(
    ("fake", "gate"),
    [
        (run(accuracy=0.998), "training accuracy at the end"),
        (run(dimension=2), "feature dimension"),
        (run(imbalance=1.51), "largest class over smallest"),
        (run(imbalance=math.inf), "largest class over smallest"),
        (run(dict.fromkeys(EVERY, math.nan)), "class means differ, so that NC1 is a number"),
        (run(initial_nc1=math.nan), "class means differ, so that NC1 is a number"),
        (run(given=recipe(lr=0.01)), "memory of initialisation"),
    ],
    ids=[
        "not fitted",
        "too few features",
        "unbalanced",
        "a class is absent",
        "undefined at the end",
        "undefined at the start",
        "too short",
    ],
)
def test_every_gate_alone_makes_a_run_inconclusive(fake: FakeRun, gate: str) -> None:
    for outcome in measured(fake).values():
        assert not outcome.decided()
        assert {g.name for g in outcome.gates if not g.met} == {gate}


@pytest.mark.parametrize("dimension", [CLASSES - 1])
def test_a_simplex_fits_into_one_dimension_less_than_its_corners(dimension: float) -> None:
    assert holding(measured(run(dimension=dimension))) == EVERY


@pytest.mark.parametrize(
    "given",
    [
        recipe(),
        recipe(lr=0.1, momentum=0.0),
        recipe(lr=0.1, milestones=(1 / 3, 2 / 3)),
        recipe(lr=0.1, milestones=(0.5,), gamma=0.3),
        recipe(lr=0.1, warmup=0.1, milestones=(1 / 3, 2 / 3)),
    ],
    ids=["constant", "no momentum", "two milestones", "gamma", "warmup"],
)
def test_the_memory_of_initialisation_is_what_decay_leaves_after_every_learning_rate(given: Recipe) -> None:
    schedule = RateSchedule(given)
    duration = sum(given.lr * schedule.factor(step) for step in range(given.steps)) / (1 - given.momentum)
    assert memory_of_start(run(given=given)) == pytest.approx(
        math.exp(-2 * given.weight_decay * duration), rel=1e-9
    )


def test_without_decay_there_is_no_memory_to_wait_for() -> None:
    outcomes = measured(run(given=recipe(weight_decay=0.0)))
    assert all("memory of initialisation" not in {g.name for g in o.gates} for o in outcomes.values())
    assert holding(outcomes) == EVERY


@pytest.mark.parametrize(("outputs", "applies"), [(2, False), (3, True)])
def test_two_classes_make_no_simplex(outputs: int, applies: bool) -> None:
    signature = Signature(None, outputs, 100, 10, 10)
    reason = NeuralCollapse().applies(Cell(None, None, signature))
    assert (reason == "") is applies
