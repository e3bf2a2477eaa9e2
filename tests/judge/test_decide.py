"""Every rule of the verdicts at its boundary, on measurements made by hand."""

import math
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
from msgspec.structs import replace

from tests.judge.toy_cells import DELAY, cell, effects, group
from universality.judge.decide import ReasonKind, Verdict, decide
from universality.plugin.bounds import Most, Within
from universality.plugin.outcome import Outcome
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord, Problem


def test_not_applicable_keeps_its_reason() -> None:
    decision = decide(cell([], not_applicable="needs images"))
    assert (decision.verdict, str(decision.reason)) == ("not applicable", "needs images")


def test_no_groups_are_missing() -> None:
    assert decide(cell([])).verdict == "missing"


def test_an_interval_inside_the_claim_is_present() -> None:
    decision = decide(cell(effects(0.5, 0.55, 0.6)))
    assert decision.verdict == "present"
    assert decision.effect == pytest.approx(0.55)
    assert (decision.groups, decision.units, decision.decided, decision.holding) == (3, 3, 3, 3)
    assert decision.details == {"index": 1.0}


def test_the_bounds_belong_to_the_claim() -> None:
    assert decide(cell(effects(1.0, 1.0, 1.0))).verdict == "present"


def test_an_interval_outside_the_claim_is_absent() -> None:
    assert decide(cell(effects(2.0, 2.1, 2.2))).verdict == "absent"


def test_a_straddling_interval_is_inconclusive_and_says_how_many_seeds_would_decide() -> None:
    decision = decide(cell(effects(0.6, 0.8, 1.0)))
    assert decision.verdict == "inconclusive"
    # Smallest n with t_{n-1} 0.2 / sqrt(n) < 0.2.
    assert decision.seeds_needed == 7
    assert "about 7 seeds would decide" in str(decision.reason)


def test_an_interval_on_the_log_scale_follows_the_claim() -> None:
    values = effects(0.001, 0.01, 0.04)
    assert decide(cell(values, Within(high=10, scale="log"))).effect == pytest.approx(4e-7 ** (1 / 3))


@pytest.mark.parametrize(
    ("failing", "verdict"), [(1, "present"), (2, "inconclusive"), (4, "inconclusive"), (5, "absent")]
)
def test_criteria_that_fail_count_against_the_claim(failing: int, verdict: str) -> None:
    groups = [group(i, criterion=i >= failing) for i in range(5)]
    decision = decide(cell(groups))
    assert (decision.verdict, decision.holding) == (verdict, 5 - failing)


def test_two_replicates_do_not_decide() -> None:
    decision = decide(cell(effects(0.5, 0.5)))
    assert (decision.verdict, str(decision.reason)) == ("inconclusive", "2 independent units, needs 3")


def test_groups_of_the_same_seed_are_not_replicates() -> None:
    groups = [group(i, units=("0",)) for i in range(5)]
    assert decide(cell(groups)).verdict == "inconclusive"


def test_a_unit_in_every_group_leaves_no_interval() -> None:
    groups = [group(i, 0.5 + i / 100, units=("null", str(i))) for i in range(4)]
    decision = decide(cell(groups))
    assert (decision.verdict, decision.low) == ("inconclusive", None)
    assert "shares a unit" in str(decision.reason)


@pytest.mark.parametrize(("unmet", "verdict"), [(1, "present"), (2, "inconclusive")])
def test_eighty_percent_of_groups_must_meet_their_gates(unmet: int, verdict: str) -> None:
    groups = [group(i, gate=0.8 if i < unmet else 1.0) for i in range(5)]
    assert decide(cell(groups)).verdict == verdict


def test_the_most_common_unmet_gate_is_named_with_value_and_need() -> None:
    groups = [group(i, None, gate=0.8 + i / 100) for i in range(3)]
    decision = decide(cell(groups))
    assert str(decision.reason) == "train accuracy = 0.81, needs >= 0.99 (in 3 of 3 groups)"
    assert (decision.verdict, decision.effect, decision.decided) == ("inconclusive", None, 0)


@pytest.mark.parametrize("state", ["diverged", "failed", "crashed", "timeout", "missing"])
def test_more_than_a_fifth_of_failures_gives_their_state(state: RunState) -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, state=state, problem="loss is nan")]
    decision = decide(cell(groups))
    assert (decision.verdict, str(decision.reason)) == (state, f"1 of 4 groups {state}: loss is nan")


