"""R of sharpness whose course is known, where it is followed to, and what the claim asks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.progressive_sharpening import ProgressiveSharpening
from universality.plan.groups import groups_of
from universality.plugin import registry
from universality.plugin.phenomenon import Cell, Cross
from universality.plugin.registry import component
from universality.plugin.task import Signature

registry.load_plugins()


def sharpened(values: np.ndarray, loss: np.ndarray, threshold: float = 100.0) -> FakeRun:
    steps = np.arange(len(values))
    return FakeRun(
        {
            "sharpness.value": (steps, values),
            "sharpness.ratio": (steps, values / threshold),
            "sharpness.converged": (steps, np.ones(len(values))),
            "accuracy.train_loss": (steps, loss),
        }
    )


def test_sharpness_is_followed_until_the_loss_is_a_tenth() -> None:
    # The loss is a tenth at record 5, where sharpness is 2 + 5 of 2.
    course = sharpened(2.0 + np.arange(11), 10.0 ** (-np.arange(11) / 5))
    found = outcome("progressive_sharpening", "rises", course)
    assert found.effect == pytest.approx(3.5)
    assert found.details["rank correlation"] == pytest.approx(1.0)
    assert found.decided()


def test_sharpness_is_followed_until_half_of_the_threshold() -> None:
    """Beyond it is another phenomenon: values near 2/lr oscillate, and no longer tell what the flow would do."""
    values = np.array([10, 20, 30, 40, 55, 100, 101, 90, 110, 95, 100])
    found = outcome("progressive_sharpening", "rises", sharpened(values, np.linspace(1, 0.3, 11)))
    assert found.effect == pytest.approx(5.5)
    assert found.points["course"].y == pytest.approx([1, 2, 3, 4, 5.5])
    assert found.decided()


def test_constant_sharpness_does_not_rise_and_a_spike_is_no_rise() -> None:
    loss = np.linspace(1, 0.3, 11)
    flat = outcome("progressive_sharpening", "rises", sharpened(np.full(11, 3.0), loss))
    assert (flat.effect, flat.details["rank correlation"]) == (1.0, 0.0)
    assert not ProgressiveSharpening.claims["rises"].bound.holds(flat.effect)
    spike = np.array([1, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.8, 1.6, 1.4])
    found = outcome("progressive_sharpening", "rises", sharpened(spike, loss))
    assert found.effect == 5.0
    assert not found.criteria[0].met


def test_a_low_ratio_of_a_run_that_the_budget_ended_is_a_lower_bound() -> None:
    """Whatever sharpness did by then: it might have risen while the loss fell to a tenth. A high ratio stays one."""
    cut, whole = np.linspace(1, 0.3, 11), np.linspace(1, 0.1, 11)
    low, high = np.linspace(10, 12, 11), np.linspace(10, 14, 11)
    assert outcome("progressive_sharpening", "rises", sharpened(low, cut)).censored
    assert not outcome("progressive_sharpening", "rises", sharpened(low, whole)).censored
    assert not outcome("progressive_sharpening", "rises", sharpened(high, cut)).censored
    assert not outcome("progressive_sharpening", "rises", sharpened(low, cut, threshold=24)).censored


def test_a_loss_that_does_not_fall_decides_nothing() -> None:
    found = outcome("progressive_sharpening", "rises", sharpened(np.full(11, 3.0), np.linspace(1, 0.9, 11)))
    assert unmet(found) == ["loss at the end over the start"]


def test_the_lazy_claim_is_about_a_run_under_a_large_output_scale() -> None:
    for phenomenon in (ProgressiveSharpening(), ProgressiveSharpening(lazy=0.3)):
        architecture, task = (
            registry.resolve("architecture", "mlp[width=8]"),
            registry.resolve("task", "digits"),
        )
        cell = Cell(architecture, task, Signature(None, 10, 100, 100, 100))
        groups = groups_of(phenomenon, cell, Cross(range(1), []))
        ((request,),) = [g.runs.values() for g in groups if g.bears_on(phenomenon.claims["stays"])]
        (modifier,) = component(request.architecture).modifiers or ()
        assert (modifier.name, dict(modifier.params)["alpha"], dict(modifier.params)["centred"]) == (
            "output_scale", phenomenon.lazy, True,
        )  # fmt: skip


def test_sharpness_of_the_lazy_limit_is_followed_likewise() -> None:
    loss = np.linspace(1, 0.3, 11)
    found = outcome("progressive_sharpening", "stays", sharpened(np.linspace(3, 3.15, 11), loss))
    assert found.effect == pytest.approx(1.05)
    assert found.points["course"].y == pytest.approx(np.linspace(1, 1.05, 11))
    assert ProgressiveSharpening.claims["stays"].bound.holds(found.effect)
    rich = outcome("progressive_sharpening", "stays", sharpened(np.linspace(3, 9, 11), loss))
    assert rich.effect == pytest.approx(3.0)
    assert not ProgressiveSharpening.claims["stays"].bound.holds(rich.effect)
