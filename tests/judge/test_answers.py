"""One sentence per claim: which of the five answers, where it holds, and what would tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.judge.test_leaderboard import ABSENT, OPEN, PRESENT, grid, only, record, result_set
from universality.judge.answers import Answer, answer_of, answers
from universality.judge.crossed import prevalence
from universality.judge.leaderboard import leaderboard
from universality.output import phrases
from universality.plugin.bounds import Most
from universality.store.cells import CellRecord


def answered(records: Sequence[CellRecord], *, controlled: bool = True) -> Answer:
    """The same of a set's row and of the board's."""
    results = result_set("a", records, controlled=controlled)
    ((_, one),) = answers(results)
    assert answer_of(only(leaderboard([results]))) == one
    return one


def test_a_claim_that_holds_in_many_cells_is_universal_here() -> None:
    found = answered(grid(4, 4))
    assert found == Answer(
        "universal here",
        "it holds in all 16 decided cells (worth 6 independent ones), of 4 networks on 4 tasks; mean 1.00 [1.00, 1.00] (u), claimed 0.9 to 1.1",
    )


def test_a_few_exceptions_are_named() -> None:
    found = answered(grid(6, 6, absent=1))
    assert found == Answer(
        "holds with exceptions",
        "it holds in 35 of 36 decided cells (worth 9 independent ones), not in net0 on task0; mean 1.03 [0.971, 1.08] (u), claimed 0.9 to 1.1",
    )


def test_two_cells_that_are_absent_beyond_chance_refute_what_is_not_known_to_hold_elsewhere() -> None:
    found = answered(grid(2, 2, absent=2))
    assert found == Answer(
        "not universal", "it holds in 2 of 4 decided cells (worth 2 independent ones), in every cell of net1"
    )
    # One is not enough: of three runs that end at one of two values, one in eight is as far apart.
    alone = answered(grid(2, 2, absent=1))
    assert alone.kind == "not yet known"
    assert alone.text.startswith("it holds in 3 of 4 decided cells; ")
    assert answered(grid(1, 1, absent=1)).text.startswith("it does not hold in the one decided cell; 5 more")
    assert (
        answered(grid(6, 6, absent=36)).text
        == "it holds in none of 36 decided cells (worth 9 independent ones)"
    )


def test_whole_networks_and_tasks_are_named_as_such() -> None:
    by_network = [
        record(f"net{a}", f"task{t}", ABSENT if a == 2 else PRESENT) for a in range(3) for t in range(3)
    ]
    assert (
        answered(by_network).text
        == "it holds in 6 of 9 decided cells (worth 4 independent ones), not in any cell of net2"
    )
    by_task = [
        record(f"net{a}", f"task{t}", PRESENT if t == 1 else ABSENT) for a in range(3) for t in range(3)
    ]
    assert (
        answered(by_task).text
        == "it holds in 3 of 9 decided cells (worth 4 independent ones), in every cell of task1"
    )


def test_many_scattered_cells_are_counted() -> None:
    marks = [(a, t) for a in range(6) for t in range(6) if (a + t) % 3 == 0]
    cells = [
        record(f"net{a}", f"task{t}", ABSENT if (a, t) in marks else PRESENT)
        for a in range(6)
        for t in range(6)
    ]
    assert (
        answered(cells).text
        == "it holds in 24 of 36 decided cells (worth 12 independent ones), not in 12, of 6 networks on 6 tasks"
    )
    few = [
        record(f"net{a}", f"task{t}", PRESENT if (a, t) in marks else ABSENT)
        for a in range(6)
        for t in range(6)
    ]
    assert (
        answered(few).text
        == "it holds in 12 of 36 decided cells (worth 12 independent ones), of 6 networks on 6 tasks"
    )


def test_cells_that_are_not_decided_are_told_whatever_the_answer() -> None:
    lost = [record("net8", f"task{t}", state="diverged") for t in range(3)]
    lost += [record("net7", f"task{t}", state="missing") for t in range(2)]
    found = answered([*grid(4, 4), *(record("net9", f"task{t}", OPEN) for t in range(4)), *lost])
    assert found.kind == "universal here"
    assert found.text == (
        "it holds in all 16 decided cells (worth 6 independent ones), of 4 networks on 4 tasks; mean 1.02 [0.964, 1.08] (u), claimed 0.9 to 1.1; 4 are undecided (4 with an estimate, 4 of these as claimed), among them every cell of net9 and net8; 3 ended without a measurement; "
        "2 lack runs"
    )


def test_undecided_cells_are_told_by_the_side_on_which_their_estimates_lie() -> None:
    beyond = record("net9", "task1", OPEN + 0.01)  # straddles the upper bound, with its mean outside
    found = answered([*grid(4, 4), record("net9", "task0", OPEN), beyond])
    assert "; 2 are undecided (2 with an estimate, 1 of these as claimed)" in found.text


def test_sets_that_contradict_each_other_are_told() -> None:
    sets = [result_set("a", grid(4, 4)), result_set("b", [record("net0", "task0", ABSENT)])]
    found = answer_of(only(leaderboard(sets)))
    assert found.text.startswith("it holds in all 15 decided cells")
    assert found.text.endswith("; in 1 sets contradict each other")


def test_fewer_cells_in_which_it_fails_may_tell_sooner_than_those_in_which_it_holds() -> None:
    """Four runs that all miss, p = 2^-4 each, so that no cell alone survives Holm's correction."""
    cells = [
        record(f"net{a}", f"task{a}", ABSENT, claim=Most(at_least=3.0, unit="u"), seeds=5) for a in range(3)
    ]
    found = answered(cells)
    assert found.kind == "not yet known"
    assert "more in which it does not hold, of other networks on other tasks, would tell" in found.text


@pytest.mark.parametrize("side", [1, 2])
def test_what_is_not_yet_known_says_how_many_more_cells_would_tell(side: int) -> None:
    found = answered([*grid(side, side), record("net9", "task9", OPEN)])
    assert found.kind == "not yet known"
    more = int(found.text.split("; ")[1].split()[0])
    names = (
        [f"net{a}" for a in range(side) for _ in range(side)],
        [f"task{t}" for _ in range(side) for t in range(side)],
    )
    lows = [
        prevalence(
            [True] * (side * side + n),
            [*names[0], *(f"new{i}" for i in range(n))],
            [*names[1], *(f"new{i}" for i in range(n))],
        ).low
        for n in (more - 1, more)
    ]
    assert lows[0] <= 0.5 < lows[1]
    assert "; 1 is undecided" in found.text


def test_nothing_is_known_where_nothing_is_decided_or_controls_are_missing() -> None:
    assert answered([record(effect=OPEN)]).text.startswith("no cell is decided; 1 is undecided")
    assert answered(grid(6, 6), controlled=False).kind == "not validated"


def test_lines_give_what_is_known_and_count_the_rest() -> None:
    records = [
        *grid(6, 6, phenomenon="all"),
        *grid(2, 2, phenomenon="some"),
        *grid(1, 2, absent=2, phenomenon="no"),
    ]
    lines = phrases.answer_lines(result_set("a", records))
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:2]] == [
        "universal here",
        "not universal",
    ]
    assert lines[2:] == ["not yet known: 1 claim"]


def test_a_network_that_was_asked_once_is_not_named_as_undecided_throughout() -> None:
    found = answered([*grid(4, 4), record("net9", "task9", OPEN), record("net8", "task8", OPEN)])
    assert "; 2 are undecided" in found.text
    assert "among them" not in found.text
