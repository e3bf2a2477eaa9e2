"""What the pilots measure, of trajectories whose answer is known."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.pilots.fake_runs import FakeRun, outcome, split, unmet
from universality.plugin import registry

pytestmark = pytest.mark.usefixtures("pilots")


# ------------------------------------------------------------------------------------------- lazy to rich


def moved(power: float, size: float = 1.0) -> dict[float, FakeRun]:
    """Runs whose weights and kernel move as alpha^power by the time that all have one loss."""
    steps, runs = np.arange(5), {}
    for alpha in (0.1, 1.0, 10.0, 30.0, 100.0):
        # At alpha = 0.1 the common loss 0.5 is reached two records earlier.
        loss = np.array([1.0, 0.8, 0.5, 0.4, 0.3]) if alpha == 0.1 else np.array([1.0, 0.9, 0.8, 0.7, 0.5])
        change = size * alpha**power * np.arange(5) / (2 if alpha == 0.1 else 4)
        runs[alpha] = FakeRun(
            {
                "accuracy.train_loss": (steps, loss),
                "displacement.relative": (steps, change),
                "tangent_kernel[rows=24].change": (steps, change),
                "tangent_kernel[rows=24].alignment": (steps, 0.1 + 0.05 * steps),
            }
        )
    return runs


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0])
@pytest.mark.parametrize("claim", ["weights", "kernel"])
def test_the_slope_over_lazy_scales_is_the_power(power: float, claim: str) -> None:
    found = outcome("lazy_rich", claim, moved(power, size=0.1))
    assert found.effect == pytest.approx(power, abs=1e-9)
    assert found.details["alpha = 100"] == pytest.approx(0.1 * 100**power)


def test_the_rich_kernel_is_read_at_the_common_loss() -> None:
    found = outcome("lazy_rich", "rich", moved(-1.0))
    assert found.effect == pytest.approx(10.0)  # at record 2, not 20 at the end
    assert found.points["alignment"].y == pytest.approx([3.0] * 5)  # 0.1 to 0.3


def test_a_kernel_that_stays_decides_nothing() -> None:
    for claim in ("kernel", "rich"):
        found = outcome("lazy_rich", claim, moved(0.0, size=0.0))
        assert found.effect is None
        assert len(unmet(found)) == 1


# ------------------------------------------------------------------------------- modes of linear networks

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
    assert outcome("linear_modes", "rise", run).effect < 1e-4
    found = outcome("linear_modes", "order", run)
    assert found.effect == pytest.approx(1.0)
    assert {name.partition(":")[0] for name in found.points} == {"course"}


def test_modes_of_one_layer_rise_in_ln_9_and_may_come_in_the_other_order() -> None:
    # Exponentials of one rate: the ratio to ln 81 / 2s is s, the farthest from 1 is 6.
    found = outcome("linear_modes", "rise", linear(lambda k, t: 1 - math.exp(-t)))
    assert found.effect == pytest.approx(5.0, rel=1e-2)
    reverse = linear(lambda k, t: 1 / (1 + math.exp(-2 * S[k] * (t - 1 - k_late(k)))))
    assert outcome("linear_modes", "order", reverse).effect == pytest.approx(-1.0)


def k_late(k: int) -> float:
    return 3 - k


def test_a_mode_that_is_not_learnt_decides_nothing() -> None:
    found = outcome("linear_modes", "rise", linear(lambda k, t: 0.5))
    assert found.effect is None
    assert unmet(found) == ["strength that the weakest mode reaches"]


# ------------------------------------------------------------------------------------------ conservation


def drifting(power: float) -> dict[float, FakeRun]:
    loss = ((0, 1), (1.0, 0.1))
    return {
        lr: FakeRun({"balance.drift": ((0, 1), (0.0, lr**power)), "accuracy.train_loss": loss})
        for lr in (0.01, 0.003, 0.001)
    }


@pytest.mark.parametrize("power", [1.0, 2.0, 0.0])
def test_the_order_of_the_drift_is_its_power(power: float) -> None:
    assert outcome("conservation", "order", drifting(power)).effect == pytest.approx(power, abs=1e-9)


def test_a_large_drift_speaks_against_it() -> None:
    found = outcome("conservation", "order", drifting(0.0))
    assert [c.met for c in found.criteria] == [False]


def test_the_decay_is_compared_as_a_whole_not_along_the_start_alone() -> None:
    """Q(t) = c Q0 + r with r orthogonal to Q0 is off by |r| however exact its projection."""
    rate, steps = 0.001, np.arange(0, 3001, 150)
    c = np.exp(-2 * 0.3 * rate * steps)
    spec = SimpleNamespace(recipe=SimpleNamespace(lr=rate))
    for beside in (0.0, 0.02):
        drift = np.sqrt((1 - c) ** 2 + beside**2)
        run = FakeRun({"balance.drift": (steps, drift), "balance.decayed": (steps, c)}, spec=spec)
        assert outcome("conservation", "decays", run).effect == pytest.approx(beside, abs=1e-7)


# ----------------------------------------------------------------------------------------- eigenlearning


def kernel_regression():
    return sys.modules[registry.plugin_class("phenomenon", "eigenlearning").__module__]


def theory(*arguments):
    return kernel_regression().predicted(*arguments)


def test_rows_that_say_nothing_of_others_are_learnt_one_by_one() -> None:
    """K = 1 has a flat spectrum: what is drawn is known, the rest is not."""
    Y, rng = np.random.default_rng(0).choice([-1.0, 1.0], (64, 1)), np.random.default_rng(1)
    for n in (8, 48):
        error = kernel_regression().measured(np.eye(64), Y, n, 1e-9, rng)
        assert error == pytest.approx(1 - n / 64)
        assert error == pytest.approx(theory(np.full(64, 1 / 64), np.full(64, 1 / 64), n, 1e-12), rel=1e-6)


@pytest.mark.parametrize("n", [10, 50, 90])
def test_a_flat_spectrum_is_learnt_in_proportion(n: int) -> None:
    """Equal eigenvalues, no ridge: L_i = n / M, so that the error is (1 - n/M) |v|^2 (Simon et al. 2023)."""
    power = np.random.default_rng(0).uniform(size=100)
    assert theory(np.full(100, 0.3), power, n, 1e-12) == pytest.approx((1 - n / 100) * power.sum(), rel=1e-6)


def test_a_large_ridge_learns_nothing_and_one_mode_is_solved_by_hand() -> None:
    power = np.array([1.0, 2.0])
    assert theory(np.array([1.0, 0.5]), power, 4, 1e9) == pytest.approx(3.0, rel=1e-6)
    # One mode of eigenvalue 1, n = 2, ridge 1: 1 / (1 + k) + 1 / k = 2 gives k = 1 / sqrt(2).
    L = 1 / (1 + 1 / math.sqrt(2))
    assert theory(np.ones(1), np.ones(1), 2, 1.0) == pytest.approx(2 / (2 - L**2) * (1 - L) ** 2)
