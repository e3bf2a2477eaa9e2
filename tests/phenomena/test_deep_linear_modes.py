"""Modes of linear networks on maps whose modes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet

S = np.array([6.0, 4.0, 2.5, 1.5])


def linear(strength) -> FakeRun:
    """A network whose mode k has strength(k, t); the singular vectors are random rotations."""
    rng = np.random.default_rng(0)
    U, V, Q = (np.linalg.qr(rng.standard_normal((n, 4)))[0] for n in (4, 4, 32))
    x = math.sqrt(32) * Q
    steps = range(0, 1400, 4)
    maps = {n: (U @ np.diag(S * [strength(k, 0.005 * n) for k in range(4)]) @ V.T).T for n in steps}
    return FakeRun(arrays=maps, data=split(x, x @ (U @ np.diag(S) @ V.T).T), facts={"lr": 0.005})


def test_logistic_modes_rise_as_predicted_and_in_order() -> None:
    run = linear(lambda k, t: 1 / (1 + math.exp(-2 * S[k] * (t - 8 / S[k]))))
    found = outcome("deep_linear_modes", "rise", run)
    assert found.effect < 1e-4
    shapes = [points for name, points in found.points.items() if name.startswith("shape:")]
    assert len(shapes) == 4
    for points in shapes:
        np.testing.assert_allclose(points.y, 1 / (1 + np.exp(-np.array(points.x))), atol=1e-4)
    found = outcome("deep_linear_modes", "order", run)
    assert found.effect == pytest.approx(1.0)
    assert {name.partition(":")[0] for name in found.points} == {"course"}


def test_modes_of_one_layer_rise_in_ln_9() -> None:
    # Exponentials of one rate: the ratio to ln 81 / 2s is s, the farthest from 1 is 6.
    found = outcome("deep_linear_modes", "rise", linear(lambda k, t: 1 - math.exp(-t)))
    assert found.effect == pytest.approx(5.0, rel=1e-2)


def test_modes_may_come_in_the_other_order() -> None:
    reverse = linear(lambda k, t: 1 / (1 + math.exp(-2 * S[k] * (t + k - 4))))
    assert outcome("deep_linear_modes", "order", reverse).effect == pytest.approx(-1.0)


@pytest.mark.parametrize("claim", ["rise", "order"])
def test_a_mode_that_is_not_learnt_decides_nothing(claim: str) -> None:
    found = outcome("deep_linear_modes", claim, linear(lambda k, t: 0.5))
    assert found.effect is None
    assert unmet(found) == ["strength that the weakest mode reaches"]
