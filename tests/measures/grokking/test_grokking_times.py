"""Times and labels on made-up accuracies."""

from __future__ import annotations

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.errors import MeasurementError
from universality.measures.grokking.times import (
    Thresholds,
    fragility,
    gap_area,
    grokking_times,
    sustained,
)

BUDGET = 4000
STEPS = np.unique(np.r_[np.arange(21), np.round(np.logspace(1.3, np.log10(BUDGET), 60)).astype(np.int64)])


def course(jumps, steps=STEPS):
    """Accuracy that takes, from each step on, the value given for it."""
    values = np.zeros(len(steps))
    for step, value in sorted(jumps.items()):
        values[steps >= step] = value
    return values


def run(train, validation, *, budget=BUDGET, chance=0.1, steps=STEPS, **thresholds):
    return grokking_times(
        steps,
        course(train, steps),
        course(validation, steps),
        budget=budget,
        chance=chance,
        thresholds=Thresholds(**thresholds),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 1, 1], 1),
        ([1, 0, 0, 0, 0], None),
        ([1, 1, 1, 1, 1], 1),
        ([0, 0, 0, 0, 0], None),
        ([0, 0, 0, 0, 1], 4),
    ],
    ids=["at once", "only at initialisation", "from the start", "never", "at the end"],
)
def test_the_first_sustained_step_is_at_least_one(values: list[float], expected: int | None) -> None:
    assert sustained(np.arange(5), np.array(values, float), 0.9) == expected


def test_a_blip_is_not_sustained() -> None:
    steps = np.arange(1, 1001)
    values = np.where(steps == 100, 1.0, np.where(steps >= 400, 1.0, 0.0))
    assert sustained(steps, values, 0.9) == 400


@pytest.mark.parametrize(("gaps", "expected"), [(2, 100), (3, 104)])
def test_a_fifth_of_the_records_up_to_a_tenth_later_may_fall_short(gaps: int, expected: int) -> None:
    # [100, 110] holds eleven records: two misses leave 9/11 = 0.82, three leave 8/11 = 0.73.
    steps = np.arange(1, 201)
    values = (steps >= 100).astype(float)
    values[[100, 101, 102][:gaps]] = 0.0  # steps 101, 102 and 103
    assert sustained(steps, values, 0.9) == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([70, 300, 5000]), st.floats(0.2, 0.95))
def test_the_first_sustained_step_is_that_of_its_slow_twin(seed, n, last, share):
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(last, n, replace=False))
    values = (rng.random(n) < share) * 1.0
    slow = None
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        near = values[(steps >= step) & (steps <= 1.1 * step)]
        if slow is None and step >= 1 and value >= 0.9 and (near >= 0.9).mean() >= 0.8:
            slow = step
    assert sustained(steps, values, 0.9) == slow


def test_the_gap_area_of_a_step_is_its_length_in_decades() -> None:
    steps = np.unique(np.round(np.logspace(0, 4, 4001)).astype(np.int64))
    train = (steps >= 10).astype(float)
    validation = (steps >= 1000).astype(float)
    # Each jump is smeared over one interval of the grid, half of which lies outside.
    grid = np.log10(np.array([11 / 10, 10 / 9, 1000 / 999])).sum()
    assert gap_area(steps, train, validation) == pytest.approx(2.0, abs=grid)


def test_the_gap_area_of_a_gap_linear_in_log_time_is_half_its_height_times_its_length() -> None:
    steps = np.array([0, *np.unique(np.round(np.logspace(0, 3, 200)).astype(np.int64))])
    high = np.ones(len(steps))
    falling = np.ones(len(steps))
    falling[1:] = np.log10(steps[1:]) / 3
    assert gap_area(steps, high, falling) == pytest.approx(1.5)
    assert gap_area(steps, falling, high) == 0.0


