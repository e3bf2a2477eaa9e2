"""Conditions on a cell that are asked before anything is trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from universality.plugin import (
    Cell,
    balanced,
    classes,
    families,
    has_width,
    held_out,
    not_families,
    reference_rows,
    registry,
    simplex,
    train_rows,
)  # fmt: skip
from universality.plugin.task import Signature

registry.load_plugins()

SIGNATURE = Signature(None, 4, 100, 50, 40, imbalance=2.0)  # type: ignore[arg-type]


def cell(signature: Any = SIGNATURE, features: int = 0, **names: str) -> Cell:
    architecture = registry.resolve("architecture", names.get("architecture", "mlp"))
    return Cell(architecture, registry.resolve("task", names.get("task", "digits")), signature, features)


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (classes(4), ""),
        (classes(5), "needs 5 classes, the task has 4"),
        (classes(5, "five make a pattern"), "five make a pattern"),
        (train_rows(100), ""),
        (train_rows(101), "needs 101 training rows, the task has 100"),
        (reference_rows(40), ""),
        (reference_rows(41), "needs 41 reference inputs, the task has 40"),
        (balanced(2.0), ""),
        (balanced(1.5), "the largest class has 2 times the rows of the smallest, at most 1.5 are asked for"),
        (families("feedforward", why="for chains"), ""),
        (families("recurrent", why="for memories"), "for memories"),
        (not_families("recurrent", why="not for memories"), ""),
        (not_families("feedforward", why="not for chains"), "not for chains"),
        (has_width, ""),
        (held_out, ""),
    ],
)
def test_a_condition_is_met_or_says_why_not(ask: Any, reason: str) -> None:
    assert ask(cell()) == reason


def test_rows_that_are_trained_on_are_not_held_out() -> None:
    assert (
        held_out(cell(task="modular")) == "the reference inputs of an algorithmic task include training rows"
    )


def test_numbers_to_regress_on_are_no_classes() -> None:
    regression = Signature(None, 4, 100, 50, 40, regression=True)  # type: ignore[arg-type]
    assert classes(2)(cell(regression)) == "needs 2 classes, the task is regression"


@pytest.mark.parametrize(
    ("features", "reason"), [(0, ""), (3, ""), (2, "4 class means need 3 features, the network has 2")]
)
def test_a_simplex_needs_one_dimension_less_than_it_has_corners(features: int, reason: str) -> None:
    assert simplex(cell(features=features)) == reason


def test_an_architecture_without_a_width_says_so() -> None:
    class Fixed:
        name = "fixed"

        def scaled(self, factor: float) -> Any:
            raise NotImplementedError("fixed has no scaling axis")

    assert has_width(Cell(Fixed(), None, SIGNATURE)) == "fixed has no scaling axis"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "imbalance"),
    [("digits[random_labels=true,subset=40]", 1.0), ("gaussian_mixture[classes=3]", 1.0)],
)
def test_the_imbalance_of_a_task_is_known_before_training(task: str, imbalance: float, tmp_path: Any) -> None:
    assert registry.resolve("task", task).signature(tmp_path).imbalance == pytest.approx(imbalance, abs=0.05)


def test_the_imbalance_is_that_of_the_training_rows(tmp_path: Any) -> None:
    task = registry.resolve("task", "digits")
    sizes = np.bincount(task.load(np.random.default_rng(0), tmp_path).train.targets.numpy())
    assert task.signature(tmp_path).imbalance == sizes.max() / sizes.min()
    assert math.isfinite(task.signature(tmp_path).imbalance)
