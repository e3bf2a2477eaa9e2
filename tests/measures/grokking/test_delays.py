"""Summaries of groups of delays against closed forms, by hand and by simulation."""

from __future__ import annotations

import math
from importlib import import_module
from inspect import unwrap
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from universality.errors import MeasurementError
from universality.measures.grokking.delays import delay_summary, permutation_logrank


def summary(delays, censored=None, **arguments):
    delays = np.asarray(delays, dtype=float)
    flags = np.zeros(len(delays), dtype=bool) if censored is None else np.asarray(censored, dtype=bool)
    return delay_summary(delays, flags, **arguments)


def test_without_censoring_the_summary_is_the_mean_with_students_interval():
    x = np.array([-0.3, 0.9, 1.4, 1.4, 2.0, 2.2])
    found = summary(x)
    assert found.restricted_mean == pytest.approx(x.mean())
    # Greenwood's variance without censoring is that of the empirical distribution, times k/(k-1).
    half = stats.t.ppf(0.975, 5) * x.std(ddof=1) / 6**0.5
    assert (found.restricted_low, found.restricted_high) == pytest.approx((x.mean() - half, x.mean() + half))
    assert (found.median, found.runs, found.censored, found.horizon) == (1.4, 6, 0, 2.2)


def test_the_restricted_mean_by_hand():
    # S is 3/4 from 1, then 3/8 from 2 (one of two left after the run censored at 1.5): h = 3.
    found = summary([1.0, 1.5, 2.0, 3.0], [False, True, False, True])
    assert found.restricted_mean == pytest.approx(1 + 0.75 * 1 + 0.375 * 1)
    assert found.median == 2.0
    # variance 2/1 (A_1^2 1/(4 3) + A_2^2 1/(2 1)), A_1 = 1.125, A_2 = .375
    se = (2 * (1.125**2 / 12 + 0.375**2 / 2)) ** 0.5
    assert found.restricted_high - found.restricted_mean == pytest.approx(stats.t.ppf(0.975, 1) * se)


def test_a_horizon_cuts_every_delay_at_it():
    x = np.array([0.5, 1.0, 4.0, 9.0])
    assert summary(x, horizon=2.0).restricted_mean == pytest.approx(np.minimum(x, 2.0).mean())
    assert summary(x, horizon=20.0).restricted_mean == pytest.approx(x.mean())
    with pytest.raises(MeasurementError, match="beyond what was observed"):
        summary([1.0, 2.0], [False, True], horizon=2.5)


def test_delays_of_either_sign_have_the_same_median_as_shifted_ones():
    x, flags = np.array([-0.4, -0.1, 0.2, 0.3, 1.7, 2.0]), [False, False, False, True, False, True]
    near, far = summary(x, flags), summary(x + 3, flags)
    assert near.median == pytest.approx(far.median - 3)
    assert near.median_low == pytest.approx(far.median_low - 3)
    assert near.median in x
    assert near.median_high == far.median_high - 3 or near.median_high == pytest.approx(far.median_high - 3)


def test_nothing_but_censored_delays_have_no_median():
    found = summary([1.0, 2.0, 1.5], [True] * 3)
    assert (found.median, found.median_low, found.median_high) == (None, -math.inf, math.inf)
    assert (found.restricted_mean, found.restricted_low) == (2.0, None)


@pytest.mark.parametrize(("censoring", "least"), [(0.0, 0.93), (0.35, 0.93)])
def test_coverage_of_the_restricted_mean(censoring, least):
    # 300 groups of 8: the standard error of a coverage of .95 is .013; three of them below what was measured.
    draw = np.random.default_rng(0)
    end, horizon = 1.5 + stats.norm.ppf(1 - censoring) if censoring else math.inf, 1.8
    horizon = min(horizon, end)
    truth = horizon - stats.norm.expect(lambda x: max(horizon - x, 0.0), loc=1.5, epsabs=1e-6)
    covered = usable = 0
    for _ in range(300):
        x = draw.normal(1.5, 1, 8)
        found = summary(np.minimum(x, end), x > end, horizon=horizon)
        if found.restricted_low is not None:
            usable += 1
            covered += found.restricted_low <= truth <= found.restricted_high
    assert usable > 290
    assert least < covered / usable < 0.998


def hypergeometric_z(x, cx, y, cy):
    """Log-rank by its textbook table: (O - E) and its hypergeometric variance."""
    times = sorted({t for t, c in [*zip(x, cx, strict=True), *zip(y, cy, strict=True)] if not c})
    difference = variance = 0.0
    for t in times:
        n1, n2 = sum(v >= t for v in x), sum(v >= t for v in y)
        d1 = sum(v == t and not c for v, c in zip(x, cx, strict=True))
        d = d1 + sum(v == t and not c for v, c in zip(y, cy, strict=True))
        n = n1 + n2
        difference += d1 - d * n1 / n
        if n > 1:
            variance += d * n1 * n2 * (n - d) / (n**2 * (n - 1))
    return difference, variance