def test_a_fifth_of_failures_still_decides() -> None:
    groups = [*effects(0.5, 0.5, 0.5, 0.5), group(4, state="diverged")]
    assert decide(cell(groups)).verdict == "present"


def test_a_fifth_of_failures_and_an_unmet_gate_name_the_gate() -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, gate=0.5), group(4, state="diverged")]
    decision = decide(cell(groups))
    assert decision.verdict == "inconclusive"
    assert "train accuracy" in str(decision.reason)


def test_the_most_common_failure_wins() -> None:
    groups = [group(0, state="timeout"), group(1, state="crashed"), group(2, state="crashed")]
    assert decide(cell(groups)).verdict == "crashed"


@pytest.mark.parametrize(("value", "scale"), [(math.nan, "linear"), (math.inf, "linear"), (0.0, "log")])
def test_an_effect_without_meaning_is_invalid(value: float, scale: str) -> None:
    claim = Within(low=0, scale=scale)  # type: ignore[arg-type]
    decision = decide(cell(effects(0.5, 0.5, value), claim))
    assert decision.verdict == "invalid"
    assert "s2" in str(decision.reason)


def test_censored_effects_do_not_enter_a_mean() -> None:
    groups = [*effects(0.5, 0.5, 0.5), group(3, 0.1, censored=True), group(4, 0.1, censored=True)]
    decision = decide(cell(groups))
    assert (decision.verdict, decision.decided) == ("inconclusive", 3)
    assert "not seen within the budget" in str(decision.reason)


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
    decision = decide(cell(effects(*[10.0] * holding, *[2.0] * (n - holding)), DELAY))
    assert (decision.verdict, decision.holding) == (verdict, holding)


def test_a_unanimous_claim_of_most_needs_five_seeds() -> None:
    decision = decide(cell(effects(10, 10, 10), DELAY))
    assert (decision.seeds_needed, str(decision.reason)) == (
        5,
        "too few to tell: 3 of 3 hold; 95% interval of the share 29% to 100%; about 5 seeds would decide",
    )


def test_an_undecided_group_forbids_absence_but_not_presence() -> None:
    open_group = group(9, None, gate=0.5)
    absent = decide(cell([*effects(*[2.0] * 5), open_group], DELAY))
    assert (absent.verdict, str(absent.reason)) == (
        "inconclusive",
        "most miss: 0 of 5 hold, below the claim (in 5 of 5 groups); but 1 undecided",
    )
    assert decide(cell([*effects(*[10.0] * 5), open_group], DELAY)).verdict == "present"


def test_the_effect_of_most_is_the_kaplan_meier_median() -> None:
    groups = [group(i, 6.0 + i, censored=i == 4) for i in range(5)]
    assert decide(cell(groups, DELAY)).effect == 8
    late = [group(i, 6.0 + i, censored=i > 0) for i in range(5)]
    assert decide(cell(late, DELAY)).effect is None


def test_budgets_that_ended_too_early_count_as_long_in_the_median_of_times() -> None:
    """Two of five seen early; of the others it is known that they take longer, and not more."""
    seen = effects(5.0, 6.0)
    late = [group(i, 50.0, censored=True, gate=0.5) for i in range(2, 5)]
    decision = decide(cell([*seen, *late], DELAY))
    assert (decision.verdict, decision.decided, decision.effect) == ("inconclusive", 2, None)
    assert decide(cell([*effects(5.0, 6.0, 7.0), *late[1:]], DELAY)).effect == 7.0


def test_most_may_be_claimed_of_what_has_any_sign() -> None:
    claim = Most(at_least=0.7, scale="linear", ceiling=1.0)
    decision = decide(cell(effects(-0.2, 0.0, 0.0, 0.1, 0.1), claim))
    assert (decision.verdict, decision.effect) == ("absent", 0.0)
    assert decide(cell(effects(*[1.0] * 5), claim)).verdict == "present"


def test_pairs_that_share_seeds_are_not_independent_trials() -> None:
    """Ten pairs of five seeds hold, but only two and a half of them fit without sharing."""
    pairs = [(i, j) for i in range(5) for j in range(i)]
    groups = [group(k, 10.0 + k, units=(str(i), str(j))) for k, (i, j) in enumerate(pairs)]
    found = decide(cell(groups, DELAY))
    assert (found.verdict, found.trials, found.seeds_needed) == ("inconclusive", 2.5, 10)
    # Nor is the interval of their median that of ten independent times.
    assert (found.effect, found.low, found.high) == (14.0, None, None)
    assert decide(cell(effects(*[10.0 + k for k in range(10)]), DELAY)).low is not None


