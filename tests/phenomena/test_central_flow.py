"""What is read of flows whose course is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.plugin import registry

registry.load_plugins()
STEPS = np.arange(80, 801, 40)


def flows(
    central: float = 0.1, gradient: float = 1.0, loss: float = 1.0, flow: float = 0.8, peak: float = 1.5
) -> FakeRun:
    """Gradient descent whose loss oscillates about 1 between 0.5 and 1.5, spikes early, and flows beside it."""
    ones = np.ones(len(STEPS))
    bounce = 1 + 0.5 * (-1.0) ** np.arange(800)
    bounce[:300] = 50.0
    series = {
        "central_distance": np.linspace(0, central, len(STEPS)),
        "gradient_distance": np.linspace(0, gradient, len(STEPS)),
        "central_loss": loss * ones,
        "gradient_loss": flow * ones,
        "central_sharpness": 10 * ones,
        "gradient_sharpness": np.linspace(8, 10 * peak, len(STEPS)),
        "second": 5 * ones,
        "threshold": 10 * ones,
    }
    return FakeRun(
        {f"flows.{k}": (STEPS, v) for k, v in series.items()} | {"train_loss": (np.arange(800), bounce)}
    )


def test_distances_are_compared_at_the_end() -> None:
    found = outcome("central_flow", "weights", flows(central=0.1, gradient=0.5))
    assert found.effect == pytest.approx(0.2)
    assert found.decided()


def test_the_mean_loss_is_that_of_the_second_half() -> None:
    found = outcome("central_flow", "loss", flows(loss=1.02))
    assert found.effect == pytest.approx(np.log(1.02))
    assert found.decided()


def test_without_an_edge_or_a_difference_nothing_is_decided() -> None:
    assert unmet(outcome("central_flow", "weights", flows(peak=1.1))) == [
        "sharpness of gradient flow over 2/lr"
    ]
    gate = "the same of gradient flow, or three times its own"
    assert unmet(outcome("central_flow", "loss", flows(flow=0.95))) == [gate]
    assert outcome("central_flow", "loss", flows(flow=0.95, loss=1.1)).decided(), "a wrong prediction is one"
