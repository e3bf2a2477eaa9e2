"""Prevalence and pooled effects over crosses: closed forms, monotone bounds, and coverage by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from universality.errors import MeasurementError
from universality.judge.crossed import Cross, Prevalence, pool, prevalence
from universality.judge.statistics import clopper_pearson

Array = NDArray[np.float64]
Shape = tuple[int, int]
Share = tuple[float, float]

LAYOUTS: list[Shape] = [(3, 2), (4, 2), (4, 4), (8, 6), (10, 5), (16, 16)]
SHARES: list[Share] = [(0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.0, 0.9), (0.45, 0.45), (0.25, 0.65)]
"""Of the latent variance: that between architectures, and between tasks."""


def labels(shape: Shape) -> tuple[list[int], list[int]]:
    a, t = (index.ravel().tolist() for index in np.indices(shape))
    return a, t


def crossed(rng: np.random.Generator, shape: Shape, share: Share) -> Array:
    """Normal values of variance 1 with effects of rows and of columns."""
    row, column = (math.sqrt(part) for part in share)
    rest = math.sqrt(1 - sum(share))
    rows, columns = rng.normal(size=(shape[0], 1)), rng.normal(size=(1, shape[1]))
    return row * rows + column * columns + rest * rng.normal(size=shape)


def test_components_of_a_full_cross_are_those_of_the_analysis_of_variance() -> None:
    y = crossed(np.random.default_rng(0), (4, 3), (0.4, 0.3))
    rows, columns = y.mean(1, keepdims=True), y.mean(0, keepdims=True)
    rest = ((y - rows - columns + y.mean()) ** 2).sum() / 6
    found = Cross.of(*labels((4, 3))).components(y.ravel())
    assert found == pytest.approx(((rows.var(ddof=1) - rest / 3), (columns.var(ddof=1) - rest / 4), rest))


def test_components_are_unbiased_in_an_incomplete_cross() -> None:
    rng = np.random.default_rng(1)
    a, t = labels((4, 3))
    keep = [i for i in range(12) if i not in (1, 5, 6, 11)]
    cross = Cross.of([a[i] for i in keep], [t[i] for i in keep])
    found = [cross.components(crossed(rng, (4, 3), (0.5, 0.3)).ravel()[keep]) for _ in range(4000)]
    # Standard errors are below .012.
    assert np.mean(found, axis=0) == pytest.approx((0.5, 0.3, 0.2), abs=0.04)


def test_a_factor_of_which_no_two_cells_share_a_level_belongs_to_the_rest() -> None:
    x = np.array([1.0, 4.0, 2.0, 9.0])
    cross = Cross.of([0, 1, 2, 3], [0, 1, 2, 3])
    assert cross.components(x) == pytest.approx((0.0, 0.0, x.var(ddof=1)))
    found = pool(x.tolist(), [0.0] * 4, [0, 1, 2, 3], [0, 1, 2, 3])
    student = stats.t.interval(0.95, 3, x.mean(), stats.sem(x))
    assert (found.low, found.high) == pytest.approx(student)


def test_one_task_tells_no_components() -> None:
    assert all(map(math.isnan, Cross.of(["a", "b"], ["t", "t"]).components(np.array([0.0, 1.0]))))


# Prevalence.


@pytest.mark.parametrize(
    ("shape", "low"), [((4, 2), 0.363), ((8, 6), 0.702), ((16, 16), 0.866), ((2, 2), 0.229)], ids=str
)
def test_unanimous_cells_are_as_correlated_as_is_assumed(shape: Shape, low: float) -> None:
    """At r = .3 for both: n / (1 + .3 (A + T - 2)) cells."""
    a, t = labels(shape)
    n = len(a)
    found, none = prevalence([True] * n, a, t), prevalence([False] * n, a, t)
    assert found.effective == pytest.approx(n / (1 + 0.3 * (sum(shape) - 2)))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.001), 1.0)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - found.low))
    assert (found.low, found.high) == pytest.approx(clopper_pearson(found.effective, found.effective))


def test_48_of_48_are_not_below_47_of_48() -> None:
    a, t = labels((8, 6))
    every, fewer = prevalence([True] * 48, a, t), prevalence([True] * 47 + [False], a, t)
    assert (every.low, fewer.low) == (pytest.approx(0.702, abs=0.001), pytest.approx(0.677, abs=0.001))


def fillings(shape: Shape, count: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Orders in which cells become absent: rows after rows, columns after columns, along diagonals, and random."""
    cells = np.arange(shape[0] * shape[1]).reshape(shape)
    diagonal = np.argsort(np.add.outer(*map(np.arange, shape)).ravel() % max(shape), kind="stable")
    ordered = [cells.ravel(), cells.T.ravel(), cells[::-1, ::-1].ravel(), diagonal]
    return ordered + [rng.permutation(cells.size) for _ in range(count)]


