"""Closed forms, and coverage by simulation with fixed generators."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from universality.errors import MeasurementError
from universality.judge.statistics import (
    clopper_pearson,
    clopper_pearson_p,
    effective_trials,
    holm,
    jackknife_interval,
    replicates,
    seeds_to_decide,
    student_tail,
)

SINGLE = [("0",), ("1",), ("2",), ("3",)]


def test_disjoint_groups_give_students_interval() -> None:
    values = [0.3, 1.7, -0.2, 0.9]
    mean, sd = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, 3) * sd / 2
    found = jackknife_interval(values, SINGLE)
    assert found.units == 4
    assert (found.estimate, found.low, found.high, found.sd) == pytest.approx(
        (mean, mean - half, mean + half, sd), rel=1e-12
    )


def test_disjoint_pairs_count_as_one_replicate_each() -> None:
    pairs = [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7")]
    values = [0.3, 1.7, -0.2, 0.9]
    assert jackknife_interval(values, pairs) == jackknife_interval(values, SINGLE)


def test_all_pairs_of_an_additive_kernel_give_the_interval_of_its_draws() -> None:
    """For h(a, b) = (a + b)/2 the U-statistic is the mean of the draws, and so is its jackknife."""
    draws = [0.1, 0.7, 0.4, 1.3, -0.5]
    pairs = list(combinations(range(5), 2))
    found = jackknife_interval(
        [(draws[i] + draws[j]) / 2 for i, j in pairs], [(str(i), str(j)) for i, j in pairs]
    )
    direct = jackknife_interval(draws, [(str(i),) for i in range(5)])
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (direct.estimate, direct.low, direct.high), rel=1e-12
    )
    assert found.units == 5


def test_log_scale_gives_the_geometric_mean_and_bounds_symmetric_in_ratio() -> None:
    found = jackknife_interval([1.0, 2.0, 4.0, 8.0], SINGLE, scale="log")
    assert found.low is not None
    assert found.high is not None
    assert found.estimate == pytest.approx(math.sqrt(8))
    assert found.estimate / found.low == pytest.approx(found.high / found.estimate)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_identical_values_give_exactly_zero_width(scale: str) -> None:
    found = jackknife_interval([0.1, 0.1, 0.1], SINGLE[:3], scale=scale)  # type: ignore[arg-type]
    assert (found.estimate, found.low, found.high, found.se) == (0.1, 0.1, 0.1, 0.0)


@pytest.mark.parametrize(
    "units", [[("0",), ("0",)], [("0", "1"), ("0", "2")]], ids=["one unit", "shared by all"]
)
def test_no_interval_without_independent_replicates(units: list[tuple[str, ...]]) -> None:
    found = jackknife_interval([1.0, 2.0], units)
    assert (found.estimate, found.low, found.high, found.se) == (1.5, None, None, None)


@pytest.mark.parametrize(
    ("values", "scale"), [([math.nan, 1.0], "linear"), ([0.0, 1.0], "log"), ([], "linear")]
)
def test_values_without_meaning_are_refused(values: list[float], scale: str) -> None:
    with pytest.raises(MeasurementError, match="value"):
        jackknife_interval(values, SINGLE[: len(values)], scale=scale)  # type: ignore[arg-type]


def test_replicates_are_the_distinct_sets_of_groups_that_units_touch() -> None:
    assert replicates([("a", "b"), ("b", "c")]) == (frozenset({0}), frozenset({0, 1}), frozenset({1}))


KERNELS: dict[str, Callable[[float, float], float]] = {
    "additive": lambda a, b: (a + b) / 2,
    "with interaction": lambda a, b: a + b + 0.5 * a * b,
}


def coverage(
    draw: Callable[[], list[float]], units: list[tuple[str, ...]], truth: float, scale: str = "linear"
) -> float:
    trials, hits = 1200, 0
    for _ in range(trials):
        found = jackknife_interval(draw(), units, scale=scale)  # type: ignore[arg-type]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    return hits / trials


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_a_cell_has_its_level_for_normal_effects_and_on_the_log_scale(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    units = [(str(i),) for i in range(seeds)]
    assert 0.93 <= coverage(lambda: rng.normal(size=seeds).tolist(), units, 0.0) <= 0.97
    assert 0.93 <= coverage(lambda: np.exp(rng.normal(size=seeds)).tolist(), units, 1.0, "log") <= 0.97


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("kind", "low", "high"), [("uniform", 0.90, 0.95), ("exponential", 0.86, 0.92), ("distances", 0.78, 0.87)]
)
def test_the_level_that_is_left_where_effects_are_not_normal(
    kind: str, low: float, high: float, seeds: int
) -> None:
    """What the docstring of `jackknife_interval` states; both ends are there to fail."""
    rng = np.random.default_rng(seeds)
    pairs = list(combinations(range(seeds), 2))

    def distances() -> list[float]:
        z = rng.normal(size=seeds)
        return [float((z[i] - z[j]) ** 2 / 2) for i, j in pairs]

    single, shared = [(str(i),) for i in range(seeds)], [(str(i), str(j)) for i, j in pairs]
    cases: dict[str, tuple[Callable[[], list[float]], list[tuple[str, ...]], float]] = {
        "uniform": (lambda: rng.uniform(size=seeds).tolist(), single, 0.5),
        "exponential": (lambda: rng.exponential(size=seeds).tolist(), single, 1.0),
        "distances": (distances, shared, 1.0),
    }
    assert low <= coverage(*cases[kind]) <= high


@pytest.mark.parametrize("n", [3, 5, 8, 20])
def test_the_interval_of_a_share_is_never_below_its_level(n: int) -> None:
    """Exactly, over all counts, for shares from 0 to 1."""
    for share in np.linspace(0, 1, 41):
        weights = stats.binom.pmf(np.arange(n + 1), n, share)
        inside = [low <= share <= high for low, high in (clopper_pearson(k, n) for k in range(n + 1))]
        assert weights @ np.array(inside) >= 0.95


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_over_all_pairs_covers_its_mean(kernel: str, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    pairs = list(combinations(range(seeds), 2))
    units = [(str(i), str(j)) for i, j in pairs]
    trials, hits = 600, 0
    for _ in range(trials):
        z = rng.normal(size=seeds)
        found = jackknife_interval([KERNELS[kernel](z[i], z[j]) for i, j in pairs], units)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    # Three standard errors of 600 trials are .027. Additive pairs are their draws: exact on both sides.
    assert hits / trials >= 0.95 - 0.027
    assert kernel != "additive" or hits / trials <= 0.97


def test_seeds_to_decide_is_the_first_n_whose_interval_clears_the_bound() -> None:
    n = seeds_to_decide(1.0, 0.5, low=0.8, high=math.inf)
    assert n is not None
    half = [stats.t.ppf(0.975, m - 1) * 0.5 / math.sqrt(m) for m in (n - 1, n)]
    assert half[0] >= 0.2 > half[1]
    assert seeds_to_decide(math.e, 0.5, 1.0, math.inf, scale="log") == seeds_to_decide(
        1.0, 0.5, 0.0, math.inf
    )


def test_no_number_of_seeds_decides_an_effect_on_its_bound() -> None:
    assert seeds_to_decide(1.0, 0.5, low=1.0, high=2.0) is None


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (5, 5), (17, 40)])
def test_clopper_pearson_agrees_with_the_binomial_test_of_scipy(k: int, n: int) -> None:
    exact = stats.binomtest(k, n).proportion_ci(method="exact")
    assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high))
    above = stats.binomtest(k, n, alternative="greater").proportion_ci(method="exact")
    below = stats.binomtest(k, n, alternative="less").proportion_ci(method="exact")
    assert clopper_pearson(k, n, side="lower") == pytest.approx((above.low, above.high))
    assert clopper_pearson(k, n, side="upper") == pytest.approx((below.low, below.high))


def test_clopper_pearson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(MeasurementError, match="no such share"):
        clopper_pearson(4, 3)


@pytest.mark.parametrize(
    ("units", "worth"),
    [
        ([("0",), ("1",), ("2",)], 3),
        ([("0", "1"), ("2", "3")], 2),
        ([(str(s),) for s in range(5) for _ in range(4)], 5),
        ([tuple(map(str, pair)) for pair in combinations(range(5), 2)], 2.5),
        ([("0",)] * 7, 1),
        ([("0",), ("0",), ("0",), ("1",)], 1.6),
        ([], 0),
    ],
    ids=["single", "disjoint pairs", "partners", "all pairs", "one unit", "uneven", "none"],
)
def test_groups_that_share_units_are_worth_fewer_trials(units: list[tuple[str, ...]], worth: float) -> None:
    assert effective_trials(units) == worth


def test_the_variance_of_a_share_is_that_of_its_effective_trials() -> None:
    """For sums of what the units bring, exactly: the variance of the mean over that of one group."""
    pairs = list(combinations(range(6), 2))[:11]
    load = np.zeros(6)
    for pair in pairs:
        load[list(pair)] += 1 / len(pairs)
    assert effective_trials([tuple(map(str, p)) for p in pairs]) == pytest.approx(2 / (load**2).sum())


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (3, 5), (5, 5), (7, 8)])
def test_the_p_value_of_a_share_is_the_binomial_tail(k: int, n: int) -> None:
    assert clopper_pearson_p(k, n, side="lower") == pytest.approx(stats.binom.sf(k - 1, n, 0.5))
    assert clopper_pearson_p(k, n, side="upper") == pytest.approx(stats.binom.cdf(k, n, 0.5))


def test_holm_agrees_with_its_definition_and_ignores_order() -> None:
    """By definition: the smallest level at which step-down testing rejects."""
    p = [0.012, 0.2, 0.001, 0.03, 0.04]
    found = holm(p)

    def rejected(level: float) -> set[int]:
        out: set[int] = set()
        for rank, index in enumerate(sorted(range(5), key=p.__getitem__)):
            if p[index] > level / (5 - rank):
                break
            out.add(index)
        return out

    for level in (0.004, 0.006, 0.04, 0.06, 0.1, 0.3):
        assert rejected(level) == {i for i in range(5) if found[i] <= level}
    assert holm(p[::-1]) == found[::-1]
    assert holm([]) == []


def test_holm_keeps_the_familywise_error() -> None:
    """20 true nulls, 2,000 repetitions: at most 5 % with any rejection; standard error .5 %."""
    rng = np.random.default_rng(0)
    false = sum(min(holm(list(rng.uniform(size=20)))) <= 0.05 for _ in range(2000))
    assert 0.03 < false / 2000 < 0.065


@pytest.mark.parametrize("n", [3, 5, 8])
def test_equal_values_are_worth_a_sign_test(n: int) -> None:
    assert student_tail(0.3, 0.0, n - 1) == 0.5**n
    assert student_tail(0.0, 0.0, n - 1) == 0.5
    assert student_tail(0.3, 1e-9, n - 1) < 0.5**n


def test_equal_values_that_share_a_unit_have_no_interval() -> None:
    assert jackknife_interval([1.0, 1.0, 1.0], [("s", "0"), ("s", "1"), ("s", "2")]).low is None
    assert jackknife_interval([1.0, 1.0, 1.0], [("0",), ("1",), ("2",)]).low == 1.0