LABELS = {
    "late": ({10: 1.0}, {0: 0.1, 1000: 0.95}, "grokking"),
    "half generalised when memorised": ({10: 1.0}, {0: 0.549, 1000: 0.95}, "grokking"),
    "mostly generalised when memorised": ({10: 1.0}, {0: 0.551, 1000: 0.95}, "slow tail"),
    "soon": ({10: 1.0}, {0: 0.1, 60: 1.0}, "grokking"),
    "sooner": ({12: 1.0}, {0: 0.1, 49: 1.0}, "prompt"),
    "validation first": ({12: 1.0}, {3: 1.0}, "prompt"),
    "never": ({10: 1.0}, {0: 0.1}, "memorised only"),
    "never, with little time left": ({900: 1.0}, {0: 0.1}, "indeterminate"),
    "not memorised": ({10: 0.98}, {0: 0.1, 1000: 0.95}, "not fitted"),
}


@pytest.mark.parametrize("case", LABELS)
def test_every_course_of_training_has_its_label(case):
    train, validation, label = LABELS[case]
    assert run(train, validation).label == label


def test_a_ratio_of_exactly_five_is_a_delay():
    steps = np.array([1, 20, 99, 100, 101])
    assert run({20: 1.0}, {100: 1.0}, steps=steps, budget=101).label == "grokking"
    assert run({20: 1.0}, {99: 1.0}, steps=steps, budget=101).label == "prompt"
    # Without generalisation it is the budget that must reach five times t_mem.
    assert run({20: 1.0}, {0: 0.1}, steps=steps[:4], budget=100).label == "memorised only"
    assert run({20: 1.0}, {0: 0.1}, steps=steps[:3], budget=99).label == "indeterminate"


def test_the_delay_is_in_decades_and_known_to_the_grid_of_the_records():
    steps = np.array([0, 1, 10, 20, 1000, 2000])
    found = run({20: 1.0}, {0: 0.28, 2000: 0.95}, steps=steps, budget=2000)
    assert (found.t_mem, found.t_gen, found.delay, found.censored) == (20, 2000, 2.0, False)
    # Memorised in 11 .. 20, generalised in 1001 .. 2000.
    assert found.delay_low == pytest.approx(math.log10(1001 / 20))
    assert found.delay_high == pytest.approx(math.log10(2000 / 11))
    assert found.v_mem == pytest.approx(0.2)
    dense = run({3: 1.0}, {9: 1.0}, steps=np.arange(1, 20), budget=19)
    assert dense.delay_low == dense.delay == dense.delay_high


def test_without_generalisation_the_delay_is_a_bound_at_the_budget():
    found = run({10: 1.0}, {0: 0.1}, steps=np.array([1, 10, 100]), budget=100)
    assert (found.t_gen, found.delay, found.delay_high, found.censored) == (None, 1.0, math.inf, True)


@pytest.mark.parametrize("measure", [grokking_times, fragility])
def test_a_run_that_was_killed_is_not_one_that_did_not_generalise(measure):
    steps = np.array([1, 10, 90])
    train, validation = course({10: 1.0}, steps), course({0: 0.1}, steps)
    with pytest.raises(MeasurementError, match="records that end before the budget") as caught:
        measure(steps, train, validation, budget=100, chance=0.1)
    assert "last record 90, budget 100" in str(caught.value)
    assert "pass the last step as the budget" in str(caught.value)
    measure(steps, train, validation, budget=90, chance=0.1)


def test_a_threshold_that_a_guess_reaches_is_refused():
    with pytest.raises(MeasurementError, match=r"a guess reaches(.|\n)*threshold 0.9, chance 0.95"):
        run({10: 1.0}, {0: 0.95}, chance=0.95)
    with pytest.raises(MeasurementError, match="a guess reaches"):
        run({10: 1.0}, {0: 0.95}, chance=0.9)
    assert run({10: 1.0}, {0: 0.89, 1000: 0.95}, chance=0.89).label == "grokking"
    with pytest.raises(MeasurementError, match=r"threshold 0.8, chance 0.8"):
        fragility(STEPS, course({10: 1.0}), course({0: 0.8}), budget=BUDGET, chance=0.8)


def test_a_run_that_loses_generalisation_again_is_flagged():
    assert run({10: 1.0}, {1000: 0.95}).kept
    lost = run({10: 1.0}, {1000: 0.95, 3000: 0.3})
    assert (lost.label, lost.kept) == ("grokking", False)


