"""Every rule of the verdicts at its boundary, on records made by hand."""

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.judge.verdicts import Facts, decide, judge, universality
from universality.plugin.claims import Claim, Most, Within
from universality.plugin.records import CellRecord, Check, GroupRecord, Outcome, RunState

UNIT = Within(low=0, high=1)
DELAY = Most(at_least=5)
FACTS = {"edge": {"sense": "number"}}


def group(
    index: int,
    effect: float | None = 0.5,
    *,
    state: RunState = "done",
    gate: float | None = None,
    criterion: bool = True,
    censored: bool = False,
    units: tuple[str, ...] | None = None,
    message: str = "",
) -> GroupRecord:
    outcome = Outcome(
        effect=effect,
        gates=() if gate is None else (Check("train accuracy", gate, ">= 0.99", gate >= 0.99),),
        criteria=(Check("loss falls", 0.0, "yes", criterion),),
        censored=censored,
        details={"index": float(index)},
    )
    return GroupRecord(
        key=f"s{index}",
        units=(str(index),) if units is None else units,
        runs={"run": f"r{index}"},
        state=state,
        outcome=outcome if state == "done" else None,
        message=message,
    )


def cell(
    groups: Sequence[GroupRecord],
    claim: Claim = UNIT,
    *,
    architecture: str = "mlp",
    task: str = "digits",
    control: str = "",
    expects: tuple[str, ...] = (),
    not_applicable: str = "",
) -> CellRecord:
    return CellRecord(
        phenomenon="edge",
        version=1,
        claim_name="ratio",
        claim=claim,
        architecture=architecture,
        task=task,
        groups=tuple(groups),
        control=control,
        expects=expects,
        not_applicable=not_applicable,
    )


def effects(*values: float) -> list[GroupRecord]:
    return [group(i, value) for i, value in enumerate(values)]


def test_not_applicable_keeps_its_reason() -> None:
    found = decide(cell([], not_applicable="needs images"))
    assert (found.verdict, found.reason) == ("not applicable", "needs images")


def test_no_groups_are_missing() -> None:
    assert decide(cell([])).verdict == "missing"


def test_an_interval_inside_the_claim_is_present() -> None:
    found = decide(cell(effects(0.5, 0.55, 0.6)))
    assert found.verdict == "present"
    assert found.effect == pytest.approx(0.55)
    assert (found.groups, found.units, found.decided, found.holding) == (3, 3, 3, 3)
    assert found.details == {"index": 1.0}


def test_the_bounds_belong_to_the_claim() -> None:
    assert decide(cell(effects(1.0, 1.0, 1.0))).verdict == "present"


def test_an_interval_outside_the_claim_is_absent() -> None:
    assert decide(cell(effects(2.0, 2.1, 2.2))).verdict == "absent"


def test_a_straddling_interval_is_inconclusive_and_says_how_many_seeds_would_decide() -> None:
    found = decide(cell(effects(0.6, 0.8, 1.0)))
    assert found.verdict == "inconclusive"
    # Smallest n with t_{n-1} 0.2 / sqrt(n) < 0.2.
    assert found.seeds_needed == 7
    assert "about 7 seeds would decide" in found.reason


def test_an_interval_on_the_log_scale_follows_the_claim() -> None:
    values = effects(0.001, 0.01, 0.04)
    assert decide(cell(values, Within(high=10, scale="log"))).effect == pytest.approx(4e-7 ** (1 / 3))


@pytest.mark.parametrize(
    ("failing", "verdict"), [(1, "present"), (2, "inconclusive"), (4, "inconclusive"), (5, "absent")]
)
def test_criteria_that_fail_count_against_the_claim(failing: int, verdict: str) -> None:
    groups = [group(i, criterion=i >= failing) for i in range(5)]
    found = decide(cell(groups))
    assert (found.verdict, found.holding) == (verdict, 5 - failing)


def test_two_replicates_do_not_decide() -> None:
    found = decide(cell(effects(0.5, 0.5)))
    assert (found.verdict, found.reason) == ("inconclusive", "2 independent units, needs 3")


