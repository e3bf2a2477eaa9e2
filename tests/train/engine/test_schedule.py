"""The sum of the learning rates of a run is that of the rates that its optimizer had."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.engine.test_loop import SMALL, made_up_splits, trained
from universality.plugin.rates import RateSchedule
from universality.plugin.spec import Recipe
from universality.train.engine.ensemble import Ensemble

shares = st.floats(0, 1)


@given(st.integers(0, 60), st.lists(shares, max_size=3), shares, st.floats(0.1, 2), st.integers(0, 70))
def test_the_sum_is_that_of_all_factors(
    steps: int, milestones: list[float], warmup: float, gamma: float, until: int
) -> None:
    recipe = Recipe(steps=steps, lr=0.1, milestones=tuple(milestones), warmup=warmup, gamma=gamma)
    schedule, until = RateSchedule(recipe), min(until, steps)
    slow = math.fsum(schedule.factor(step) for step in range(until))
    assert schedule.sum_until(until) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(steps=25, lr=0.2),
        Recipe(steps=25, lr=0.2, warmup=0.4, milestones=(0.6, 0.8), gamma=0.3),
        Recipe(steps=25, lr_over_stability=4.0, loss="mse", milestones=(0.0, 0.5)),
    ],
    ids=["constant", "warmup and milestones", "derived"],
)
def test_the_fact_is_the_sum_of_the_rates_that_were_used(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, step = [], Ensemble.step

    def noted(self: Ensemble) -> None:
        rates.append(float(self.optimizer.param_groups[0]["lr"]))
        step(self)

    monkeypatch.setattr(Ensemble, "step", noted)
    run = trained(SMALL, recipe, made_up_splits(side=3))
    assert len(rates) == recipe.steps
    assert run.facts["learning_rate_sum"] == pytest.approx(math.fsum(rates), rel=1e-12)


def test_the_sum_of_a_run_that_diverges_is_that_of_the_updates_it_made() -> None:
    run = trained("mlp[width=6]", Recipe(steps=600, lr=10.0, loss="mse"), made_up_splits())
    assert run.state == "diverged"
    assert run.facts["learning_rate_sum"] == 10.0 * len(run.series["train_loss"]) < 6000.0
