"""What is said of losses that follow a law, end at a floor, or fall otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.data_scaling import DataScaling
from universality.plugin import registry
from universality.plugin.phenomenon import Cell
from universality.plugin.runs import Run

registry.load_plugins()

BOUND = DataScaling.claims["extrapolates"].bound
SIZES = [round(32 * 2 ** (k / 2)) for k in range(11)]


def swept(law: Any, noise: float = 0.01, falling: tuple[float, ...] = ()) -> dict[Any, FakeRun]:
    """Of five seeds and two rates, of which the larger is worse by half; the loss rises again after its least, but for
    that of one size at the rates in `falling`."""
    rng = np.random.default_rng(0)
    runs: dict[Any, FakeRun] = {}
    for seed in range(5):
        for n in SIZES:
            loss = law(n) * np.exp(noise * rng.standard_normal())
            for rate, factor in ((3e-3, 1.5), (1e-3, 1.0)):
                least_last = rate in falling and n == SIZES[-1]
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
    assert found.points["law"].y == pytest.approx([5 * n**-exponent for n in SIZES], rel=0.05)
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


@pytest.mark.parametrize(("falling", "decided"), [((3e-3,), True), ((1e-3,), True), ((3e-3, 1e-3), False)])
def test_a_loss_that_still_falls_at_every_rate_is_one_of_the_budget(
    falling: tuple[float, ...], decided: bool
) -> None:
    found = outcome("data_scaling", "extrapolates", swept(lambda n: 5 * n**-0.5, falling=falling))
    assert found.decided() is decided
    assert unmet(found) == ([] if decided else ["sizes whose loss is least at the end, at every rate"])


def test_sets_grow_by_the_root_of_two_and_need_the_rows() -> None:
    network, digits = registry.resolve("architecture", "mlp"), registry.resolve("task", "digits")
    runs = DataScaling.subsets.method(DataScaling(), Run(network, digits, 0))
    assert sorted({rows for rows, _ in runs}) == SIZES
    assert SIZES[-1] == 1024
    for address, rows, reason in (
        ("digits", 1200, ""),
        ("digits[subset=500]", 500, "chooses its own subsets"),
        ("digits", 1000, "needs 1024 training rows, the task has 1000"),
    ):
        signature: Any = SimpleNamespace(train_rows=rows, outputs=10, regression=False)
        cell = Cell(network, registry.resolve("task", address), signature)
        assert DataScaling().applies(cell) == reason
