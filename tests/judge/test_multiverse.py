"""Multiverse: what each bar says is what the same measurements would have said under that threshold."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import numpy as np
import pytest

from tests.judge.test_leaderboard import controls, record
from tests.judge.toy_cells import about, cell, control, effects, group, set_of
from universality.judge.answers import answers
from universality.judge.controls import judge
from universality.judge.decide import MEASURED, decide, decide_again, with_p_of
from universality.judge.moved import scaled
from universality.judge.multiverse import FACTORS, Multiverse, multiverses
from universality.plugin.bounds import Bound, Most, Within
from universality.store.cells import CellRecord

LEAST = Within(low=1.0, unit="u")
FROZEN = FACTORS.index(1)


def spread(middle: float, gate: float | None = None, **place: str) -> CellRecord:
    groups = [group(i, middle + 0.01 * i, gate=gate) for i in range(4)]
    return cell(groups, LEAST, **place)  # type: ignore[arg-type]


def controlled() -> list[CellRecord]:
    found = [control("positive", 9.0, "present"), control("negative", 0.01, "absent")]
    return [msgspec.structs.replace(r, claim=LEAST) for r in found]


def only(records: list[CellRecord]) -> Multiverse:
    (found,) = multiverses(set_of([*records, *controlled()]))
    return found


CELLS = [spread(m, architecture=f"net{i}", task=f"task{i}") for i, m in enumerate((0.6, 0.8, 1.3, 1.6, 3.0))]


def test_each_bar_is_what_the_whole_set_would_say_under_that_bound() -> None:
    (bound,) = [m for m in only(CELLS).moves if m.threshold.role == "bound"]
    for factor, counts in zip(FACTORS, bound.counts, strict=True):
        claim = scaled(LEAST, factor)
        assert claim is not None
        again = judge([msgspec.structs.replace(r, claim=claim) for r in [*CELLS, *controlled()]])
        told = Counter(v.verdict for v in again if v.counted)
        assert {k: n for k, n in counts.items() if n} == dict(told)
    assert [counts["present"] for counts in bound.counts] == [5, 4, 4, 3, 3, 3, 2, 1, 1]


@pytest.mark.parametrize(
    "claim", [LEAST, Within(low=0.7, high=1.4, unit="u"), Most(at_least=1.0, unit="u")], ids=str
)
def test_effects_on_a_moved_bound_are_told_as_if_it_were_the_claimed_one(claim: Bound) -> None:
    ends = [end for factor in FACTORS for end in (scaled(claim, factor) or claim).ends if math.isfinite(end)]
    rng = np.random.default_rng(0)
    cells = []
    for number in range(60):
        drawn = rng.choice(ends, 5) if number % 2 else np.full(5, rng.choice(ends))
        found = effects(*(drawn * (1 + rng.choice([0, 0, 1e-15, 1e-8, -1e-8, 0.05], 5))))
        cells.append(cell(found, claim, architecture=f"net{number}", task=f"task{number}"))
    known = [msgspec.structs.replace(r, claim=claim) for r in controlled()]
    (found,) = multiverses(set_of([*cells, *known]))
    (bound,) = [m for m in found.moves if m.threshold.role == "bound"]
    for factor, counts in zip(FACTORS, bound.counts, strict=True):
        again = judge([msgspec.structs.replace(r, claim=scaled(claim, factor)) for r in [*cells, *known]])
        told = Counter(v.verdict for v in again if v.counted)
        assert {k: n for k, n in counts.items() if n} == dict(told)


@pytest.mark.parametrize(
    "claim", [LEAST, Within(low=0.7, high=1.4, unit="u"), Most(at_least=1.0, unit="u")], ids=str
)
def test_p_follows_a_bound_that_changes_no_verdict(claim: Bound) -> None:
    told = 0
    for each in CELLS:
        before = decide(msgspec.structs.replace(each, claim=claim))
        for factor in FACTORS:
            bound = scaled(claim, factor)
            assert bound is not None
            again = decide_again(before, bound)
            if again.verdict == before.verdict and again.holding == before.holding:
                told += again.p != before.p
                assert with_p_of(before, bound).p == again.p
    assert told or isinstance(claim, Most)


def test_what_else_was_asked_stands_in_the_family_of_a_claim() -> None:
    """Two absent cells of p .011 or so refute alone, and no longer where eight others were asked."""
    near = [
        cell(effects(0.45, 0.8, 0.5, 0.75), LEAST, architecture=f"net{n}", task=f"task{n}") for n in range(2)
    ]
    others = [
        msgspec.structs.replace(r, phenomenon="also", variant="also")
        for r in [*[spread(1.0, architecture=f"net{n}") for n in range(8)], *controlled()]
    ]
    phenomena = {"edge": about(), "also": about()}
    alone = set_of([*near, *controlled()], phenomena=phenomena)
    beside = set_of([*near, *controlled(), *others], phenomena=phenomena)
    kinds = []
    for results in (alone, beside):
        found = multiverses(results)[0]
        (kind,) = [answer.kind for row, answer in answers(results) if row.phenomenon == "edge"]
        assert (found.row.phenomenon, found.answer) == ("edge", kind)
        kinds.append(kind)
    assert kinds == ["not universal", "not yet known"]


def test_a_gate_is_moved_by_its_odds_where_nothing_is_above_one() -> None:
    gated = [spread(3.0, gate=accuracy, architecture=f"net{accuracy}") for accuracy in (0.985, 0.992, 0.999)]
    (moves,) = [m for m in only(gated).moves if m.threshold.role == "gate"]
    assert moves.threshold.share
    # .99 has odds of 99: half is .98, twice .99497.
    assert (moves.needs[0], moves.needs[FROZEN], moves.needs[-1]) == (">= 0.98", ">= 0.99", ">= 0.995")
    assert [c["present"] for c in moves.counts] == [3, 3, 2, 2, 2, 2, 1, 1, 1]
    assert all(sum(c.values()) == 3 for c in moves.counts)


def test_a_check_that_is_yes_or_no_and_a_bound_of_zero_are_named_and_stay() -> None:
    found = only(CELLS)
    assert found.fixed == ("loss falls (yes or no)",)
    zero = [msgspec.structs.replace(r, claim=Within(low=0.0, unit="u")) for r in [*CELLS, *controlled()]]
    (found,) = multiverses(set_of(zero))
    assert found.laxer is None
    assert "not moved" in found.reach
    assert not any(m.threshold.role == "bound" for m in found.moves)


def test_bars_are_void_where_a_control_no_longer_comes_out_as_it_must() -> None:
    near = [controlled()[0], msgspec.structs.replace(controlled()[1], groups=tuple(effects(0.6, 0.6, 0.6)))]
    (found,) = multiverses(set_of([*CELLS, *near]))
    bound = found.moves[0]
    assert [c["invalid"] for c in bound.counts[:2]] == [5, 5]
    assert bound.counts[FROZEN]["invalid"] == 0


def test_the_answer_is_followed_to_the_bound_at_which_it_changes() -> None:
    cells = [spread(1.25, architecture=f"net{i}", task=f"task{i}") for i in range(8)]
    found = only(cells)
    assert found.answer == answers(set_of([*cells, *controlled()]))[0][1].kind == "universal here"
    assert found.laxer is not None
    assert found.stricter is not None
    assert found.laxer.beyond is None
    assert found.laxer.last.ends[0] == pytest.approx(0.5)
    assert found.stricter.beyond is not None
    bound, kind = found.stricter.beyond
    assert kind == "not universal"
    # Effects are 1.25 to 1.28: the interval of their mean begins at 1.244, and the next bound lies above all of them.
    assert found.stricter.last.ends[0] < 1.244 < bound.ends[0]
    assert found.reach.startswith("universal here while the bound is between >= 0.5 and >= 1.2")


def test_frozen_bars_are_the_table_and_groups_without_an_effect_are_told() -> None:
    lost = cell([group(i, None, gate=0.5) for i in range(4)], LEAST, architecture="net9")
    results = set_of([*CELLS, lost, *controlled()])
    (found,), (row,) = multiverses(results), results.rows
    for moves in found.moves:
        assert {v: moves.counts[FROZEN][v] for v in MEASURED} == {v: row.counts[v] for v in MEASURED}
    assert (found.cells, found.lost) == (6, 4)


def test_a_claim_of_which_nothing_was_measured_has_none() -> None:
    assert multiverses(set_of([cell([group(0, state="missing")], LEAST), *controlled()])) == []


def test_moving_a_threshold_leaves_the_measurements_alone() -> None:
    results = set_of([record("mlp"), *controls()], phenomena={"toy": about(one="One")})
    before = [r.line() for r in results.records]
    multiverses(results)
    assert [r.line() for r in results.records] == before
