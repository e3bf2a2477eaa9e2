"""Edges of the catapult on the exact map of the curvature and the output."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.catapult import GRID


def mapped(
    a: float, b: float = 1e-5, *, steps: int = 300, constant: bool = False, scale: float = 1.0
) -> FakeRun:
    """a' = a + b (a - 4), b' = b (1 - a + b)^2; `constant` keeps a, as one layer does. The edges lie `scale` farther out."""
    a, first, losses = a / scale, a / scale, []
    for _ in range(steps):
        losses.append(b)
        a, b = (a, b * (1 - a) ** 2) if constant else (a + b * (a - 4), b * (1 - a + b) ** 2)
        if not b < 1e30:
            break
    done = len(losses) == steps
    end = a if done or constant else first
    given = {
        "train_loss": (np.arange(len(losses)), losses),
        "sharpness.value": ((0, steps), (first, end * scale)),
    }
    return FakeRun(given, facts={"lr": 1.0}, state="done" if done else "diverged")


def test_both_edges_are_found_and_curvature_ends_below_the_first() -> None:
    runs = {a: mapped(a) for a in GRID}
    assert outcome("catapult", "grows", runs).effect == pytest.approx(2.0, rel=0.01)
    assert outcome("catapult", "diverges", runs).effect == pytest.approx(4.0, rel=0.01)
    found = outcome("catapult", "flattens", runs)
    assert found.effect < 2
    assert found.criteria[0].met
    assert runs[4.1].state == "diverged"


def test_constant_curvature_has_no_catapult() -> None:
    runs = {a: mapped(a, constant=True) for a in GRID}
    assert outcome("catapult", "diverges", runs).effect == pytest.approx(math.sqrt(1.9 * 2.1))
    assert outcome("catapult", "flattens", runs).effect == pytest.approx(3.9)


def test_an_edge_elsewhere_is_told_where_it_is() -> None:
    """Loss that grows above 3."""
    runs = {a: mapped(a, scale=1.5) for a in GRID}
    assert outcome("catapult", "grows", runs).effect == pytest.approx(3.0, rel=0.02)


def test_rates_that_are_all_on_one_side_decide_nothing() -> None:
    below = {a: mapped(1.5) for a in GRID}
    assert unmet(outcome("catapult", "grows", below)) == ["rates below the first at which the loss grows"]
    assert unmet(outcome("catapult", "diverges", below)) == ["rates that do not"]
    above = {a: mapped(4.5) for a in GRID}
    assert unmet(outcome("catapult", "diverges", above)) == ["rates that converge"]
