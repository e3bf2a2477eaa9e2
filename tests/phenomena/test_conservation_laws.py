"""Drift and decay of the balance on series that are made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.conservation_laws import RATES


def drifting(power: float, loss: float = 0.1) -> dict[float, FakeRun]:
    end = ((0, 1), (1.0, loss))
    return {
        lr: FakeRun({"balance.drift": ((0, 1), (0.0, lr**power)), "accuracy.train_loss": end}) for lr in RATES
    }


@pytest.mark.parametrize("power", [1.0, 2.0, 0.0])
def test_the_order_of_the_drift_is_its_power(power: float) -> None:
    assert outcome("conservation_laws", "order", drifting(power)).effect == pytest.approx(power, abs=1e-9)


def test_a_large_drift_speaks_against_it_and_nothing_learnt_decides_nothing() -> None:
    assert [c.met for c in outcome("conservation_laws", "order", drifting(0.0)).criteria] == [False]
    assert unmet(outcome("conservation_laws", "order", drifting(1.0, loss=0.9)))


def test_the_decay_is_compared_as_a_whole_not_along_the_start_alone() -> None:
    """Q(t) = c Q0 + r with r orthogonal to Q0 is off by |r| however exact its projection."""
    rate, steps = 0.001, np.arange(0, 3001, 150)
    c = np.exp(-2 * 0.3 * rate * steps)
    spec = SimpleNamespace(recipe=SimpleNamespace(lr=rate))
    for beside in (0.0, 0.02):
        drift = np.sqrt((1 - c) ** 2 + beside**2)
        run = FakeRun({"balance.drift": (steps, drift), "balance.decayed": (steps, c)}, spec=spec)
        assert outcome("conservation_laws", "decays", run).effect == pytest.approx(beside, abs=1e-7)
