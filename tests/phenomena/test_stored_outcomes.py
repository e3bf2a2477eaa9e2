"""Outcomes of stored runs are what they were: groups of quick suites, each way in which a claim of three phenomena was
met or missed there, with its gates and criteria.

`stored/` holds the series that the claims read, and the outcomes that were stored: by the code of commit 43b3da8, before
phenomena were declared, of the edge of stability those of its version 3, and the memory of initialisation of neural
collapse as of its version 3, with the rates of all updates summed one by one. The fourth phenomenon compares features,
which are large: its outcomes have closed forms in `test_representation_similarity`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from universality.judge.outcomes import outcome_of
from universality.plugin import registry
from universality.plugin.outcome import Check, Outcome
from universality.plugin.readings import Runs
from universality.plugin.spec import RunSpec
from universality.plugin.trajectory import Series
from universality.store.files import decode_json

registry.load_plugins()

STORED = Path(__file__).parent / "stored"
RECORD = decode_json((STORED / "outcomes.json").read_bytes())


def runs_of(group: dict[str, Any]) -> dict[float, str]:
    """Ids by divisor of the rate; one run alone stands under 1."""
    return {float(key): run for key, run in group.get("runs", {"1": group.get("run")}).items()}


GROUPS = [
    pytest.param(group, id=f"{group['phenomenon']}.{group['claim']}, {', '.join(runs_of(group).values())}")
    for group in RECORD["groups"]
]


@pytest.fixture(scope="module")
def series() -> Any:
    with np.load(STORED / "series.npz") as arrays:
        yield {name: arrays[name] for name in arrays.files}


@dataclass
class StoredRun:
    """A trajectory of the series that were kept."""

    id: str
    arrays: dict[str, Any]
    state: str = "done"

    @property
    def spec(self) -> RunSpec:
        return msgspec.convert(RECORD["runs"][self.id]["spec"], RunSpec)

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = RECORD["runs"][self.id]["facts"]
        return facts

    def series(self, name: str) -> Series:
        # It was not kept; only points that no stored outcome has follow from it.
        if name == "sharpness.threshold":
            return Series(np.array([0]), np.array([math.nan]))
        steps, values = (self.arrays[f"{self.id}|{name}|{axis}"] for axis in ("steps", "values"))
        return Series(steps.astype(np.int64), values)

    def steps(self, name: str) -> tuple[int, ...]:
        return tuple(self.arrays.get(f"{self.id}|{name}|steps", ()))


@pytest.mark.parametrize("group", GROUPS)
def test_stored_runs_have_the_outcome_that_they_had(group: dict[str, Any], series: dict[str, Any]) -> None:
    runs = {key: StoredRun(run, series) for key, run in runs_of(group).items()}
    assert [run.spec.id for run in runs.values()] == [run.id for run in runs.values()]
    plugin = registry.resolve("phenomenon", group["phenomenon"])
    subject = Runs(runs) if "runs" in group else runs[1.0]  # type: ignore[arg-type]
    new = outcome_of(plugin, plugin.claims[group["claim"]], subject)  # type: ignore[arg-type]
    old = msgspec.convert(group["outcome"], Outcome)
    assert (new.effect is None) == (old.effect is None)
    if old.effect is not None:
        assert new.effect == pytest.approx(old.effect, rel=1e-12, nan_ok=True)
    assert (new.label, new.censored) == (old.label, old.censored)
    assert checks(new.gates) == checks(old.gates)
    assert checks(new.criteria) == checks(old.criteria)
    # More of them may be told since; the edge of stability has its criteria among them.
    told = {name: value for name, value in new.details.items() if name in old.details}
    assert told == pytest.approx(dict(old.details), rel=1e-12, nan_ok=True)
    drawn = {name: values for name, values in points(new).items() if name in points(old)}
    assert drawn == {name: pytest.approx(values, rel=1e-12) for name, values in points(old).items()}


def points(outcome: Outcome) -> Any:
    if outcome.points is msgspec.UNSET:
        return {}
    return {
        f"{name}.{axis}": list(getattr(one, axis))
        for name, one in outcome.points.items()
        for axis in ("x", "y")
    }


def checks(those: tuple[Check, ...]) -> list[Any]:
    """In their order, since the first that is not met becomes the reason."""
    return [
        (c.name, pytest.approx(c.value, rel=1e-12, nan_ok=True), c.at_least, c.at_most, c.met) for c in those
    ]