def test_the_permutation_logrank_enumerates_the_textbook_statistic():
    x, cx = np.array([1.0, 1.0, 2.0, 5.0]), np.array([False, False, False, True])
    y, cy = np.array([2.0, 4.0, 5.0, 5.0, 3.0]), np.array([False, False, False, True, True])
    difference, variance = hypergeometric_z(x, cx, y, cy)
    reference = stats.logrank(
        stats.CensoredData(uncensored=x[~cx], right=x[cx]), stats.CensoredData(uncensored=y[~cy], right=y[cy])
    )
    assert abs(reference.statistic) == pytest.approx(abs(difference) / variance**0.5)  # the twin is right
    every = np.concatenate([x, y])
    flags = np.concatenate([cx, cy])
    null = []
    for chosen in combinations(range(9), 4):
        rest = [i for i in range(9) if i not in chosen]
        null.append(hypergeometric_z(every[list(chosen)], flags[list(chosen)], every[rest], flags[rest])[0])
    found = permutation_logrank(x, cx, y, cy, np.random.default_rng(0))
    assert found.exact
    assert found.p == pytest.approx(np.mean(np.abs(null) >= abs(difference) - 1e-12))
    assert found.z == pytest.approx(difference / np.std(null))
    assert found.z > 0  # the first group is earlier


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_only_the_order_of_delays_matters_and_exchanging_the_groups_turns_the_sign(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.integers(0, 6, 5).astype(float), draw.integers(2, 9, 4).astype(float)
    cx, cy = draw.random(5) < 0.3, np.r_[False, draw.random(3) < 0.3]
    plain = permutation_logrank(x, cx, y, cy, draw)
    mapped = permutation_logrank(np.exp(x) - 9, cx, np.exp(y) - 9, cy, draw)
    turned = permutation_logrank(y, cy, x, cx, draw)
    assert (mapped.z, mapped.p) == pytest.approx((plain.z, plain.p))
    assert (turned.z, turned.p) == pytest.approx((-plain.z, plain.p), abs=1e-12)


def test_random_divisions_agree_with_all_of_them(monkeypatch):
    draw = np.random.default_rng(3)
    x, y, none = draw.normal(size=7), draw.normal(0.9, 1, 7), np.zeros(7, dtype=bool)
    every = permutation_logrank(x, none, y, none, draw)
    monkeypatch.setattr(import_module("universality.measures.grokking.delays"), "ENUMERATED", 10)
    some = permutation_logrank(x, none, y, none, draw, permutations=4000)
    assert every.exact
    assert not some.exact
    # Four standard errors of a share among 4,000.
    assert some.p == pytest.approx(every.p, abs=4 * (every.p * (1 - every.p) / 4000) ** 0.5)


@pytest.mark.parametrize(("a", "b", "least"), [(3, 3, 2 / 20), (5, 5, 2 / 252), (3, 4, 1 / 35)])
def test_the_smallest_p_is_that_of_groups_wholly_apart(a, b, least):
    draw = np.random.default_rng(0)
    early, late = np.arange(1.0, a + 1), np.arange(11.0, b + 11)
    found = permutation_logrank(early, np.zeros(a, bool), late, np.zeros(b, bool), draw)
    assert found.p >= found.least >= least - 1e-12
    mixed = permutation_logrank(
        np.arange(1.0, 2 * a, 2), np.zeros(a, bool), np.arange(2.0, 2 * b + 1, 2), np.zeros(b, bool), draw
    )
    assert mixed.p > mixed.least >= least - 1e-12
    same = permutation_logrank(np.ones(a), np.zeros(a, bool), np.ones(b), np.zeros(b, bool), draw)
    assert (same.p, same.least) == (1.0, 1.0)


def test_the_test_holds_its_level_under_ties_and_censoring():
    draw, rejected = np.random.default_rng(5), 0
    for _ in range(500):
        x = np.round(np.minimum(draw.normal(1, 1, 10), 1.6), 1)
        flags = x >= 1.6
        rejected += permutation_logrank(x[:5], flags[:5], x[5:], flags[5:], draw).p <= 0.05
    # An exact test rejects at most .05; 500 draws have a standard error of .01.
    assert 0.01 < rejected / 500 < 0.05 + 3 * 0.01


def test_equal_delays_are_no_difference():
    found = permutation_logrank(
        np.ones(3), np.zeros(3, bool), np.ones(4), np.zeros(4, bool), np.random.default_rng(0)
    )
    assert (found.z, found.p) == (0.0, 1.0)


def test_groups_without_meaning_are_refused():
    good, none, late = np.ones(3), np.zeros(3, bool), np.ones(3, bool)
    draw = np.random.default_rng(0)
    with pytest.raises(MeasurementError, match="nothing happened"):
        permutation_logrank(good, late, good, late, draw)
    for delays, flags in [(good * np.nan, none), (good[:0], none[:0]), (good, none[:2])]:
        with pytest.raises(MeasurementError, match="without meaning"):
            unwrap(permutation_logrank)(delays, flags, good, none, draw)
        with pytest.raises(MeasurementError, match="without meaning"):
            unwrap(delay_summary)(delays, flags)


def test_integer_flags_are_flags_and_lists_are_arrays():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.5, 4.0, 5.0])
    flags, none = np.array([False, False, True]), np.zeros(3, bool)
    rank = unwrap(permutation_logrank)
    expected = delay_summary(x, flags), rank(x, flags, y, none, np.random.default_rng(0))
    for kind in (lambda v: v.astype(int), lambda v: v.astype(np.uint8), np.ndarray.tolist):
        assert unwrap(delay_summary)(x.tolist(), kind(flags)) == expected[0]
        assert rank(x, kind(flags), y.tolist(), kind(none), np.random.default_rng(0)) == expected[1]
    for wrong in (np.array([0, 1, 2]), np.array([0, -1, 0]), np.array([0.0, 1.0, 0.0])):
        with pytest.raises(MeasurementError, match="neither true nor false"):
            unwrap(delay_summary)(x, wrong)
        with pytest.raises(MeasurementError, match="neither true nor false"):
            rank(x, none, y, wrong, np.random.default_rng(0))


@pytest.mark.parametrize("horizon", [math.nan, math.inf])
def test_a_horizon_that_compares_nothing_is_refused(horizon):
    with pytest.raises(MeasurementError, match="horizon that is not finite"):
        summary([1.0, 2.0, 3.0], horizon=horizon)
    assert summary([-3.0, -2.0, 1.0], horizon=-1.0).restricted_mean == pytest.approx(-2)
