"""The row of a claim: its prevalence, its pooled effect, and what it is called."""

import pytest

from tests.judge.toy_cells import DELAY, PASSING, PHENOMENA, about, cell, effects
from universality.judge.controls import judge
from universality.judge.summary import claims_a_number, summarise
from universality.plugin.phenomenon import Sense


def test_prevalence_counts_only_present_and_absent() -> None:
    records = [
        cell(effects(0.5, 0.5, 0.5), architecture="a", task="s"),
        cell(effects(0.5, 0.5, 0.5), architecture="a", task="t"),
        cell(effects(3.0, 3.0, 3.0), architecture="b", task="s"),
        cell(effects(0.6, 0.8, 1.0), architecture="b", task="t"),
        cell([], architecture="c", task="s", not_applicable="no"),
    ]
    (row,) = summarise(judge([*records, *PASSING]), PHENOMENA)
    assert row.prevalence is not None
    assert row.prevalence.estimate == pytest.approx(2 / 3)
    assert (row.decided, row.applicable, row.coverage) == (3, 4, 0.75)
    # The straddling cell is measured, so it belongs to the mean: (.5 + .5 + 3 + .8)/4.
    assert row.pooled is not None
    assert (row.pooled.cells, row.pooled.estimate) == (4, pytest.approx(1.2))


def test_a_claim_of_most_is_not_pooled() -> None:
    assert summarise(judge([cell(effects(*[10.0] * 5), DELAY)]), PHENOMENA)[0].pooled is None


@pytest.mark.parametrize("sense", ["form", "sign"])
def test_effects_are_pooled_only_where_one_number_is_claimed(sense: Sense) -> None:
    """Constants of a form and sizes of a sign belong to the cell: their mean says which cells were chosen."""
    cells = [cell(effects(0.4, 0.5, 0.6), architecture=a, task=t) for a in "ab" for t in "st"]
    assert summarise(judge(cells), PHENOMENA)[0].pooled is not None
    (row,) = summarise(judge(cells), {"edge": about(sense)})
    assert row.pooled is None
    assert row.prevalence is not None


def test_a_row_carries_what_its_phenomenon_says_and_the_title_of_its_claim() -> None:
    titled = about(ratio="settles at the edge")
    (row,) = summarise(judge(PASSING), {"edge": titled})
    assert (row.about, row.title) == (titled, "settles at the edge")


def test_a_claim_without_a_title_is_called_by_its_name() -> None:
    (row,) = summarise(judge(PASSING), PHENOMENA)
    assert row.title == "ratio"


def test_a_claim_on_most_runs_is_no_number_whatever_the_sense() -> None:
    assert claims_a_number(PASSING[0].claim, about("number"))
    assert not claims_a_number(DELAY, about("number"))
