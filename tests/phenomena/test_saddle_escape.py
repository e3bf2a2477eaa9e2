"""Saddle escape on courses of loss and rank that are drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.saddle_escape import SaddleEscape
from universality.plugin import Run, registry

registry.load_plugins()


def run(loss: Sequence[float], rank: Sequence[float]) -> FakeRun:
    steps = range(0, 10 * len(loss), 10)
    change = [0.0, *[1.0] * (len(loss) - 1)]
    series = {"accuracy.train_loss": loss, "ranks.weights": rank, "ranks.change": change}
    return FakeRun(given={name: (steps, values) for name, values in series.items()})


def found(claim: str, course: FakeRun) -> Any:
    return outcome("saddle_escape", claim, course)


def test_one_direction_after_another_is_present_and_the_rank_of_noise_is_not() -> None:
    stepwise = run([2.3, 2.3, 2.0, 1.6, 0.8, 0.1], [6.0, 3.0, 1.1, 1.3, 2.0, 2.8])
    noise = run([2.3, 2.3, 2.0, 1.6, 0.8, 0.1], [8.0, 8.0, 7.9, 7.8, 7.6, 7.4])
    for claim, effects in {"first": (1.1, 7.9), "grows": (1.7, -0.5)}.items():
        for course, effect, holds in zip((stepwise, noise), effects, (True, False), strict=True):
            result = found(claim, course)
            assert result.decided()
            assert result.effect == pytest.approx(effect)
            assert result.holds(SaddleEscape.claims[claim].bound) is holds
            assert result.details["step of the escape"] == 20
    assert found("first", stepwise).points["rank"].y == (1.1, 1.3, 2.0, 2.8)


@pytest.mark.parametrize(
    ("loss", "gate"),
    [
        ([2.3, 2.3, 2.3], "loss at that record, over the start"),  # never left
        ([2.3, 0.5, 0.1], "loss at that record, over the start"),  # left between two records
        ([2.3, 2.0, 1.9], "loss at the end over the start"),
    ],
)
def test_an_escape_that_was_not_seen_is_a_gate(loss: list[float], gate: str) -> None:
    assert gate in unmet(found("first", run(loss, [1.0] * 3)))


def test_weights_are_scaled_by_the_modifier() -> None:
    start = Run(registry.resolve("architecture", "cnn"), registry.resolve("task", "digits"), 0)
    made = SaddleEscape(scale=0.1).descent(start)
    assert str(registry.component(made.architecture)) == "cnn+init_scale[scale=0.1]"