def along(shape: Shape, order: Sequence[int], keep: Sequence[int]) -> list[Prevalence]:
    a, t = labels(shape)
    present, found = [True] * len(a), []
    for cell in (None, *order):
        if cell is not None:
            present[cell] = False
        if cell is None or cell in keep:
            found.append(prevalence(*([part[i] for i in keep] for part in (present, a, t))))
    return found


def assert_monotone(found: Sequence[Prevalence]) -> None:
    for more, fewer in pairwise(found):
        assert fewer.low <= more.low + 1e-9
        assert fewer.high <= more.high + 1e-9


@pytest.mark.parametrize("shape", [(2, 2), *LAYOUTS[:-1]], ids=str)
def test_with_fewer_present_cells_neither_bound_is_higher(shape: Shape) -> None:
    rng = np.random.default_rng(2)
    for order in fillings(shape, 10, rng):
        assert_monotone(along(shape, order.tolist(), range(len(order))))


@pytest.mark.parametrize("shape", [(4, 4), (8, 6)], ids=str)
def test_bounds_are_monotone_where_cells_are_missing(shape: Shape) -> None:
    rng = np.random.default_rng(3)
    for order in fillings(shape, 4, rng):
        keep = rng.permutation(len(order))[: 3 * len(order) // 4].tolist()
        assert_monotone(along(shape, order.tolist(), keep))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(16, 16), (12, 3), (20, 2), (24, 16)], ids=str)
def test_bounds_are_monotone_in_large_layouts(shape: Shape) -> None:
    rng = np.random.default_rng(4)
    for order in fillings(shape, 6, rng):
        assert_monotone(along(shape, order.tolist(), range(len(order))))


def prevalence_coverage(shape: Shape, share: Share, truth: float, trials: int) -> float:
    rng = np.random.default_rng(5)
    a, t = labels(shape)
    below = stats.norm.ppf(truth)
    found = (prevalence((crossed(rng, shape, share) < below).ravel().tolist(), a, t) for _ in range(trials))
    return sum(p.low <= truth <= p.high for p in found) / trials


@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
def test_prevalence_covers_the_share_of_verdicts(shape: Shape, share: Share) -> None:
    for truth in (0.1, 0.65, 0.98):
        # Nominal .95, the docstring says .93 at worst; three standard errors of 100 trials at .95: .065.
        assert prevalence_coverage(shape, share, truth, 100) >= 0.93 - 0.065


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
def test_the_coverage_of_prevalence_that_the_docstring_states(shape: Shape, share: Share) -> None:
    for truth in (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98):
        # Three standard errors of 1,500 trials: .017.
        assert prevalence_coverage(shape, share, truth, 1500) >= 0.93 - 0.02


def test_one_task_is_worth_one_cell() -> None:
    found = prevalence([True, True, False], ["a", "b", "c"], ["t"] * 3)
    assert found.effective == 1
    assert found.estimate == pytest.approx(2 / 3)


