"""What the pilots measure, of trajectories whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pilots.fake_runs import FakeRun, outcome, split, unmet

pytestmark = pytest.mark.usefixtures("pilots")


# ------------------------------------------------------------------------------- progressive sharpening


def sharpened(values: np.ndarray, loss: np.ndarray) -> FakeRun:
    steps = np.arange(len(values))
    return FakeRun(
        {
            "sharpness.value": (steps, values),
            "sharpness.ratio": (steps, values / 100),
            "sharpness.converged": (steps, np.ones(len(values))),
            "accuracy.train_loss": (steps, loss),
        }
    )


def test_sharpness_is_followed_until_the_loss_is_a_tenth() -> None:
    # The loss is a tenth at record 5, where sharpness is 2 + 5 of 2.
    found = outcome(
        "progressive_sharpening", "rises", sharpened(2.0 + np.arange(11), 10.0 ** (-np.arange(11) / 5))
    )
    assert found.effect == pytest.approx(3.5)
    assert found.details["rank correlation"] == pytest.approx(1.0)
    assert found.decided()


def test_constant_sharpness_does_not_rise_and_a_fall_is_no_order() -> None:
    loss = np.linspace(1, 0.3, 11)
    flat = outcome("progressive_sharpening", "rises", sharpened(np.full(11, 3.0), loss))
    assert (flat.effect, flat.details["rank correlation"]) == (1.0, 0.0)
    spike = np.array([1, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.8, 1.6, 1.4])
    found = outcome("progressive_sharpening", "rises", sharpened(spike, loss))
    assert found.effect == 5.0
    assert not found.criteria[0].met


def test_sharpness_near_the_threshold_decides_nothing() -> None:
    found = outcome(
        "progressive_sharpening", "rises", sharpened(np.linspace(10, 90, 11), np.linspace(1, 0.3, 11))
    )
    assert unmet(found) == ["peak sharpness over the stability threshold"]


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


# ----------------------------------------------------------------------------------------- spectral bias


def fitted(times: list[int]) -> FakeRun:
    """Component k of six appears at step times[k]."""
    t = np.arange(128)[:, None] / 128
    waves = np.sin(2 * np.pi * t * np.arange(1, 7) + np.arange(6))
    outputs = {n: waves[:, [k for k in range(6) if n >= times[k]]].sum(1)[:, None] for n in range(0, 101, 5)}
    return FakeRun(arrays=outputs, data=split(2 * t - 1, waves.sum(1)[:, None]))


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
    assert unmet(found) == ["missing of the slowest component"]