def test_groups_of_the_same_seed_are_not_replicates() -> None:
    groups = [group(i, units=("0",)) for i in range(5)]
    assert decide(cell(groups)).verdict == "inconclusive"


def test_a_unit_in_every_group_leaves_no_interval() -> None:
    groups = [group(i, 0.5 + i / 100, units=("null", str(i))) for i in range(4)]
    found = decide(cell(groups))
    assert (found.verdict, found.low) == ("inconclusive", None)
    assert "shares a unit" in found.reason


@pytest.mark.parametrize(("unmet", "verdict"), [(1, "present"), (2, "inconclusive")])
def test_eighty_percent_of_groups_must_meet_their_gates(unmet: int, verdict: str) -> None:
    groups = [group(i, gate=0.8 if i < unmet else 1.0) for i in range(5)]
    assert decide(cell(groups)).verdict == verdict


def test_the_most_common_unmet_gate_is_named_with_value_and_need() -> None:
    groups = [group(i, None, gate=0.8 + i / 100) for i in range(3)]
    found = decide(cell(groups))
    assert found.reason == "train accuracy = 0.81, needs >= 0.99 (in 3 of 3 groups)"
    assert (found.verdict, found.effect, found.decided) == ("inconclusive", None, 0)


@pytest.mark.parametrize("state", ["diverged", "failed", "crashed", "timeout", "missing"])
def test_more_than_a_fifth_of_failures_gives_their_state(state: RunState) -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, state=state, message="loss is nan")]
    found = decide(cell(groups))
    assert (found.verdict, found.reason) == (state, f"1 of 4 groups {state}: loss is nan")


def test_a_fifth_of_failures_still_decides() -> None:
    groups = [*effects(0.5, 0.5, 0.5, 0.5), group(4, state="diverged")]
    assert decide(cell(groups)).verdict == "present"


def test_a_fifth_of_failures_and_an_unmet_gate_name_the_gate() -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, gate=0.5), group(4, state="diverged")]
    found = decide(cell(groups))
    assert found.verdict == "inconclusive"
    assert "train accuracy" in found.reason


def test_the_most_common_failure_wins() -> None:
    groups = [group(0, state="timeout"), group(1, state="crashed"), group(2, state="crashed")]
    assert decide(cell(groups)).verdict == "crashed"


@pytest.mark.parametrize(("value", "scale"), [(math.nan, "linear"), (math.inf, "linear"), (0.0, "log")])
def test_an_effect_without_meaning_is_invalid(value: float, scale: str) -> None:
    claim = Within(low=0, scale=scale)  # type: ignore[arg-type]
    found = decide(cell(effects(0.5, 0.5, value), claim))
    assert found.verdict == "invalid"
    assert "s2" in found.reason


def test_censored_effects_do_not_enter_a_mean() -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, 0.1, censored=True), group(4, 0.1, censored=True)]
    found = decide(cell(groups))
    assert (found.verdict, found.decided) == ("inconclusive", 3)
    assert "not seen within the budget" in found.reason


@pytest.mark.parametrize(
    ("holding", "n", "verdict"),
    [
        (3, 3, "inconclusive"),
        (4, 4, "inconclusive"),
        (5, 5, "present"),
        (6, 7, "inconclusive"),
        (7, 8, "present"),
        (0, 4, "inconclusive"),
        (0, 5, "absent"),
        (1, 8, "absent"),
    ],
)
def test_most_is_decided_by_the_one_sided_clopper_pearson_bound(holding: int, n: int, verdict: str) -> None:
    """5 of 5: 0.05^(1/5) = .549; 4 of 4: .473; 7 of 8: .529; 6 of 7: .479."""
    found = decide(cell(effects(*[10.0] * holding, *[2.0] * (n - holding)), DELAY))
    assert (found.verdict, found.holding) == (verdict, holding)


def test_a_unanimous_claim_of_most_needs_five_seeds() -> None:
    found = decide(cell(effects(10, 10, 10), DELAY))
    assert (found.seeds_needed, found.reason) == (
        5,
        "mixed: 3 of 3 hold, 95% interval of the share 29% to 100%; about 5 groups would decide",
    )