def test_prevalence_of_no_cells_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no cells"):
        prevalence([], [], [])


# Pooled effects.


def test_pool_of_a_full_cross_is_that_of_its_mean_squares() -> None:
    """V = (MS_A + MS_T - MS_E) / n with Satterthwaite's degrees of freedom."""
    y = np.array([[1.0, 3.0, 2.0], [4.0, 7.0, 5.5], [2.0, 4.5, 3.0], [6.0, 9.0, 7.0]])
    rows, columns, mean = y.mean(1, keepdims=True), y.mean(0, keepdims=True), y.mean()
    squares = np.array([3 * rows.var(ddof=1), 4 * columns.var(ddof=1), 0.0])
    squares[2] = ((y - rows - columns + mean) ** 2).sum() / 6
    total = squares[0] + squares[1] - squares[2]
    degrees = total**2 / (squares**2 / np.array([3, 2, 6])).sum()
    half = stats.t.ppf(0.975, degrees) * math.sqrt(total / 12)
    found = pool(y.ravel().tolist(), [0.01] * 12, *labels((4, 3)))
    assert (found.estimate, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    between = (squares[0] - squares[2]) / 3 + (squares[1] - squares[2]) / 4 + squares[2] - 0.01
    assert found.between_sd == pytest.approx(math.sqrt(between))
    reach = stats.t.ppf(0.975, degrees) * math.sqrt(total / 12 + between)
    assert (found.prediction_low, found.prediction_high) == pytest.approx((mean - reach, mean + reach))


def test_a_ratio_is_pooled_on_the_log_scale_and_no_bound_is_negative() -> None:
    """Over a decade in six cells of a 4 x 2 cross: on the linear scale a further one could be negative."""
    ratios, a, t = [0.3, 1.2, 0.6, 3.0, 0.9, 1.5], [0, 1, 2, 3, 1, 3], [0, 0, 0, 0, 1, 1]
    linear = pool(ratios, [1e-4] * 6, a, t)
    assert linear.prediction_low is not None
    assert linear.prediction_low < 0
    log = pool(ratios, [1e-4] * 6, a, t, scale="log")
    assert log.estimate == pytest.approx(float(stats.gmean(ratios)))
    assert log.low is not None
    assert log.high is not None
    assert log.prediction_low is not None
    assert log.prediction_high is not None
    assert 0 < log.prediction_low < log.low < log.estimate < log.high < log.prediction_high
    assert log.low * log.high == pytest.approx(log.estimate**2)


def test_pool_subtracts_the_noise_within_cells_from_the_spread_between_them() -> None:
    y = [1.0, 2.0, 2.0, 1.0]  # neither rows nor columns differ: all is spread of cells, s^2 = 1/3
    found = pool(y, [0.25] * 4, ["a", "a", "b", "b"], ["s", "t", "s", "t"])
    assert found.estimate == 1.5
    assert found.between_sd == pytest.approx(math.sqrt(1 / 3 - 0.25))


def test_a_negative_component_leaves_no_surplus_in_the_rest() -> None:
    """Sharpness over its threshold in six of 4 x 2 cells: -.017, -.011 and .036 of a whole variance of .016.

    Cut at 0 they gave a between-cell variance of .036 with one degree of freedom, and a further cell in [-1.4, 3.7].
    """
    ratios, a, t = [1.017, 1.229, 1.043, 1.335, 1.076, 1.058], [0, 1, 2, 3, 1, 3], [0, 0, 0, 0, 1, 1]
    found = pool(ratios, [0.0] * 6, a, t)
    student = stats.t.interval(0.95, 5, np.mean(ratios), stats.sem(ratios))
    assert (found.low, found.high) == pytest.approx(student)
    assert found.between_sd == pytest.approx(np.std(ratios, ddof=1))


def test_where_one_component_is_negative_the_other_is_that_of_a_one_way_analysis() -> None:
    y = np.array([[1.0, 1.2], [2.1, 1.9], [3.0, 3.0]])  # tasks agree better than by chance
    cross = Cross.of(*labels((3, 2)))
    assert cross.components(y.ravel())[1] < 0
    _, (row, column, rest) = cross.nonnegative(y.ravel())
    within = y.var(1, ddof=1).mean()
    assert (row, column, rest) == pytest.approx((y.mean(1).var(ddof=1) - within / 2, 0.0, within))


def test_pool_without_spread_beyond_noise_has_none_between_cells() -> None:
    assert pool([1.0, 1.1], [4.0, 4.0], ["a", "b"], ["s", "t"]).between_sd == 0
    equal = pool([1.0] * 4, [0.0] * 4, ["a", "a", "b", "b"], ["s", "t", "s", "t"])
    assert (equal.low, equal.high, equal.prediction_low) == (1.0, 1.0, 1.0)


def test_pool_of_one_task_gives_no_interval() -> None:
    found = pool([1.0, 2.0, 3.0], [0.1] * 3, ["a", "b", "c"], ["t"] * 3)
    assert (found.low, found.high, found.prediction_low, found.prediction_high) == (None,) * 4


def pooled_coverage(
    shape: Shape, share: Share, trials: int, keep: Sequence[int] | None = None
) -> tuple[float, float]:
    """Of the mean, and of a further cell, with the noise of three seeds; of the cells to keep, where not all are."""
    rng = np.random.default_rng(6)
    kept = list(range(shape[0] * shape[1]) if keep is None else keep)
    a, t = ([part[i] for i in kept] for part in labels(shape))
    mean = further = 0
    for _ in range(trials):
        seeds = crossed(rng, shape, share)[..., None] + 0.5 * rng.normal(size=(*shape, 3))
        noise = (seeds.var(-1, ddof=1) / 3).ravel()[kept].tolist()
        found = pool(seeds.mean(-1).ravel()[kept].tolist(), noise, a, t)
        assert found.low is not None
        assert found.high is not None
        assert found.prediction_low is not None
        assert found.prediction_high is not None
        mean += found.low <= 0 <= found.high
        further += found.prediction_low <= rng.normal() <= found.prediction_high
    return mean / trials, further / trials


@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
def test_pooled_and_prediction_intervals_cover(shape: Shape, share: Share) -> None:
    # The docstring says .92 at worst; three standard errors of 150 trials at .95: .053.
    assert min(pooled_coverage(shape, share, 150)) >= 0.92 - 0.053


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
def test_the_coverage_of_pooled_intervals_that_the_docstring_states(shape: Shape, share: Share) -> None:
    # Three standard errors of 2,500 trials: .013 to .016.
    assert min(pooled_coverage(shape, share, 2500)) >= (0.92 if shape[1] == 2 else 0.945) - 0.016


@pytest.mark.parametrize("share", SHARES, ids=str)
def test_pooled_and_prediction_intervals_cover_where_cells_are_missing(share: Share) -> None:
    # The docstring says .90 at worst; three standard errors of 300 trials at .9: .052.
    assert min(pooled_coverage((4, 2), share, 300, keep=(0, 2, 3, 4, 6, 7))) >= 0.90 - 0.052


def test_the_interval_of_two_tasks_is_not_that_of_one_degree_of_freedom_where_tasks_agree() -> None:
    """Before: t_1 = 12.7 standard errors whatever was found; architectures alone have three degrees of freedom."""
    y = np.array([[1.0, 1.02], [2.0, 2.01], [3.0, 2.97], [4.0, 4.03]])
    found = pool(y.ravel().tolist(), [0.0] * 8, *labels((4, 2)))
    assert found.low is not None
    standard_error = y.mean(1).std(ddof=1) / 2
    assert (found.estimate - found.low) / standard_error == pytest.approx(stats.t.ppf(0.975, 3), rel=0.01)
