"""Function agreement on answers whose agreement is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.function_agreement import FAIR, FunctionAgreement
from universality.plugin import Run, registry

registry.load_plugins()
ROWS, CLASSES = 512, 10
LABELS = np.arange(ROWS) % CLASSES
RNG = np.random.default_rng(0)


class Stored(FakeRun):
    """The run of a probe that stores answers, and no labels."""

    def steps(self, name: str) -> tuple[int, ...]:
        return () if name == "taps.labels" else super().steps(name)


def erring(share: float = 0.2) -> np.ndarray:
    return np.where(RNG.random(ROWS) < share, (LABELS + RNG.integers(1, CLASSES, ROWS)) % CLASSES, LABELS)


def run(answers: np.ndarray, train: float = 1.0, random: bool = False) -> FakeRun:
    task = SimpleNamespace(params=(("random_labels", random),))
    spec: Any = SimpleNamespace(recipe=SimpleNamespace(steps=600), task=task)
    right = float((answers == LABELS).mean())
    series = {f"accuracy.{k}": ([0, 600], [0.1, v]) for k, v in (("train", train), ("validation", right))}
    data = split(np.zeros((ROWS, 1), np.float32), LABELS)
    return Stored(given=series, arrays={600: np.eye(CLASSES)[answers]}, data=data, spec=spec)


def found(claim: str, a: FakeRun, b: FakeRun) -> Any:
    return outcome("function_agreement", claim, {"a": a, "b": b})


@pytest.mark.parametrize("claim", ["errors_seeds", "answers_seeds"])
def test_networks_that_copy_half_of_their_answers_agree_and_independent_ones_do_not(claim: str) -> None:
    bound = FunctionAgreement.claims[claim].bound
    a, b = erring(), erring()
    half = np.where(np.arange(ROWS) // CLASSES % 2 == 0, a, b)
    copied = found(claim, run(a), run(half))
    assert copied.decided()
    assert copied.effect > 0.4
    assert copied.holds(bound)
    independent = found(claim, run(erring(0.4)), run(erring(0.4)))
    assert independent.decided()
    assert independent.effect < FAIR
    assert not independent.holds(bound)


def test_shared_errors_with_other_answers_are_no_agreement_of_answers() -> None:
    a = erring(0.4)
    b = np.where(a == LABELS, LABELS, (LABELS + RNG.integers(1, CLASSES, ROWS)) % CLASSES)
    assert found("errors_seeds", run(a), run(b)).effect == 1
    assert found("answers_seeds", run(a), run(b)).effect == pytest.approx(0, abs=0.15)


def test_what_cannot_be_told_is_a_gate() -> None:
    assert unmet(found("errors_seeds", run(erring(), 0.8), run(erring()))) == [
        "training accuracy of the weaker"
    ]
    assert "errors of the better" in unmet(found("errors_seeds", run(LABELS), run(erring())))
    a = np.where(np.arange(ROWS) < 20, (LABELS + 1) % CLASSES, LABELS)
    b = np.where(np.arange(ROWS) >= ROWS - 20, (LABELS + 1) % CLASSES, LABELS)
    assert "agreement beyond chance is defined" in unmet(found("answers_seeds", run(a), run(b)))
    few = np.where(np.arange(ROWS) < 20, (LABELS + 1 + np.arange(ROWS) // CLASSES) % CLASSES, LABELS)
    few = np.where(LABELS < 5, few, LABELS)
    assert "inputs that can be compared" in unmet(found("answers_seeds", run(few), run(few)))
    one_way = np.where(LABELS == 0, 1, LABELS)
    assert "agreement beyond chance is defined" in unmet(found("answers_seeds", run(one_way), run(one_way)))


@pytest.mark.parametrize("claim", ["errors_seeds", "answers_seeds"])
def test_networks_that_are_right_less_often_than_one_constant_answer_decide_nothing(claim: str) -> None:
    gate = "validation accuracy of the weaker over the share of the commonest class"
    a, b = erring(0.95), erring(0.5)
    assert unmet(found(claim, run(a), run(b))) == [gate]
    assert found(claim, run(a, random=True), run(b, random=True)).decided()
    assert found(claim, run(erring(0.8)), run(b)).decided()  # right on a fifth, where a class has a tenth


@pytest.mark.parametrize("labels", ["true", "random"])
def test_networks_of_two_architectures_see_other_rows_and_labels(labels: Any) -> None:
    task = registry.resolve("task", "digits[subset=100]")
    a, b = (Run(registry.resolve("architecture", name), task, 3) for name in ("mlp", "cnn"))
    runs = FunctionAgreement(labels=labels).architectures(a, b)
    assert {key: r.seed for key, r in runs.items()} == {"a": 3, "b": 4}
    assert all(r.task.random_labels is (labels == "random") for r in runs.values())
