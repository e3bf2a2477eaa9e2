"""What a claim says of one group: its effect, the checks in their order, readings beside it, pooled claims."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.judge.outcomes import measure_group, outcome_of
from universality.judge.statistics import jackknife_interval
from universality.plan.plan import PlannedGroup
from universality.plugin import (
    Check,
    Lines,
    Outcome,
    Phenomenon,
    Points,
    Run,
    Runs,
    Within,
    at_end,
    claim,
    need,
    per_seed,
    require,
)  # fmt: skip
from universality.plugin.trajectory import Series

CHART = Lines({"train_loss": "loss"}, "loss")


def a_run(value: float) -> Any:
    recorded = Series(np.array([0, 10]), np.array([1.0, value]))
    return SimpleNamespace(series=lambda name: recorded, state="done")


@per_seed
def runs(self: Any, run: Run) -> Run:
    return run


@dataclass(frozen=True, kw_only=True)
class Toy(Phenomenon):
    factor: float = 2.0

    gates = (require("common", at_end("p.k"), at_least=0.0),)


def declared(effect: Any, bound: Any = Within(high=1.0), **options: Any) -> Any:  # noqa: B008
    return claim(bound, effect, **{"runs": runs, "title": "one", "chart": CHART, **options})


def names(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks]


def test_a_number_is_an_effect_and_a_method_knows_its_phenomenon() -> None:
    assert outcome_of(Toy(), declared(at_end("p.k")), a_run(3.0)).effect == 3.0
    method = claim(Within(high=1.0), runs=runs, title="one", chart=CHART)(
        lambda self, run: self.factor * run.series("p.k").at(10)
    )
    assert outcome_of(Toy(factor=5.0), method, a_run(3.0)).effect == 15.0


def test_checks_are_those_needed_then_the_phenomenons_then_the_claims_then_the_outcomes() -> None:
    def effect(run: Any) -> Outcome:
        need("needed", 1.0, at_least=0.0)
        own = Check("own gate", 1.0, at_least=0.0), Check("own criterion", 1.0, at_least=0.0)
        return Outcome(effect=1.0, gates=own[:1], criteria=own[1:])

    outcome = outcome_of(
        Toy(),
        declared(
            effect,
            gates=[require("of the claim", at_end("p.k"), at_least=0.0)],
            criteria=[require("criterion", at_end("p.k"), at_least=0.0)],
        ),
        a_run(3.0),
    )
    assert names(outcome.gates) == ["needed", "common", "of the claim", "own gate"]
    assert names(outcome.criteria) == ["criterion", "own criterion"]
    assert outcome.decided()


def test_a_need_that_is_not_met_leaves_no_effect_and_its_label() -> None:
    def effect(run: Any) -> float:
        need("crosses", 0.3, at_least=0.95, label="never reached")
        raise AssertionError("not reached")

    criteria = [require("criterion", "missing detail", at_least=0.0)]
    outcome = outcome_of(Toy(), declared(effect, criteria=criteria), a_run(3.0))
    assert (outcome.effect, outcome.label) == (None, "never reached")
    assert [(g.name, g.met) for g in outcome.gates] == [("crosses", False), ("common", True)]
    assert outcome.criteria == ()


def test_no_number_is_no_effect_where_a_gate_says_why_and_an_error_where_none_does() -> None:
    silent = declared(lambda run: math.nan)
    with pytest.raises(MeasurementError, match="the effect is no number"):
        outcome_of(Toy(), silent, a_run(3.0))
    told = outcome_of(Toy(), silent, a_run(-1.0))
    assert told.effect is None
    assert [g.met for g in told.gates] == [False]


def test_readings_beside_are_details_of_a_run_and_points_of_a_sweep() -> None:
    beside = declared(lambda subject: 1.0, beside={"last": at_end("p.k")})
    assert dict(outcome_of(Toy(), beside, a_run(3.0)).details) == {"last": 3.0}
    sweep = outcome_of(Toy(), beside, Runs({10.0: a_run(3.0), 30.0: a_run(5.0)}))
    assert sweep.points == {"last": Points((10.0, 30.0), (3.0, 5.0))}
    assert dict(sweep.details) == {}
    named = outcome_of(Toy(), beside, Runs({"a": a_run(3.0), "b": a_run(5.0)}))
    assert dict(named.details) == {"last, a": 3.0, "last, b": 5.0}
    assert named.points is msgspec.UNSET


# ---------------------------------------------------------------------------------------------- pooled

VALUES = [1.0, 2.0, 4.0, 9.0, 3.0]


def pooled(effect: Any, left_out: int, bound: Any = Within(high=1.0)) -> Outcome:  # noqa: B008
    roles = {f"s{i}, run": a_run(value) for i, value in enumerate(VALUES)}
    keys: Any = {role: i for i, role in enumerate(roles)}
    group = PlannedGroup("s", ("s",), dict.fromkeys(roles, "id"), {}, "runs", keys, left_out)
    return measure_group(Toy(), declared(effect, bound, pooled=True), group, roles)


def mean(seeds: Runs) -> float:
    return float(np.mean(list(seeds.read(at_end("p.k")).values())))


@pytest.mark.parametrize("seed", range(5))
def test_the_pseudo_value_of_a_mean_is_the_value_of_its_seed(seed: int) -> None:
    outcome = pooled(mean, seed)
    assert outcome.effect == pytest.approx(VALUES[seed])
    assert outcome.details["all seeds together"] == pytest.approx(np.mean(VALUES))


@pytest.mark.parametrize("seed", range(5))
def test_a_criterion_of_all_seeds_has_pseudo_values_too(seed: int) -> None:
    """The same number five times would be five trials of it."""

    def judged(seeds: Runs) -> Outcome:
        return Outcome(effect=1.0, criteria=(Check("mean", mean(seeds), at_least=3.5),))

    (check,) = pooled(judged, seed).criteria
    assert check.value == pytest.approx(VALUES[seed])
    assert check.met == (VALUES[seed] >= 3.5)


def test_on_the_log_scale_that_of_a_geometric_mean_is() -> None:
    def geometric(seeds: Runs) -> float:
        return math.exp(np.mean(np.log(list(seeds.read(at_end("p.k")).values()))))

    bound = Within(high=1.0, scale="log")
    assert [pooled(geometric, s, bound).effect for s in range(5)] == pytest.approx(VALUES)


def test_the_interval_of_pseudo_values_is_the_jackknifes() -> None:
    """Of a statistic that is no mean: s(n) / s(0) with Tukey's standard error, computed by hand."""

    def statistic(seeds: Runs) -> float:
        values = np.array(list(seeds.read(at_end("p.k")).values()))
        return float(values.std() / values.mean())

    pseudo = [pooled(statistic, s).effect for s in range(5)]
    interval = jackknife_interval([float(p) for p in pseudo if p], [(f"s{s}",) for s in range(5)])
    whole, rest = np.array(VALUES), [np.delete(VALUES, s) for s in range(5)]
    left = np.array([r.std() / r.mean() for r in rest])
    se = math.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum())
    assert interval.se == pytest.approx(se)
    bias_corrected = 5 * whole.std() / whole.mean() - 4 * left.mean()
    assert interval.estimate == pytest.approx(bias_corrected)


def test_without_one_seed_the_rest_may_not_be_enough() -> None:
    def two_beyond(seeds: Runs) -> float:
        need("seeds beyond 3.5", sum(v > 3.5 for v in seeds.read(at_end("p.k")).values()), at_least=2)
        return 1.0

    assert pooled(two_beyond, 0).effect == pytest.approx(1.0)
    assert pooled(two_beyond, 3).effect is None


def test_one_seed_is_measured_as_it_is() -> None:
    group = PlannedGroup("s0", ("s0",), {"s0, runs": "r"}, {}, "runs", {"s0, runs": 0}, left_out=0)
    outcome = measure_group(Toy(), declared(mean, pooled=True), group, {"s0, runs": a_run(3.0)})
    assert outcome.effect == pytest.approx(mean(Runs({0: a_run(3.0)})))
