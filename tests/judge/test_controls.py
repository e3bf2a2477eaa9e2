"""What controls say of the cells of their claim, and which cells count."""

import pytest
from msgspec.structs import replace

from tests.judge.toy_cells import DELAY, PASSING, PHENOMENA, cell, control, effects, group
from universality.errors import MeasurementError
from universality.judge.controls import judge
from universality.judge.summary import summarise
from universality.plugin.controls import ControlId, Decidable
from universality.store.cells import GroupRecord


def test_controls_that_pass_validate_the_row() -> None:
    verdicts = judge([cell(effects(0.5, 0.5, 0.5)), *PASSING])
    (row,) = summarise(verdicts, PHENOMENA)
    assert [v.control_result for v in verdicts] == [None, "passed", "passed"]
    assert (row.validated, row.standing, row.controls, row.failed_controls) == (True, "validated", 2, ())
    assert row.counts["present"] == 1


def test_a_failed_control_makes_measured_cells_invalid_and_keeps_their_own_verdict() -> None:
    wrong = control("negative", 0.5, "absent")
    verdicts = judge(
        [
            cell(effects(0.5, 0.5, 0.5)),
            cell([group(i, state="crashed") for i in range(3)], architecture="cnn"),
            cell([], architecture="vit", not_applicable="no"),
            PASSING[0],
            wrong,
        ]
    )
    assert [v.verdict for v in verdicts] == ["invalid", "crashed", "not applicable", "present", "present"]
    assert verdicts[0].raw == "present"
    assert "negative: toy is present, expected absent" in str(verdicts[0].reason)
    assert verdicts[0].reason.kind == "control failed"
    (row,) = summarise(verdicts, PHENOMENA)
    assert (row.validated, row.prevalence, row.pooled) == (False, None, None)
    assert row.failed_controls == ("negative: toy is present, expected absent",)


IDLE = {
    "a gate": (
        [group(i, gate=0.5) for i in range(3)],
        "inconclusive, train accuracy = 0.5, needs >= 0.99 (in 3 of 3 groups)",
    ),
    "straddles": (effects(0.9, 1.0, 1.1), "inconclusive, straddles the upper bound: "),
    "diverged": ([group(i, state="diverged") for i in range(3)], "diverged, 3 of 3 groups diverged"),
    "crashed": ([group(i, state="crashed") for i in range(3)], "crashed, 3 of 3 groups crashed"),
    "no runs": ([], "missing, no groups"),
}


@pytest.mark.parametrize("earlier", [(), ("inconclusive",)], ids=["", "of an earlier version"])
@pytest.mark.parametrize(("groups", "told"), IDLE.values(), ids=IDLE)
def test_a_negative_that_decides_nothing_voids_no_cell_and_validates_none(
    groups: list[GroupRecord], told: str, earlier: tuple[Decidable, ...]
) -> None:
    """Whatever its file calls right: earlier ones say that a negative passes where it is inconclusive."""
    idle = replace(control("negative", 3.0, "absent", *earlier), groups=tuple(groups))
    verdicts = judge([cell(effects(0.5, 0.5, 0.5)), PASSING[0], idle])
    assert [v.verdict for v in verdicts[:2]] == ["present", "present"]
    assert verdicts[2].control_result == "not exercised"
    (row,) = summarise(verdicts, PHENOMENA)
    assert (row.validated, row.standing) == (False, "negative not exercised")
    assert row.counts["present"] == 1
    (lack,) = row.failed_controls
    assert lack.startswith(f"negative not exercised: toy: {told}")


def test_a_negative_that_does_not_apply_is_not_exercised() -> None:
    idle = replace(control("negative", 3.0, "absent"), groups=(), not_applicable="needs tokens")
    (row,) = summarise(judge([cell(effects(0.5, 0.5, 0.5)), PASSING[0], idle]), PHENOMENA)
    assert row.failed_controls == ("negative not exercised: toy: not applicable, needs tokens",)


