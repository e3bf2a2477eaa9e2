"""Pilots with a closed form, trained and measured from suite to outcome in a small setting; and all of them, slowly."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from universality.commands.run import Finished, run
from universality.judge.decide import CellVerdict
from universality.plugin.outcome import Outcome

HERE = Path(__file__).parent
ALL = tomllib.loads((HERE / "pilots.toml").read_text())["cross"]

EXACT = """
name = "exact"
controls = false

[[cross]]
phenomena = ["linear_modes"]
architectures = ["mlp[width=8,depth=1,activation=identity,bias=false]+init_scale[scale=0.01]"]
tasks = ["whitened"]
seeds = 1

[[cross]]
phenomena = ["conservation[time=0.5]"]
architectures = ["mlp[width=6,depth=2,activation=identity,bias=false]", "mlp[width=8,depth=2]"]
tasks = ["whitened[top=1.0]"]
seeds = 1

[[cross]]
phenomena = ["eigenlearning"]
architectures = ["mlp[depth=0,bias=false]"]
tasks = ["power_law"]
seeds = 1
"""


def finished(suite: str, folder: Path) -> Finished:
    file = folder / "suite.toml"
    file.write_text(suite)
    result = run(suite=str(file), results=folder, device="cpu", workers=0, plugins=[HERE / "plugins"])
    assert isinstance(result, Finished)
    assert not result.failed
    assert not result.unmeasured
    return result


@pytest.fixture(scope="module")
def exact(pilots: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Outcome]]:
    """The outcomes of every claim, of one seed in all cells."""
    outcomes: dict[str, list[Outcome]] = {}
    for record in finished(EXACT, tmp_path_factory.mktemp("exact")).results.records:
        for group in record.groups:
            assert group.outcome is not None, group.problem
            outcomes.setdefault(f"{record.phenomenon}.{record.claim_name}", []).append(group.outcome)
    return outcomes


def pairs(outcome: Outcome, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    points = outcome.points or {}
    return np.array(points[x].y), np.array(points[y].y)


def test_modes_are_logistic_in_time_and_come_in_order(exact: Mapping[str, list[Outcome]]) -> None:
    for outcome in exact["linear_modes.rise"]:
        assert outcome.effect < 0.05
        shapes = {name: points for name, points in outcome.points.items() if name.startswith("shape:")}
        assert set(shapes) == {f"shape:s = {6 / 1.5**k:.2g}" for k in range(4)}
        for points in shapes.values():
            law = 1 / (1 + np.exp(-np.array(points.x)))
            np.testing.assert_allclose(points.y, law, atol=0.02)
    assert [outcome.effect for outcome in exact["linear_modes.order"]] == pytest.approx([1])


def test_balance_is_broken_in_proportion_to_the_step(exact: Mapping[str, list[Outcome]]) -> None:
    assert len(exact["conservation.order"]) == 2  # linear layers and ReLUs
    for outcome in exact["conservation.order"]:
        assert outcome.effect == pytest.approx(1, abs=0.05)
        drift, theory = pairs(outcome, "drift", "theory")
        np.testing.assert_allclose(drift, theory, rtol=0.1)


def test_balance_decays_at_twice_the_rate_of_weights(exact: Mapping[str, list[Outcome]]) -> None:
    for outcome in exact["conservation.decays"]:
        assert outcome.effect < 2e-3
        left, theory = pairs(outcome, "left", "theory")
        assert theory[-1] == pytest.approx(math.exp(-2 * 0.3 * 0.5))
        np.testing.assert_allclose(left, theory, atol=2e-3)


def test_the_learning_curve_follows_from_the_spectrum(exact: Mapping[str, list[Outcome]]) -> None:
    for outcome in exact["eigenlearning.curve"]:
        measured, theory = pairs(outcome, "measured", "theory")
        assert measured[-1] < 0.5 * measured[0]
        assert outcome.effect == pytest.approx(np.median(np.abs(np.log(measured / theory))))
        assert outcome.effect < 0.10


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted({cross["phenomena"][0] for cross in ALL}))
def test_controls_come_out_as_they_must(pilots: Path, tmp_path: Path, name: str) -> None:
    """Over five seeds; the positive ones present, the negative ones absent."""
    cross = next(cross for cross in ALL if cross["phenomena"] == [name])
    lines = [f"{axis} = {cross[axis]}".replace("'", '"') for axis in ("phenomena", "architectures", "tasks")]
    result = finished("\n".join([f'name = "{name}"', "[[cross]]", *lines]), tmp_path)
    controls: list[CellVerdict] = [v for v in result.results.verdicts if v.record.control]
    wrong = [
        f"{v.record.control}, {v.record.claim_name}: {v.raw}, {v.reason}"
        for v in controls
        if v.control_result != "passed"
    ]
    assert not wrong
    assert {v.record.control.sign for v in controls if v.record.control} == {"positive", "negative"}
