"""The row of a claim: its prevalence, its pooled effect, and what it is called."""

import numpy as np
import pytest
from msgspec import structs

from tests.judge.toy_cells import DELAY, PASSING, PHENOMENA, about, cell, effects, group
from universality.judge.controls import judge
from universality.judge.decide import decide
from universality.judge.summary import claims_a_number, share_of_groups, summarise
from universality.plugin.bounds import Most, Within
from universality.plugin.phenomenon import Sense
from universality.store.cells import CellRecord, GroupRecord


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


def test_a_ratio_is_pooled_on_the_scale_of_its_claim() -> None:
    ratio = Within(low=0.9, high=1.15, scale="log")
    found = {
        ("a", "s"): 1.02,
        ("b", "s"): 1.23,
        ("c", "s"): 1.04,
        ("d", "s"): 1.33,
        ("b", "t"): 1.08,
        ("d", "t"): 1.05,
    }
    cells = [
        cell(effects(value, value * 1.01, value * 0.99), ratio, architecture=a, task=t)
        for (a, t), value in found.items()
    ]
    (row,) = summarise(judge(cells), PHENOMENA)
    assert row.pooled is not None
    assert row.pooled.estimate == pytest.approx(
        float(np.exp(np.mean(np.log(list(found.values()))))), rel=1e-4
    )
    assert row.pooled.prediction_low is not None
    assert row.pooled.prediction_low > 0


def test_what_no_cell_of_five_seeds_can_show_all_of_them_together_do() -> None:
    """Eight cells of 5 of 5: Holm's family never admits 2^-5, and ten trials (two tasks, five seeds) are 2 x 2^-10."""
    cells = [cell(effects(*[10.0] * 5), DELAY, architecture=a, task=t) for a in "abcd" for t in "st"]
    (row,) = summarise(judge(cells), PHENOMENA)
    assert row.confirmed == {"present": None, "absent": None}
    assert row.joint is not None
    assert (row.joint.holding, row.joint.decided, row.joint.trials) == (40, 40, 10)
    assert (row.joint.p, row.joint.p_holm) == (2 * 2**-10, 2 * 2**-10)


def test_a_cell_that_could_survive_holm_is_counted_and_not_dashed() -> None:
    """Ten of ten is 2^-10: among two such cells it survives; one cell alone needs no correction."""
    many = [cell(effects(*[10.0] * 10), DELAY, architecture=a) for a in "ab"]
    assert summarise(judge(many), PHENOMENA)[0].confirmed == {"present": 2, "absent": 0}
    five = judge([cell(effects(*[10.0] * 5), DELAY)])
    assert summarise(five, PHENOMENA)[0].confirmed == {"present": 1, "absent": 0}
    # A cell whose p can be as small as may be takes no place from one of five seeds.
    beside = [cell(effects(0.5, 0.55, 0.6), architecture="other"), cell(effects(*[10.0] * 5), DELAY)]
    assert summarise(judge(beside), PHENOMENA)[0].confirmed["present"] is not None


def test_the_joint_test_is_corrected_over_the_claims_of_a_set() -> None:
    one = [cell(effects(*[10.0] * 5), DELAY, task=t) for t in "st"]
    other = [structs.replace(record, claim_name="other") for record in one]
    rows = summarise(judge([*one, *other]), PHENOMENA)
    assert [row.joint and row.joint.p_holm for row in rows] == [4 * 2**-10] * 2


def test_groups_of_one_task_and_seed_are_one_trial_and_the_test_keeps_its_level() -> None:
    """Effects of 3 x 2 cells and five seeds that follow their task and seed nearly entirely, around the bound."""
    rng = np.random.default_rng(0)
    trials, alarms = 150, 0
    for _ in range(trials):
        shared = rng.normal(size=(1, 2, 5))
        effects_of = 5.0 * np.exp(0.95 * shared + 0.3 * rng.normal(size=(3, 2, 5)))
        cells = [
            decide(cell(effects(*effects_of[a, t].tolist()), DELAY, architecture=str(a), task=str(t)))
            for a in range(3)
            for t in range(2)
        ]
        joint = share_of_groups(cells)
        assert joint is not None
        assert joint.trials == 10
        alarms += joint.p <= 0.05
    # Three standard errors of 5 % over 150 trials: .053.
    assert alarms / trials <= 0.05 + 0.053


def test_a_row_says_what_its_cells_are_under_other_bounds() -> None:
    cells = [cell(effects(*[value] * 5), DELAY, task=str(value)) for value in (6.0, 12.0)]
    (row,) = summarise(judge(cells), PHENOMENA)
    stricter, laxer = row.moved
    assert (stricter.claim, stricter.counts["present"], stricter.counts["absent"]) == (
        Most(at_least=10),
        1,
        1,
    )
    assert (laxer.claim, laxer.counts["present"]) == (Most(at_least=2.5), 2)
    (zero,) = summarise(judge([cell(effects(1.0, 1.1, 1.2), Within(low=0.0))]), PHENOMENA)
    assert zero.moved == ()


def unseen(index: int) -> GroupRecord:
    """Not seen until 400, in a budget too short to decide."""
    return group(index, 400.0, gate=0.5, censored=True)


def test_runs_that_were_not_seen_in_time_are_no_evidence_that_most_hold() -> None:
    """Of each of twelve cells one run of five holds, and four were censored early: nothing says that most do."""
    records = [cell([group(0, 10.0), *map(unseen, range(1, 5))], DELAY, task=f"t{i}") for i in range(12)]
    joint = share_of_groups([decide(record) for record in records])
    assert joint is not None
    assert (joint.holding, joint.decided) == (12, 60)
    assert joint.p == 1.0  # and that most miss is not known either


def test_what_a_gate_left_of_a_cell_is_no_part_of_a_share() -> None:
    """Two of five groups met the gate, a choice; five of five are."""
    left = cell([*effects(0.5, 0.5), *(group(i, 0.5, gate=0.5) for i in range(2, 5))])
    assert share_of_groups([decide(left)]) is None
    joint = share_of_groups([decide(left), decide(cell(effects(*[0.5] * 5), task="other"))])
    assert joint is not None
    assert (joint.holding, joint.decided) == (5, 5)


def test_two_networks_compared_with_each_other_are_one_cell() -> None:
    def pair(architecture: str, task: str = "digits") -> CellRecord:
        groups = [
            structs.replace(g, runs={"a": f"a{g.key}{task}", "b": f"b{g.key}{task}"})
            for g in effects(0.5, 0.55, 0.6)
        ]
        return cell(groups, architecture=architecture, task=task)

    found = judge([pair("mlp"), pair("cnn"), pair("mlp", "mnist")])
    assert [(v.counted, v.repeated, v.verdict) for v in found] == [
        (True, False, "present"),
        (False, True, "present"),
        (True, False, "present"),
    ]
    assert found[1].reason.text.endswith("; not counted, since these are the runs of the cell of mlp")
    (row,) = summarise(found, PHENOMENA)
    assert row.counts["present"] == 2