def test_a_unit_in_every_group_is_no_replicate_of_a_share() -> None:
    groups = [group(i, 10.0, units=("null", str(i))) for i in range(20)]
    found = decide(cell(groups, DELAY))
    assert found.trials < 2
    assert found.verdict == "inconclusive"


REASONS: dict[str, tuple[CellRecord, str]] = {
    "inside": (
        cell(effects(0.5, 0.55, 0.6)),
        "inside the claim: 95% interval 0.426 to 0.674, claimed 0 to 1; 3 of 3 hold",
    ),
    "below": (
        cell(effects(-0.2, -0.1, 0.0), Within(low=0.2)),
        "below the claim: 95% interval -0.348 to 0.148, claimed >= 0.2; 0 of 3 hold",
    ),
    "above": (
        cell(effects(2.0, 2.1, 2.2)),
        "above the claim: 95% interval 1.85 to 2.35, claimed 0 to 1; 0 of 3 hold",
    ),
    "on both bounds": (
        cell(effects(-3.0, 0.5, 4.0)),
        "straddles both bounds: 95% interval -8.19 to 9.19, claimed 0 to 1; 1 of 3 hold, too few for presence with however "
        "many seeds of this spread",
    ),
    "on a bound, with a criterion that fails": (
        cell([group(i, v, criterion=i > 1) for i, v in enumerate((0.6, 0.8, 1.0))]),
        "straddles the upper bound: 95% interval 0.303 to 1.3, claimed 0 to 1; 1 of 3 hold, "
        "loss falls = 0, needs >= 1 (in 2 of 3 groups)",
    ),
    "criterion in all": (
        cell([group(i, 0.5 + i / 100, criterion=False) for i in range(3)]),
        "mixed: 95% interval 0.485 to 0.535 is inside 0 to 1, but 0 of 3 hold, "
        "loss falls = 0, needs >= 1 (in 3 of 3 groups)",
    ),
    "most miss": (
        cell([group(i, criterion=False) for i in range(5)]),
        "most miss a criterion: 0 of 5 hold, loss falls = 0, needs >= 1 (in 5 of 5 groups); "
        "95% interval 0.5 to 0.5, claimed 0 to 1",
    ),
    "share, present": (
        cell(effects(*[10.0] * 5), DELAY),
        "most hold: 5 of 5 hold; one-sided 95% bound of the share 0.549 > 0.5",
    ),
    "share, absent": (
        cell(effects(*[2.0] * 5), DELAY),
        "most miss: 0 of 5 hold, below the claim (in 5 of 5 groups); one-sided 95% bound of the share 0.451 < 0.5",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_says_what_was_seen_and_what_decided(case: str) -> None:
    record, text = REASONS[case]
    assert str(decide(record).reason) == text


def test_no_number_is_rounded_onto_its_bound() -> None:
    """A gate at 0.99 that 0.98996 misses, and an interval that begins a millionth below its bound."""
    gated = [group(i, None, gate=0.98996) for i in range(3)]
    assert str(decide(cell(gated)).reason).startswith("train accuracy = 0.98996, needs >= 0.99 ")
    low = decide(cell(effects(0.5, 0.55, 0.6))).low
    assert low is not None
    straddling = decide(cell(effects(0.5, 0.55, 0.6), Within(low=low + 1e-6)))
    assert "95% interval 0.42579 to 0.674, claimed >= 0.425794;" in str(straddling.reason)


@pytest.mark.parametrize("seeds", [3, 4, 5])
@pytest.mark.parametrize("claim", [Within(low=0), Within(low=-3, high=0)], ids=["one-sided", "two-sided"])
def test_false_presence_under_the_null_is_at_most_five_percent(seeds: int, claim: Within) -> None:
    """The null closest to the claim: the mean lies on its bound."""
    rng = np.random.default_rng(seeds)
    trials = 1000
    decision = [decide(cell(effects(*rng.normal(size=seeds).tolist()), claim)).verdict for _ in range(trials)]
    # Nominal .025; three standard errors are .015.
    assert decision.count("present") / trials <= 0.04


def test_p_values_meet_the_level_where_the_interval_meets_its_bound() -> None:
    """A 95 % interval that just clears both bounds has a one-sided p of 2.5 %."""
    values = [0.4, 0.5, 0.6]
    decision = decide(cell(effects(*values)))
    assert decision.low is not None
    touching = decide(cell(effects(*values), Within(low=decision.low - 1e-9, high=9)))
    assert touching.verdict == "present"
    assert touching.p == pytest.approx(0.025, abs=1e-6)
    outside = decide(cell(effects(*values), Within(high=decision.low - 1e-9)))
    assert outside.verdict == "absent"
    assert outside.p == pytest.approx(0.025, abs=1e-6)
    seen = decide(cell(effects(*[10.0] * 5), DELAY))
    assert (seen.verdict, seen.p) == ("present", 2**-5)
    unseen = decide(cell(effects(*[1.0] * 5), DELAY))
    assert (unseen.verdict, unseen.p) == ("absent", 2**-5)
    assert decide(cell(effects(0.9, 1.0, 1.1))).p is None


SHARED = [group(i, 0.5 + i / 100, units=("null", str(i))) for i in range(4)]
UNMEASURED = GroupRecord(
    key="s9", units=("9",), runs={"run": "r9"}, state="failed", problem=Problem("measuring", "no variance")
)
NOTHING = GroupRecord(key="s9", units=("9",), runs={"run": "r9"}, state="done")
NO_EFFECT = GroupRecord(
    key="s9", units=("9",), runs={"run": "r9"}, state="done", outcome=Outcome(effect=None)
)

RULES: dict[str, tuple[CellRecord, Verdict, ReasonKind, str]] = {
    "not applicable": (cell([], not_applicable="needs images"), "not applicable", "not applicable", ""),
    "nothing planned": (cell([]), "missing", "ended early", ""),
    "ended early": (cell([group(i, state="crashed") for i in range(3)]), "crashed", "ended early", ""),
    "failed in measuring": (cell([UNMEASURED]), "failed", "ended early", ""),
    "no number": (cell(effects(0.5, 0.5, math.nan)), "invalid", "meaningless effect", ""),
    "inside": (cell(effects(0.5, 0.55, 0.6)), "present", "interval inside", ""),
    "outside": (cell(effects(2.0, 2.1, 2.2)), "absent", "interval outside", ""),
    "most groups miss": (cell([group(i, criterion=False) for i in range(5)]), "absent", "share", ""),
    "some groups miss": (cell([group(i, criterion=i > 1) for i in range(5)]), "inconclusive", "mixed", ""),
    "straddles": (cell(effects(0.6, 0.8, 1.0)), "inconclusive", "straddles", ""),
    "shared unit": (cell(SHARED), "inconclusive", "shared unit", ""),
    "few replicates": (cell(effects(0.5, 0.5)), "inconclusive", "too few replicates", ""),
    "gate": (
        cell([group(i, None, gate=0.8) for i in range(3)]),
        "inconclusive",
        "gate",
        "train accuracy",
    ),
    "censored": (
        cell([group(i, 0.1, censored=True) for i in range(3)]),
        "inconclusive",
        "censored",
        "not seen within the budget",
    ),
    "no outcome": (cell([NOTHING]), "inconclusive", "no effect", "nothing was measured"),
    "no effect": (cell([NO_EFFECT]), "inconclusive", "no effect", "there was no effect to measure"),
    "most hold": (cell(effects(*[10.0] * 5), DELAY), "present", "share", ""),
    "most miss": (cell(effects(*[2.0] * 5), DELAY), "absent", "share", ""),
    "three hold": (cell(effects(*[10.0] * 3), DELAY), "inconclusive", "mixed", ""),
    "one is undecided": (
        cell([*effects(*[2.0] * 5), group(9, None, gate=0.5)], DELAY),
        "inconclusive",
        "undecided groups",
        "",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_kind_of_reason_of_its_own(rule: str) -> None:
    record, verdict, kind, subject = RULES[rule]
    decision = decide(record)
    assert (decision.verdict, decision.raw) == (verdict, verdict)
    assert (decision.reason.kind, decision.reason.subject) == (kind, subject)
    assert str(decision.reason) == decision.reason.text != ""


def test_the_rules_above_cover_every_kind_of_reason_but_that_of_controls() -> None:
    kinds = {kind for _, _, kind, _ in RULES.values()}
    assert kinds == set(get_args(ReasonKind)) - {"control failed"}


def test_reasons_that_differ_in_numbers_alone_have_one_kind_and_subject() -> None:
    near, far = (decide(cell([group(i, None, gate=g) for i in range(3)])).reason for g in (0.9, 0.1))
    assert near.text != far.text
    assert (near.kind, near.subject) == (far.kind, far.subject)


def test_runs_that_were_not_seen_in_time_forbid_presence_as_misses_would() -> None:
    """Five of six hold, .418 as a bound of the share; of five alone it is .549."""
    early = [group(i, 10.0) for i in range(5)]
    assert decide(cell(early, Most(at_least=5.0))).verdict == "present"
    found = decide(cell([*early, group(5, 400.0, gate=0.5, censored=True)], Most(at_least=5.0)))
    assert found.verdict == "inconclusive"
    assert "5 of 5 hold, 1 not seen within the budget" in found.reason.text
    # One that a gate left, and that was not waited for, says nothing.
    assert decide(cell([*early, group(5, None, gate=0.5)], Most(at_least=5.0))).verdict == "present"


def test_an_infinite_bound_of_a_time_is_no_time() -> None:
    never = group(5, math.inf, gate=0.5, censored=True)
    assert decide(cell([*[group(i, 10.0) for i in range(5)], never], Most(at_least=5.0))).effect == 10.0


def test_no_number_of_seeds_is_promised_where_the_spread_forbids_presence() -> None:
    """The mean lies inside, and two of five runs outside: an interval inside would be mixed."""
    found = decide(cell(effects(0.2, 0.3, 0.9, 1.3, 1.4)))
    assert (found.verdict, found.seeds_needed) == ("inconclusive", None)
    assert "too few for presence with however many seeds" in found.reason.text
    wide = decide(cell(effects(0.1, 0.3, 0.5, 0.9, 1.3)))
    assert wide.seeds_needed is not None


def test_of_pseudo_values_the_interval_alone_decides() -> None:
    """Fourteen of twenty lie inside, which is no share of runs that hold: their mean is inside with its interval."""
    values = [0.5] * 14 + [1.05] * 6

    def groups(runs: Mapping[str, str] | None) -> list[GroupRecord]:
        made = effects(*values)
        return [replace(g, runs=runs) if runs else g for g in made]

    assert decide(cell(groups(None))).reason.kind == "mixed"
    found = decide(cell(groups({f"s{i}": f"r{i}" for i in range(20)})))
    assert found.verdict == "present"
    assert found.reason.text.endswith("20 of 20 meet all criteria")


def against(partner: int, effect: float | None = 0.5, *, open_: int = 0, seeds: int = 5) -> list[GroupRecord]:
    """The groups of one partner at each seed, the first of which a gate leaves open."""
    made = [group(i, effect, gate=0.5 if i < open_ else 1.0, units=(f"s{i}",)) for i in range(seeds)]
    return [replace(g, key=f"architectures/{partner}/{g.key}") for g in made]


@pytest.mark.parametrize(("open_", "left_out"), [(1, 0), (2, 1)])
def test_a_partner_of_which_less_than_four_fifths_are_decided_is_left_out(open_: int, left_out: int) -> None:
    """What a partner is unfit for is no evidence of the others, and what is left of it counts no more than the rest."""
    others = [g for partner in (1, 2, 3) for g in against(partner)]
    found = decide(cell([*against(0, 9.0, open_=open_), *others], Within(high=1.0)))
    assert found.groups == 20 - 5 * left_out
    if left_out:
        assert (found.verdict, found.effect, found.decided) == ("present", 0.5, 15)
        assert "1 of 4 partners left out: train accuracy = 0.5, needs >= 0.99 (in 2 of 5 groups)" in str(
            found.reason
        )
    else:
        assert found.verdict != "present"
        assert "left out" not in str(found.reason)


@pytest.mark.parametrize(("unfit", "verdict"), [(2, "present"), (3, "inconclusive")])
def test_a_cell_needs_half_of_its_partners(unfit: int, verdict: str) -> None:
    groups = [g for partner in range(4) for g in against(partner, open_=5 if partner < unfit else 0)]
    found = decide(cell(groups))
    assert (found.verdict, found.groups) == (verdict, 10 if verdict == "present" else 20)


def test_the_seeds_of_one_network_are_no_partners() -> None:
    """A fifth of them may be open, and two of five are too many."""
    found = decide(cell(against(0, open_=2)))
    assert (found.verdict, found.groups) == ("inconclusive", 5)
