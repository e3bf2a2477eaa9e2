"""Null moments against all n! pairings of the rows, one by one, and the null of a maximum by simulation."""

import math
from importlib import import_module
from inspect import unwrap
from itertools import permutations

import pytest
import torch

from universality.errors import MeasurementError
from universality.measures.similarity import nulls
from universality.measures.similarity.cka import cka_matrix
from universality.measures.similarity.neighbours import (
    mutual_knn,
    mutual_knn_matrix,
    nearest_neighbours,
    neighbour_overlap,
)
from universality.measures.similarity.nulls import (
    cka_null,
    max_cka_null,
    max_knn_null,
    mutual_knn_null,
    neighbour_null,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def lopsided(n, d, seed=0):
    """Skewed features of unequal spread, with an offset and an outlying row."""
    X = normal(n, d, seed=seed).exp() * torch.arange(1, d + 1) + 5
    X[0] *= 3
    return X


def assert_moments(values, mean, std):
    values = torch.tensor(values, dtype=torch.float64)
    assert mean == pytest.approx(values.mean().item(), abs=1e-12)
    assert std == pytest.approx(values.std(correction=0).item(), rel=1e-9)


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize(("n", "d1", "d2"), [(4, 2, 1), (6, 2, 3), (6, 9, 1)])
def test_cka_moments_are_those_over_every_pairing(n, d1, d2, debiased):
    X, Y = lopsided(n, d1), lopsided(n, d2, seed=1)
    paired = [Y[list(order)] for order in permutations(range(n))]
    values = cka_matrix([X], paired, debiased=debiased)[0].tolist()
    null = cka_null([X], [Y], debiased=debiased)
    assert_moments(values, null.mean.item(), null.std.item())
    assert null.value.item() == pytest.approx(values[0], rel=1e-9)
    if not debiased:  # Kazi-Aoual et al. 1995 in their own terms, a transcription apart from the derivation
        assert null.std.item() == pytest.approx(kazi_aoual(X, Y), rel=1e-9)


def kazi_aoual(X, Y):
    n = len(X)
    K, L = ((Z - Z.mean(0)) @ (Z - Z.mean(0)).T for Z in (X, Y))

    def terms(G):
        T, T2, S3 = G.trace(), (G @ G).trace(), G.diagonal().square().sum()
        return (n - 1) * T2 - T**2, n * (n + 1) * S3 - (n - 1) * (T**2 + 2 * T2), T2

    (f, h, k2), (g, e, l2) = terms(K), terms(L)
    variance = 2 * f * g / ((n - 1) ** 2 * (n + 1) * (n - 2))
    if n > 3:
        variance += h * e / ((n + 1) * n * (n - 1) * (n - 2) * (n - 3))
    return (variance / (k2 * l2)).sqrt().item()


def test_the_null_spread_of_debiased_cka_depends_on_rows_only():
    null = cka_null([lopsided(50, 3), normal(50, 90)])
    assert null.std.unique().tolist() == pytest.approx([math.sqrt(2 / (50 * 47))])
    assert null.mean.abs().max() == 0


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_moments_at_two_hundred_rows_are_those_of_random_pairings(debiased):
    X, Y, draws = lopsided(200, 4), lopsided(200, 6, seed=1), 400
    null = cka_null([X], [Y], debiased=debiased)
    seen = cka_matrix([X], [Y[order] for order in drawn(200, draws)], debiased=debiased)[0]
    # Standard errors: of the mean std / sqrt(draws). Of the std relatively sqrt((kurtosis - 1) / (4 draws)),
    # .025 sqrt(kurtosis - 1); heavy tails (kurtosis up to 30) make that .13.
    assert seen.mean().item() == pytest.approx(null.mean.item(), abs=4 * null.std.item() / draws**0.5)
    assert seen.std().item() == pytest.approx(null.std.item(), rel=0.4)


@pytest.mark.parametrize(("n", "k"), [(5, 1), (6, 2), (6, 4)])
def test_neighbour_moments_are_those_over_every_pairing(n, k):
    X, Y = lopsided(n, 3) - 7, lopsided(n, 2, seed=3) - 8
    first, second = nearest_neighbours(X, k), nearest_neighbours(Y, k)
    values = [mutual_knn(X, Y[list(order)], k) for order in permutations(range(n))]
    null = neighbour_null(first, second)
    assert_moments(values, null.mean, null.std)
    assert neighbour_overlap(first, second) == values[0]


def test_neighbour_moments_of_a_directed_ring_have_an_antisymmetric_part():
    n = 6
    ring = (torch.arange(n)[:, None] + 1) % n
    values = []
    for order in permutations(range(n)):
        moved = [order.index((order[i] + 1) % n) for i in range(n)]
        values.append(sum(moved[i] == (i + 1) % n for i in range(n)) / n)
    null = neighbour_null(ring, ring)
    assert_moments(values, null.mean, null.std)


def test_null_matrices_hold_the_null_of_every_pair():
    Xs, Ys = [normal(40, 3), normal(40, 5, seed=1)], [normal(40, 4, seed=2)]
    knn = mutual_knn_null(Xs, Ys, 5)
    for i, X in enumerate(Xs):
        one = neighbour_null(nearest_neighbours(X, 5), nearest_neighbours(Ys[0], 5))
        assert (knn.mean[i, 0].item(), knn.std[i, 0].item()) == (one.mean, one.std)
    torch.testing.assert_close(knn.z, (mutual_knn_matrix(Xs, Ys, 5) - knn.mean) / knn.std)
    for debiased in (True, False):
        many = cka_null(Xs, Ys, debiased=debiased)
        one = cka_null([Xs[1]], Ys, debiased=debiased)
        torch.testing.assert_close(many.z[1:], one.z)
        alone = cka_null([*Xs, *Ys], debiased=debiased)
        torch.testing.assert_close(alone.z[:2, 2:], many.z)


def drawn(n, count, seed=3):
    generator = seeded(seed)
    return [torch.randperm(n, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("widths", [(2, 3), (60, 80)], ids=["by features", "by grams"])
def test_the_maximum_is_taken_over_all_pairs_at_one_pairing(widths, monkeypatch):
    monkeypatch.setattr(nulls, "PAIRS", 100)
    n = 30
    Xs, Ys = [lopsided(n, d, seed=d) for d in widths], [normal(n, d + 1, seed=9) for d in widths]
    null = max_cka_null(Xs, Ys, 8, seeded(3))
    slow = [cka_matrix(Xs, [Y[order] for Y in Ys]).max().item() for order in drawn(n, 8)]
    assert null.maxima.tolist() == pytest.approx(slow, abs=1e-6)
    torch.testing.assert_close(null.scores, cka_matrix(Xs, Ys))

    null = max_knn_null(Xs, Ys, 8, seeded(3), k=4)
    slow = [mutual_knn_matrix(Xs, [Y[order] for Y in Ys], 4).max().item() for order in drawn(n, 8)]
    assert null.maxima.tolist() == pytest.approx(slow)
    torch.testing.assert_close(null.scores, mutual_knn_matrix(Xs, Ys, 4))


def test_p_values_of_a_maximum_reject_unrelated_features_at_their_level():
    rejected = 0
    for seed in range(60):
        Xs = [normal(25, 3, seed=seed), normal(25, 2, seed=1000 + seed)]
        Ys = [normal(25, 3, seed=2000 + seed), normal(25, 4, seed=3000 + seed)]
        null = max_cka_null(Xs, Ys, 39, seeded(seed))
        assert null.p_value == (1 + (null.maxima >= null.observed - 1e-6).sum().item()) / 40
        rejected += null.p_value <= 0.1
    # Binomial(60, .1): 6 with standard deviation 2.3. Four pairs at .1, each against its own null,
    # would reject about 20.
    assert 1 <= rejected <= 14


def test_adjusted_p_values_stand_for_their_own_pair():
    X = normal(40, 3)
    null = max_cka_null([X, normal(40, 3, seed=11)], [X + 1], 99, seeded())
    assert null.adjusted[0, 0] == null.p_value == 0.01
    assert null.adjusted[1, 0] > 0.1
    assert null.quantile(0.99) <= null.maxima.max().item()


@pytest.mark.parametrize("scale", [1e-160, 1e160], ids=str)
@pytest.mark.parametrize("widths", [(3, 2), (300, 200)], ids=["by features", "by grams"])
def test_the_null_of_a_maximum_does_not_depend_on_the_scale_of_features(scale, widths):
    Xs = [normal(40, d, seed=d) for d in widths]
    null, other = (max_cka_null([c * X for X in Xs], Xs, 5, seeded()) for c in (1, scale))
    torch.testing.assert_close(other.maxima, null.maxima, rtol=0, atol=1e-6)
    torch.testing.assert_close(other.scores, null.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: max_cka_null([normal(9, 2)], [normal(9, 2)], 0, seeded()), "needs permutations(.|\n)*>= 1"),
        (
            lambda: max_knn_null([normal(9, 2)], [normal(9, 2)], 0, seeded(), 3),
            "needs permutations(.|\n)*>= 1",
        ),
        (lambda: max_cka_null([torch.ones(9, 2)], [normal(9, 2)], 5, seeded()), "without spread"),
        (
            lambda: mutual_knn_null([torch.ones(30, 3)], [2 * torch.ones(30, 5)], 3),
            "tied(.|\n)*30 of 30 rows",
        ),
        (lambda: unwrap(mutual_knn_matrix)(normal(30, 2), [normal(30, 2)], 3), "tensor where a sequence"),
        (lambda: cka_null([]), "no representations(.|\n)*cka_null"),
        (lambda: cka_null([normal(3, 2)]), "too few rows"),
        (
            lambda: unwrap(neighbour_null)(torch.zeros(5, 2).long(), torch.zeros(6, 2).long()),
            r"\[5, 2\] and \[6, 2\]",
        ),
        (
            lambda: neighbour_null(torch.tensor([[1], [2], [0]]), torch.tensor([[1], [2], [0]])),
            "at least 4 rows",
        ),
    ],
)
def test_input_without_a_null_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()


def test_a_quantile_beyond_the_permutations_is_refused():
    found = nulls.MaxNull(torch.ones(1, 1), torch.arange(19.0))
    assert found.quantile(0.95) == pytest.approx(17.1)
    for level in (0.96, 1.0, -0.1, math.nan):
        with pytest.raises(MeasurementError, match=r"do not show(.|\n)*19 permutations"):
            found.quantile(level)


def test_lists_that_are_no_neighbours_have_no_null():
    for lists in (torch.full((6, 2), 9), torch.zeros(6, 0).long(), torch.full((6, 1), 3)):
        with pytest.raises(MeasurementError, match="no lists of neighbours"):
            unwrap(neighbour_null)(lists, lists)


@pytest.mark.parametrize(
    "measured",
    [
        lambda Xs, Ys: mutual_knn_null(Xs, Ys, 3),
        lambda Xs, Ys: max_knn_null(Xs, Ys, 9, torch.Generator().manual_seed(0), 3),
    ],
    ids=["moments", "maximum"],
)
def test_neighbours_are_found_once_for_each_representation(measured, monkeypatch):
    module = import_module("universality.measures.similarity.neighbours")
    found, search = [], module.nearest_neighbours

    def counted(X, k):
        found.append(len(X))
        return search(X, k)

    monkeypatch.setattr(module, "nearest_neighbours", counted)
    generator = torch.Generator().manual_seed(0)
    Xs, Ys = ([torch.randn(20, 4, generator=generator) for _ in range(count)] for count in (2, 3))
    measured(Xs, Ys)
    assert found == [20] * 5
