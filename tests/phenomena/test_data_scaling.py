"""What is said of losses that follow a law, end at a floor, or fall otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.data_scaling import ROWS, DataScaling
from universality.plugin import registry
from universality.plugin.phenomenon import Cell
from universality.plugin.runs import Run

registry.load_plugins()

BOUND = DataScaling.claims["extrapolates"].bound


def swept(law: Any, noise: float = 0.01, falling: tuple[float, ...] = ()) -> dict[Any, FakeRun]:
    """Of five seeds and two rates, of which the larger is worse by half; the loss rises again after its least, but for
    that of one size at the rates in `falling`."""
    rng = np.random.default_rng(0)
    runs: dict[Any, FakeRun] = {}
    for seed in range(5):
        for n in ROWS:
            loss = law(n) * np.exp(noise * rng.standard_normal())
            for rate, factor in ((3e-3, 1.5), (1e-3, 1.0)):
                least_last = rate in falling and n == ROWS[-1]
                values = factor * loss * np.array([3.0, 1.2, 1.0] if least_last else [3.0, 1.0, 1.2])
                given = {"accuracy.validation_loss": ((0, 1, 2), values)}
                runs[seed, n, rate] = FakeRun(given, facts={"outputs": 10})
    return runs


@pytest.mark.parametrize("exponent", [0.4, 0.8])
def test_a_power_law_extrapolates_and_nothing_else_does(exponent: float) -> None:
    found = outcome("data_scaling", "extrapolates", swept(lambda n: 5 * n**-exponent))
    assert found.effect == pytest.approx(1, abs=0.05)
    assert found.details["exponent"] == pytest.approx(exponent, abs=0.02)
    assert found.decided()
    assert all(check.met for check in found.criteria)
    assert found.points["law"].y == pytest.approx([5 * n**-exponent for n in ROWS], rel=0.05)
    assert found.points["largest"].x == (found.points["law"].y[-1],)
    assert found.points["largest"].y == pytest.approx(found.points["loss"].y[-1:])


def test_a_floor_is_no_power_law() -> None:
    found = outcome("data_scaling", "extrapolates", swept(lambda n: 0.4 + 30 / n))
    assert found.decided()
    assert not BOUND.holds(found.effect)


@pytest.mark.parametrize("law", [lambda n: 1.5 * np.exp(-n / 300), lambda n: 2 - 0.25 * np.log(n)])
def test_exponentials_and_logarithms_are_none(law: Any) -> None:
    found = outcome("data_scaling", "extrapolates", swept(law))
    assert found.decided()
    assert not (BOUND.holds(found.effect) and all(check.met for check in found.criteria))


def test_a_smallest_set_that_teaches_nothing_lies_before_the_knee() -> None:
    found = outcome("data_scaling", "extrapolates", swept(lambda n: 2.3))
    assert found.effect is None
    assert unmet(found) == ["loss of the smallest set over that of a guess"]


@pytest.mark.parametrize(("falling", "decided"), [((3e-3,), True), ((1e-3,), False), ((3e-3, 1e-3), False)])
def test_a_loss_that_still_falls_at_the_best_rate_is_one_of_the_budget(
    falling: tuple[float, ...], decided: bool
) -> None:
    found = outcome("data_scaling", "extrapolates", swept(lambda n: 5 * n**-0.5, falling=falling))
    assert found.decided() is decided
    late = "what the last quarter of updates takes off ln L, at most of any size"
    assert unmet(found) == ([] if decided else [late])


def test_a_loss_that_ends_level_but_for_noise_is_decided() -> None:
    runs = swept(lambda n: 5 * n**-0.5)
    for run in runs.values():
        _, values = run.given["accuracy.validation_loss"]
        run.given = {"accuracy.validation_loss": ((0, 1, 2, 3), [*values[:2], values[1], 0.97 * values[1]])}
    assert outcome("data_scaling", "extrapolates", runs).decided()


def test_sets_grow_by_the_root_of_two_and_need_the_rows() -> None:
    network, digits = registry.resolve("architecture", "mlp"), registry.resolve("task", "digits")
    runs = DataScaling.subsets.method(DataScaling(), Run(network, digits, 0))
    assert sorted({rows for rows, _ in runs}) == ROWS == sorted(ROWS)
    assert (ROWS[0], ROWS[-1], len(ROWS)) == (32, 1024, 11)
    # 40 epochs of batches of 32, and 150 updates.
    assert {rows: run.recipe.steps for (rows, _), run in runs.items() if run.recipe} == {
        rows: 150 + round(rows * 40 / 32) for rows in ROWS
    }
    for address, rows, imbalance, reason in (
        ("digits", 1200, 1.1, ""),
        ("digits[subset=500]", 500, 1.0, "chooses its own subsets"),
        ("digits", 1000, 1.1, "needs 1024 training rows, the task has 1000"),
        # A subset draws classes alike: trained on others than are asked.
        (
            "adult",
            2000,
            3.0,
            "the largest class has 3 times the rows of the smallest, at most 1.5 are asked for",
        ),
    ):
        signature: Any = SimpleNamespace(train_rows=rows, outputs=10, regression=False, imbalance=imbalance)
        cell = Cell(network, registry.resolve("task", address), signature)
        assert DataScaling().applies(cell) == reason