def test_one_exercised_negative_does_not_stand_in_for_another() -> None:
    gated = replace(
        control("negative", 3.0, "absent"),
        control=ControlId("negative", "gated"),
        groups=tuple(group(i, gate=0.5) for i in range(3)),
    )
    (row,) = summarise(judge([cell(effects(0.5, 0.5, 0.5)), *PASSING, gated]), PHENOMENA)
    assert (row.validated, row.standing, row.controls) == (False, "negative not exercised", 3)


@pytest.mark.parametrize(
    "groups", [[group(i, gate=0.5) for i in range(3)], effects(0.9, 1.0, 1.1), effects(3, 3, 3)]
)
def test_a_positive_that_is_not_present_fails_however_it_ended(groups: list[GroupRecord]) -> None:
    lost = replace(PASSING[0], groups=tuple(groups))
    verdicts = judge([cell(effects(0.5, 0.5, 0.5)), lost, PASSING[1]])
    assert (verdicts[0].verdict, verdicts[1].control_result) == ("invalid", "failed")
    assert summarise(verdicts, PHENOMENA)[0].standing == "controls failed"


def test_the_worst_of_what_controls_lack_names_the_standing_and_all_of_it_is_told() -> None:
    idle = replace(control("negative", 3.0, "absent"), groups=tuple(group(i, gate=0.5) for i in range(3)))
    shown = replace(control("negative", 0.5, "absent"), control=ControlId("negative", "shown"))
    (row,) = summarise(judge([cell(effects(0.5, 0.5, 0.5)), idle, shown]), PHENOMENA)
    assert row.standing == "controls failed"
    assert [lack.partition(":")[0] for lack in row.failed_controls] == [
        "negative",
        "no positive control was run",
        "negative not exercised",
    ]
    (row,) = summarise(judge([cell(effects(0.5, 0.5, 0.5)), idle]), PHENOMENA)
    assert row.standing == "controls missing"


def test_a_row_without_controls_is_unvalidated_but_not_invalid() -> None:
    verdicts = judge([cell(effects(0.5, 0.5, 0.5))])
    assert verdicts[0].verdict == "present"
    assert summarise(verdicts, PHENOMENA)[0].failed_controls == (
        "no positive control was run",
        "no negative control was run",
    )


def test_holm_counts_every_measured_cell_but_no_control() -> None:
    """Undecided cells were tests as well; three decided ones at p = 1/32 do not survive four tests."""
    decided = [cell(effects(*[10.0] * 5), DELAY, task=t) for t in "abc"]
    mixed = cell(effects(10.0, 10.0, 10.0, 1.0, 1.0), DELAY, task="d")
    gone = cell([group(i, state="crashed") for i in range(5)], DELAY, task="e")
    alone = judge(decided[:1])[0]
    assert (alone.p, alone.p_holm) == (2**-5, 2**-5)
    verdicts = judge([*decided, mixed, gone])
    assert [v.p_holm for v in verdicts] == [4 / 32, 4 / 32, 4 / 32, None, None]
    (row,) = summarise(verdicts, PHENOMENA)
    assert row.counts["present"] == 3
    assert row.confirmed == {"present": None, "absent": None}  # four cells of five seeds: none could
    assert summarise([alone], PHENOMENA)[0].confirmed == {"present": 1, "absent": 0}


def test_the_setting_of_a_positive_control_is_shown_but_not_counted() -> None:
    """It was chosen because it shows the phenomenon; a negative control's setting was not."""
    positive, negative = PASSING
    same = [
        cell(effects(0.4, 0.5, 0.6), architecture=c.architecture, task=c.task) for c in (positive, negative)
    ]
    verdicts = judge([*PASSING, *same, cell(effects(5.0, 5.1, 5.2), architecture="cnn", task="other")])
    assert [v.counted for v in verdicts] == [False, False, False, True, True]
    (row,) = summarise(verdicts, PHENOMENA)
    assert (row.counts["present"], row.counts["absent"], row.applicable) == (1, 1, 2)
    assert row.pooled is not None
    assert row.pooled.cells == 2


def test_a_cell_recorded_twice_is_refused() -> None:
    with pytest.raises(MeasurementError, match="recorded twice") as caught:
        judge([cell(effects(0.5)), cell(effects(0.6))])
    assert caught.value.where == "edge / ratio / mlp / digits"