def test_fragility_tries_every_threshold():
    train, validation = course({10: 0.96, 100: 0.995, 300: 1.0}), course({0: 0.1, 600: 0.85, 2000: 0.95})
    found = fragility(STEPS, train, validation, budget=BUDGET, chance=0.1)
    assert len(found.labels) == 18
    for (a, b, c), label in found.labels.items():
        t_mem = next(int(t) for t in STEPS if t >= {0.95: 10, 0.99: 100, 0.999: 300}[a])
        t_gen = next(int(t) for t in STEPS if t >= {0.8: 600, 0.9: 2000}[b])
        assert label == ("grokking" if t_gen >= c * t_mem else "prompt")
    assert found.fragile
    same = sum(label == found.labels[0.99, 0.9, 5.0] for label in found.labels.values())
    assert found.agreement == same / 18 < 1
    clear = fragility(STEPS, course({10: 1.0}), course({0: 0.1, 1000: 1.0}), budget=BUDGET, chance=0.1)
    assert not clear.fragile


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train": course({10: 1.0}) * np.nan}, "accuracies are not finite"),
        ({"validation": 100 * course({10: 1.0})}, r"no accuracies(.|\n)*to 100"),
        ({"chance": 1.0}, "no accuracies"),
        ({"budget": 100}, "last record 4000, budget 100"),
        ({"steps": STEPS[::-1].copy()}, "steps must rise"),
        ({"steps": STEPS[:3]}, "records do not match"),
        ({"steps": STEPS[::-1].astype(np.uint64)}, "steps must rise"),
        ({"steps": STEPS + 0.5}, "steps are not whole"),
        ({"steps": STEPS > 3}, "steps are not whole"),
        ({"steps": STEPS * np.nan}, "steps are not whole"),
        ({"steps": STEPS[:, None]}, "steps are no list of numbers"),
        ({"train": [[1.0], [1.0, 2.0]]}, "numpy does not read"),
        ({"train": torch.ones(len(STEPS), requires_grad=True)}, "numpy does not read"),
        ({"train": ["a"] * len(STEPS)}, "accuracies are no list of numbers"),
        ({"budget": math.inf}, "budget inf"),
        ({"budget": math.nan}, "budget nan"),
    ],
)
def test_records_without_meaning_are_refused(changes, text):
    given_ = {
        "steps": STEPS,
        "train": course({10: 1.0}),
        "validation": course({90: 1.0}),
        "budget": BUDGET,
        "chance": 0.1,
    }
    with pytest.raises(MeasurementError, match=text):
        unwrap(grokking_times)(**(given_ | changes))


def test_records_of_every_kind_of_array_are_the_same():
    train, validation = course({10: 1.0}), course({90: 1.0})
    plain = grokking_times(STEPS, train, validation, budget=BUDGET, chance=0.1)
    for kind in (torch.tensor, np.ndarray.tolist):
        assert (
            unwrap(grokking_times)(kind(STEPS), kind(train), kind(validation), budget=BUDGET, chance=0.1)
            == plain
        )
    for dtype in (np.uint64, np.float64):
        assert (
            unwrap(grokking_times)(STEPS.astype(dtype), train, validation, budget=BUDGET, chance=0.1) == plain
        )
    # Single precision's .9 lies below double precision's and still is at a threshold of .9.
    assert sustained(np.array([1]), np.array([0.9], np.float32), 0.9) == 1


@pytest.mark.parametrize("level", [0.0, -1.0, 1.1, math.nan])
def test_a_level_is_an_accuracy(level):
    with pytest.raises(MeasurementError, match="no such level"):
        sustained(np.array([1]), np.array([0.5]), level)


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": math.nan},
        {"train": 2.0},
        {"validation": 0.0},
        {"ratio": 0.5},
        {"ratio": math.inf},
        {"memorised": math.nan},
    ],
    ids=str,
)
def test_thresholds_that_judge_nothing_are_refused(wrong):
    with pytest.raises(MeasurementError, match=r"no run can be judged by|not finite"):
        Thresholds(**wrong)
