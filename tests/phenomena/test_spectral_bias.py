"""Times at which waves are fitted, of outputs in which they appear at known steps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.spectral_bias import SpectralBias
from universality.plugin import registry
from universality.plugin.phenomenon import Cell

registry.load_plugins()

SINES = SimpleNamespace(task=SimpleNamespace(params=(("waves", 6),)))


def fitted(times: list[int]) -> FakeRun:
    """Component k of six appears at step times[k]."""
    t = np.arange(128)[:, None] / 128
    waves = np.sin(2 * np.pi * t * np.arange(1, 7) + np.arange(6))
    outputs = {n: waves[:, [k for k in range(6) if n >= times[k]]].sum(1)[:, None] for n in range(0, 101, 5)}
    return FakeRun(arrays=outputs, data=split(2 * t - 1, waves.sum(1)[:, None]), spec=SINES)


def test_times_are_those_at_which_components_appear() -> None:
    run = fitted([5, 10, 20, 35, 50, 90])
    found = outcome("spectral_bias", "order", run)
    assert found.effect == pytest.approx(1.0)
    assert found.points["times"].y == (5, 10, 20, 35, 50, 90)
    assert outcome("spectral_bias", "delay", run).effect == pytest.approx(18.0)


def test_components_at_once_or_from_above_are_no_bias() -> None:
    assert outcome("spectral_bias", "order", fitted([30] * 6)).effect == 0.0
    assert outcome("spectral_bias", "order", fitted([90, 50, 35, 20, 10, 5])).effect == pytest.approx(-1.0)
    assert outcome("spectral_bias", "delay", fitted([30] * 6)).effect == 1.0


def test_a_component_that_is_never_fitted_decides_nothing() -> None:
    found = outcome("spectral_bias", "order", fitted([5, 10, 20, 35, 50, 1000]))
    assert found.effect is None
    assert unmet(found) == ["least that was missing, of the slowest component"]


def test_what_comes_back_counts_from_when_it_was_first_there() -> None:
    run = fitted([5, 10, 20, 35, 50, 90])
    outputs = dict(run.arrays)
    outputs[40] = outputs[0]
    again = FakeRun(arrays=outputs, data=run.data, spec=SINES)
    assert outcome("spectral_bias", "delay", again).effect == pytest.approx(18.0)


def test_it_is_asked_of_targets_with_known_frequencies() -> None:
    network = registry.resolve("architecture", "mlp")
    for name, reason in (("sines", ""), ("digits", "needs a target whose frequencies are known")):
        task = registry.resolve("task", name)
        assert SpectralBias().applies(Cell(network, task, None)) == reason