def test_an_undecided_group_forbids_absence_but_not_presence() -> None:
    open_group = group(9, None, gate=0.5)
    absent = decide(cell([*effects(*[2.0] * 5), open_group], DELAY))
    assert (absent.verdict, absent.reason) == ("inconclusive", "0 of 5 hold, but 1 undecided")
    assert decide(cell([*effects(*[10.0] * 5), open_group], DELAY)).verdict == "present"


def test_the_effect_of_most_is_the_kaplan_meier_median() -> None:
    groups = [group(i, 6.0 + i, censored=i == 4) for i in range(5)]
    assert decide(cell(groups, DELAY)).effect == 8
    late = [group(i, 6.0 + i, censored=i > 0) for i in range(5)]
    assert decide(cell(late, DELAY)).effect is None


def test_pairs_that_share_seeds_are_not_independent_trials() -> None:
    """Ten pairs of five seeds hold, but only two and a half of them fit without sharing."""
    pairs = [(i, j) for i in range(5) for j in range(i)]
    groups = [group(k, 10.0, units=(str(i), str(j))) for k, (i, j) in enumerate(pairs)]
    assert decide(cell(groups, DELAY)).verdict == "inconclusive"


@pytest.mark.parametrize("seeds", [3, 4, 5])
@pytest.mark.parametrize("claim", [Within(low=0), Within(low=-3, high=0)], ids=["one-sided", "two-sided"])
def test_false_presence_under_the_null_is_at_most_five_percent(seeds: int, claim: Within) -> None:
    """The null closest to the claim: the mean lies on its bound."""
    rng = np.random.default_rng(seeds)
    trials = 1000
    found = [decide(cell(effects(*rng.normal(size=seeds).tolist()), claim)).verdict for _ in range(trials)]
    # Nominal .025; three standard errors are .015.
    assert found.count("present") / trials <= 0.04


def control(sign: str, effect: float, *expects: str) -> CellRecord:
    return cell(effects(*[effect] * 3), architecture=f"{sign} net", control=f"{sign}: toy", expects=expects)


PASSING = [control("positive", 0.5, "present"), control("negative", 3.0, "absent", "inconclusive")]


def test_controls_that_pass_validate_the_row() -> None:
    verdicts = judge([cell(effects(0.5, 0.5, 0.5)), *PASSING])
    (row,) = universality(verdicts, FACTS)
    assert [v.passed for v in verdicts] == [None, True, True]
    assert (row.validated, row.controls, row.failed_controls) == (True, 2, ())
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
    assert "negative: toy is present, expected absent" in verdicts[0].reason
    (row,) = universality(verdicts, FACTS)
    assert (row.validated, row.prevalence, row.pooled) == (False, None, None)
    assert row.failed_controls == ("negative: toy is present, expected absent",)


def test_a_row_without_controls_is_unvalidated_but_not_invalid() -> None:
    verdicts = judge([cell(effects(0.5, 0.5, 0.5))])
    assert verdicts[0].verdict == "present"
    assert universality(verdicts, FACTS)[0].failed_controls == (
        "no positive control was run",
        "no negative control was run",
    )


def test_prevalence_counts_only_present_and_absent() -> None:
    records = [
        cell(effects(0.5, 0.5, 0.5), architecture="a", task="s"),
        cell(effects(0.5, 0.5, 0.5), architecture="a", task="t"),
        cell(effects(3.0, 3.0, 3.0), architecture="b", task="s"),
        cell(effects(0.6, 0.8, 1.0), architecture="b", task="t"),
        cell([], architecture="c", task="s", not_applicable="no"),
    ]
    (row,) = universality(judge([*records, *PASSING]), FACTS)
    assert row.prevalence is not None
    assert row.prevalence.estimate == pytest.approx(2 / 3)
    assert (row.decided, row.applicable, row.coverage) == (3, 4, 0.75)
    # The straddling cell is measured, so it belongs to the mean: (.5 + .5 + 3 + .8)/4.
    assert row.pooled is not None
    assert (row.pooled.cells, row.pooled.estimate) == (4, pytest.approx(1.2))


