"""Where a bound could lie without changing a verdict, and what the cells of a claim are under other bounds."""

from __future__ import annotations

import math

import pytest

from tests.judge.toy_cells import DELAY, cell, effects, group
from universality.judge.decide import decide, decide_again
from universality.judge.moved import margin, scaled, stays, under
from universality.plugin.bounds import Bound, Most, Within
from universality.store.cells import CellRecord

RATIOS = [6.0, 7.0, 8.0, 9.0, 20.0]


def test_a_share_that_is_unanimous_stays_until_the_bound_passes_the_lowest_effect() -> None:
    found = decide(cell(effects(*RATIOS), DELAY))
    (lower,) = stays(found)
    assert (lower.end, lower.low, lower.high) == ("lower", -math.inf, 6.0)
    assert margin(stays(found), found.record.claim.scale) == pytest.approx(6 / 5)
    assert str(lower) == "lower bound below 6"


def test_an_interval_inside_stays_until_a_bound_passes_its_end() -> None:
    found = decide(cell(effects(0.5, 0.55, 0.6)))
    lower, upper = stays(found)
    assert (lower.low, lower.high) == (-math.inf, found.low)
    assert (upper.low, upper.high) == (found.high, math.inf)
    assert found.high is not None
    assert margin(stays(found), found.record.claim.scale) == pytest.approx(1 - found.high)
    assert [str(lower), str(upper)] == ["lower bound below 0.426", "upper bound above 0.674"]


def test_a_straddling_bound_has_a_verdict_on_either_side() -> None:
    found = decide(cell(effects(0.6, 0.8, 1.0), Within(high=1.0)))
    (upper,) = stays(found)
    assert (upper.low, upper.high) == (pytest.approx(found.low), pytest.approx(found.high))
    assert str(upper) == "upper bound from 0.303 to 1.3"


def test_an_absence_by_criteria_alone_has_no_bound_to_blame() -> None:
    found = decide(cell([group(i, criterion=False) for i in range(5)]))
    assert found.verdict == "absent"
    assert [str(s) for s in stays(found)] == ["lower bound anywhere", "upper bound anywhere"]
    assert margin(stays(found), found.record.claim.scale) == math.inf


@pytest.mark.parametrize(
    "record",
    [
        cell([]),
        cell([], not_applicable="no"),
        cell(effects(0.5, 0.5)),
        cell([group(i, None, gate=0.5) for i in range(3)]),
        cell([group(i, state="crashed") for i in range(3)]),
    ],
    ids=["no groups", "not applicable", "two seeds", "gate", "crashed"],
)
def test_what_no_bound_decides_has_no_margin(record: CellRecord) -> None:
    assert stays(decide(record)) == ()
    assert margin(stays(decide(record)), record.claim.scale) is None


@pytest.mark.parametrize(
    "record",
    [
        cell(effects(*RATIOS), DELAY),
        cell(effects(2.0, 3.0, 7.0, 8.0, 9.0), DELAY),
        cell(effects(0.5, 0.55, 0.6, 0.4)),
        cell(effects(0.5, 0.9, 1.6, 1.4)),
        cell(effects(2.0, 2.1, 2.2, 2.3, 2.5), Within(high=1.0, scale="log")),
        cell(effects(-0.3, 0.1, 0.2), Within(low=0.1)),
    ],
    ids=lambda r: f"{[g.effect for g in r.groups]} {r.claim}",
)
def test_within_its_interval_the_verdict_is_the_same_and_just_beyond_it_another(record: CellRecord) -> None:
    """Against deciding a record of another claim from the start, on a fine grid."""
    found = decide(record)
    for one in stays(found):
        field = "at_least" if isinstance(record.claim, Most) else {"lower": "low", "upper": "high"}[one.end]
        reach = [x for x in (one.low, one.high) if math.isfinite(x)] or [one.bound]
        first, last = min([*reach, one.bound]), max([*reach, one.bound])
        for step in range(1, 60):
            value = first + (last - first) * step / 60
            assert decide(changed(record, field, value)).raw == found.raw
        for end, sign in ((one.low, -1), (one.high, 1)):
            if math.isfinite(end):
                assert decide(changed(record, field, end + sign * 1e-6)).raw != found.raw


def changed(record: CellRecord, field: str, value: float) -> CellRecord:
    fields = {name: getattr(record.claim, name) for name in record.claim.__struct_fields__}
    claim = type(record.claim)(**{**fields, field: value})
    moved = cell(record.groups, claim)
    assert decide_again(decide(record), claim).raw == decide(moved).raw
    return moved


@pytest.mark.parametrize(
    ("claim", "factor", "other"),
    [
        (Most(at_least=5.0), 2.0, Most(at_least=10.0)),
        (Most(at_least=5.0), 0.5, Most(at_least=2.5)),
        (Within(high=0.05, scale="log"), 2.0, Within(high=0.025, scale="log")),
        (Within(low=-0.5), 2.0, Within(low=-0.25)),
        (Within(high=-0.5), 2.0, Within(high=-1.0)),
        (Within(low=0.5, high=1.5), 2.0, Within(low=0.75, high=1.25)),
        (Within(low=0.25, high=4.0, scale="log"), 2.0, Within(low=0.5, high=2.0, scale="log")),
        (Within(low=0.5, high=2.0, scale="log"), 0.5, Within(low=0.25, high=4.0, scale="log")),
        (Within(low=0.0), 2.0, None),
    ],
    ids=str,
)
def test_a_claim_twice_as_strict_or_as_lax(claim: Bound, factor: float, other: Bound | None) -> None:
    found = scaled(claim, factor)
    if other is None:
        assert found is None
    else:
        assert found is not None
        assert found.ends == pytest.approx(other.ends)
        assert found.scale == claim.scale


def test_grokking_at_a_ratio_of_ten() -> None:
    """Of four cells of five seeds that all reach 5, one reaches 10 in all, one in none, two in some."""
    cells = [
        decide(cell(effects(*values), DELAY, task=str(i)))
        for i, values in enumerate(
            ([12.0] * 5, [6.0] * 5, [6.0, 6.0, 12.0, 12.0, 12.0], [6.0, 12.0, 12.0, 12.0, 12.0])
        )
    ]
    assert [v.verdict for v in cells] == ["present"] * 4
    moved = under(Most(at_least=10.0), cells)
    assert moved.counts == {"present": 1, "absent": 1, "inconclusive": 2}
    assert str(moved) == ">= 10 in most runs: 1 present, 1 absent, 2 inconclusive"
