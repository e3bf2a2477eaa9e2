"""muP transfer on representations and losses that follow a known power of the width."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.mup_transfer import EARLY, SCALES, MupTransfer
from universality.plugin import registry
from universality.plugin.kit import scaling_axis
from universality.plugin.registry import component
from universality.plugin.runs import Run

registry.load_plugins()

RATES = [0.016 * 2.0**i for i in range(-3, 4)]


@dataclass
class Moved(FakeRun):
    """Every tap starts anywhere and moves by so much at every entry."""

    moves: dict[str, float] = field(default_factory=dict)
    start: np.ndarray = field(default_factory=lambda: np.random.default_rng(0).normal(size=(8, 3)))

    def steps(self, name: str) -> tuple[int, ...]:
        return 0, EARLY

    def array(self, name: str, step: int) -> np.ndarray:
        return self.start + (step > 0) * self.moves[name.rpartition(".")[2]] * np.sign(self.start)


def grown(mup: float, standard: float, hidden: float = 0.0) -> dict[tuple[str, float], Moved]:
    """Logits grow as these powers of the width, the one hidden layer as `hidden` in both."""
    return {
        (kind, s): Moved(
            facts={"taps": ["layer1"]}, moves={"layer1": 0.3 * s**hidden, "logits": 0.2 * s**power}
        )
        for kind, power in (("mup", mup), ("standard", standard))
        for s in SCALES
    }


@pytest.mark.parametrize(
    ("power", "holds"), [(0.0, True), (0.24, True), (0.26, False), (-0.5, False), (1.0, False)]
)
def test_the_steepest_slope_counts(power: float, holds: bool) -> None:
    found = outcome("mup_transfer", "coordinates", grown(power, 1.0, hidden=0.02))
    assert found.effect == pytest.approx(power or 0.02)
    assert found.details["standard:logits"] == pytest.approx(1.0)
    assert found.holds(MupTransfer.claims["coordinates"].bound) == holds


def test_the_control_judges_the_standard_parametrisation() -> None:
    found = outcome("mup_transfer", "coordinates", grown(0.0, 0.9), parametrisation="standard")
    assert found.effect == pytest.approx(0.9)
    assert found.decided()


def test_where_nothing_grows_there_is_nothing_to_mend() -> None:
    assert unmet(outcome("mup_transfer", "coordinates", grown(0.0, 0.2))) == ["growth with width, standard"]


def tuned(
    power: float, best: float = 0.016, diverge: float = math.inf, standard: float = -0.5
) -> dict[tuple[str, float, float], FakeRun]:
    """ln loss is a parabola in ln rate, whose vertex moves as this power of the width, and from twice the rate as
    `standard` in standard parametrisation."""

    def run(kind: str, s: float, lr: float) -> Any:
        if lr > diverge:
            return FakeRun(state="diverged")
        vertex = best * s**power if kind == "mup" else 2 * best * s**standard
        loss = math.exp(0.3 * math.log(lr / vertex) ** 2 - 1)
        return FakeRun({"train_loss": (np.arange(4), loss * np.array([1.5, 1.1, 0.9, 0.5]))})

    return {(kind, s, lr): run(kind, s, lr) for kind in ("mup", "standard") for s in SCALES for lr in RATES}


@pytest.mark.parametrize(
    ("power", "holds"), [(0.0, True), (-0.2, True), (0.2, True), (-0.3, False), (-0.5, False)]
)
def test_the_best_rate_moves_as_the_power(power: float, holds: bool) -> None:
    found = outcome("mup_transfer", "transfer", tuned(power))
    assert found.effect == pytest.approx(power, abs=1e-6)
    assert found.holds(MupTransfer.claims["transfer"].bound) == holds
    other = outcome("mup_transfer", "transfer", tuned(power), parametrisation="standard")
    assert other.effect == pytest.approx(-0.5, abs=1e-6)


@pytest.mark.parametrize(("standard", "decides"), [(-0.5, True), (-0.38, True), (-0.37, False), (0.0, False)])
def test_where_the_best_rate_stays_anyway_nothing_is_decided(standard: float, decides: bool) -> None:
    """1.5 octaves over 16 times the width are a power of -.375."""
    found = outcome("mup_transfer", "transfer", tuned(0.0, standard=standard))
    assert found.decided() == decides
    assert unmet(found) == ([] if decides else ["octaves by which it falls, standard"])


def test_rates_that_diverge_are_left_out() -> None:
    assert outcome("mup_transfer", "transfer", tuned(-0.2, diverge=0.1)).effect == pytest.approx(
        -0.2, abs=1e-6
    )
    assert unmet(outcome("mup_transfer", "transfer", tuned(0.0, diverge=0.01))) == [
        "rates that do not diverge"
    ]


def test_a_best_rate_beyond_the_grid_decides_nothing() -> None:
    assert unmet(outcome("mup_transfer", "transfer", tuned(-1.0)))[0].startswith(
        "rates on the side of the best"
    )


def test_networks_of_the_cells_width_are_the_base() -> None:
    start = Run(registry.resolve("architecture", "mlp[width=8]"), registry.resolve("task", "digits"), 0)
    early, grid = MupTransfer().early(start), MupTransfer(parametrisation="standard").grid(start)
    assert [scaling_axis(early["mup", s].architecture)[1] for s in SCALES] == [8, 32, 128]
    assert "mup[base=8]" in str(component(early["mup", 16.0].architecture))
    assert {run.recipe.steps for run in early.values()} == {EARLY}
    assert all(
        ("mup" in str(component(run.architecture))) == (kind == "mup") for (kind, *_), run in grid.items()
    )
    assert sorted({lr for *_, lr in grid}) == pytest.approx(RATES)