def test_p_values_meet_the_level_where_the_interval_meets_its_bound() -> None:
    """A 95 % interval that just clears both bounds has a one-sided p of 2.5 %."""
    values = [0.4, 0.5, 0.6]
    found = decide(cell(effects(*values)))
    assert found.low is not None
    touching = decide(cell(effects(*values), Within(low=found.low - 1e-9, high=9)))
    assert touching.verdict == "present"
    assert touching.p == pytest.approx(0.025, abs=1e-6)
    outside = decide(cell(effects(*values), Within(high=found.low - 1e-9)))
    assert outside.verdict == "absent"
    assert outside.p == pytest.approx(0.025, abs=1e-6)
    seen = decide(cell(effects(*[10.0] * 5), DELAY))
    assert (seen.verdict, seen.p) == ("present", 2**-5)
    unseen = decide(cell(effects(*[1.0] * 5), DELAY))
    assert (unseen.verdict, unseen.p) == ("absent", 2**-5)
    assert decide(cell(effects(0.9, 1.0, 1.1))).p is None


def test_holm_counts_every_measured_cell_but_no_control() -> None:
    """Undecided cells were tests as well; three decided ones at p = 1/32 do not survive four tests."""
    decided = [cell(effects(*[10.0] * 5), DELAY, task=t) for t in "abc"]
    mixed = cell(effects(10.0, 10.0, 10.0, 1.0, 1.0), DELAY, task="d")
    gone = cell([group(i, state="crashed") for i in range(5)], DELAY, task="e")
    alone = judge(decided[:1])[0]
    assert (alone.p, alone.p_holm) == (2**-5, 2**-5)
    verdicts = judge([*decided, mixed, gone])
    assert [v.p_holm for v in verdicts] == [4 / 32, 4 / 32, 4 / 32, None, None]
    (row,) = universality(verdicts, FACTS)
    assert row.counts["present"] == 3
    assert row.confirmed == {"present": 0, "absent": 0}
    assert universality([alone], FACTS)[0].confirmed == {"present": 1, "absent": 0}


def test_the_setting_of_a_positive_control_is_shown_but_not_counted() -> None:
    """It was chosen because it shows the phenomenon; a negative control's setting was not."""
    positive, negative = PASSING
    same = [
        cell(effects(0.4, 0.5, 0.6), architecture=c.architecture, task=c.task) for c in (positive, negative)
    ]
    verdicts = judge([*PASSING, *same, cell(effects(5.0, 5.1, 5.2), architecture="cnn", task="other")])
    assert [v.counted for v in verdicts] == [False, False, False, True, True]
    (row,) = universality(verdicts, FACTS)
    assert (row.counts["present"], row.counts["absent"], row.applicable) == (1, 1, 2)
    assert row.pooled is not None
    assert row.pooled.cells == 2


def test_a_claim_of_most_is_not_pooled() -> None:
    assert universality(judge([cell(effects(*[10.0] * 5), DELAY)]), FACTS)[0].pooled is None


@pytest.mark.parametrize(
    "facts", [{"edge": {"sense": "form"}}, {"edge": {"sense": "sign"}}, {"edge": {}}, {}]
)
def test_effects_are_pooled_only_where_one_number_is_claimed(facts: Facts) -> None:
    """Constants of a form and sizes of a sign belong to the cell: their mean says which cells were chosen."""
    cells = [cell(effects(0.4, 0.5, 0.6), architecture=a, task=t) for a in "ab" for t in "st"]
    assert universality(judge(cells), FACTS)[0].pooled is not None
    (row,) = universality(judge(cells), facts)
    assert row.pooled is None
    assert row.prevalence is not None


def test_a_cell_recorded_twice_is_refused() -> None:
    with pytest.raises(MeasurementError, match="recorded twice") as caught:
        judge([cell(effects(0.5)), cell(effects(0.6))])
    assert caught.value.where == "edge / ratio / mlp / digits"


def test_verdicts_and_reports_do_not_import_torch() -> None:
    code = (
        "import sys, universality.judge.verdicts, universality.report;"
        "sys.exit(sorted(m for m in sys.modules if m.split('.')[0] == 'torch')[:1] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
