"""Alignment and neighbours against explicit loops, closed forms, nulls and invariances."""

import math
from inspect import unwrap
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.errors import MeasurementError
from universality.measures import (
    biased_cka,
    calibrated,
    cka_matrix,
    debiased_cka,
    gram,
    isometric_compress,
    mean_cca,
    mutual_knn,
    nearest_neighbours,
    neighbour_overlap,
    permutation_null,
    procrustes_similarity,
    pwcca,
    svcca,
    within_class,
)
from universality.measures.similarity import cka, neighbours
from universality.measures.similarity.neighbours import mutual_knn_matrix
from universality.measures.similarity.rsa import dissimilarities, rsa


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def orthogonal(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def hsic_u_statistic(X, Y):
    """Song et al. 2012: mean over ordered quadruples (i, j, q, r) of distinct rows of
    K_ij (L_ij + L_qr - 2 L_iq), the unbiased estimate, from uncentred Gram matrices."""
    K, L = (X @ X.T).tolist(), (Y @ Y.T).tolist()
    terms = [K[i][j] * (L[i][j] + L[q][r] - 2 * L[i][q]) for i, j, q, r in permutations(range(len(X)), 4)]
    return sum(terms) / len(terms)


def u_statistic_cka(X, Y):
    return hsic_u_statistic(X, Y) / math.sqrt(hsic_u_statistic(X, X) * hsic_u_statistic(Y, Y))


@pytest.mark.parametrize(("n", "d1", "d2"), [(4, 3, 2), (7, 2, 5), (9, 12, 3), (11, 1, 1)])
def test_debiased_cka_equals_the_u_statistic_over_all_quadruples(n, d1, d2):
    X = normal(n, d1)
    Y = normal(n, d2, seed=1) + X[:, :1]
    assert debiased_cka(X, Y) == pytest.approx(u_statistic_cka(X, Y), rel=1e-9)


def test_biased_cka_equals_the_centred_gram_matrices_cosine():
    X, Y, n = normal(20, 5), normal(20, 3, seed=1), 20
    J = torch.eye(n, dtype=torch.float64) - 1 / n
    K, L = J @ X @ X.T @ J, J @ Y @ Y.T @ J
    assert biased_cka(X, Y) == pytest.approx(((K * L).sum() / (K.norm() * L.norm())).item())
    torch.testing.assert_close(gram(X), K)


@pytest.mark.parametrize(("d", "biased"), [(64, 0.116), (512, 0.505)])
def test_independent_gaussians_are_unrelated_only_after_debiasing(d, biased):
    pairs = [(normal(500, d, seed=s), normal(500, d, seed=100 + s)) for s in range(4)]
    assert sum(biased_cka(X, Y) for X, Y in pairs) / 4 == pytest.approx(biased, abs=0.01)
    for X, Y in pairs:
        assert abs(debiased_cka(X, Y)) < 0.01


def test_debiased_cka_is_never_clamped():
    values = [debiased_cka(normal(20, 5, seed=s), normal(20, 5, seed=99 + s)) for s in range(30)]
    assert min(values) < 0 < max(values)


def test_debiasing_is_centred_on_zero_within_its_standard_error():
    values = torch.tensor(
        [debiased_cka(normal(40, 6, seed=s), normal(40, 6, seed=999 + s)) for s in range(200)]
    )
    assert abs(values.mean()) < 3 * values.std() / 200**0.5


def test_an_offset_of_a_hundred_standard_deviations_changes_nothing():
    X = normal(60, 10)
    Y = normal(60, 8, seed=1) + X[:, :8]
    for measure in (debiased_cka, biased_cka):
        assert measure(X + 100, Y - 100) == pytest.approx(measure(X, Y), rel=1e-9)
        assert measure((X + 100).float(), Y.float()) == pytest.approx(measure(X, Y), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(1, 12), st.integers(4, 30))
def test_rotation_and_scale_do_not_change_alignment(seed, scale, d, n):
    X = normal(n, d, seed=seed)
    Y = normal(n, 3, seed=seed + 1) + X[:, :1]
    moved = scale * X @ orthogonal(d, seed)
    assert biased_cka(moved, Y) == pytest.approx(biased_cka(X, Y), rel=1e-7)
    assert debiased_cka(moved, X) == pytest.approx(1, rel=1e-7)


@pytest.mark.parametrize("widths", [(3, 5), (600, 900)], ids=["by features", "by grams"])
def test_a_matrix_of_all_pairs_equals_the_pairs(widths):
    n = 300  # more than one block
    Xs = [normal(n, d, seed=d) for d in widths]
    Ys = [normal(n, d + 1, seed=d + 1) + Xs[i][:, :1] for i, d in enumerate(widths)]
    matrix = cka_matrix(Xs, Ys)
    for i, X in enumerate(Xs):
        for j, Y in enumerate(Ys):
            K, L = (g - g.diag().diag() for g in (X @ X.T, Y @ Y.T))
            assert matrix[i, j].item() == pytest.approx(hsic_ratio(K, L), rel=1e-8, abs=1e-10)
    torch.testing.assert_close(cka_matrix(Xs).diagonal(), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(cka_matrix(Xs), cka_matrix(Xs, Xs))


def related_layers(n, widths, offset=0.0, spread=1.0):
    """Float32 features as they come: one input, random layers, and what float32 keeps of an offset."""
    shared = normal(n, 4)
    return [
        (spread * (normal(n, d, seed=d) + shared @ normal(4, d, seed=d) / 2 + offset)).float() for d in widths
    ]


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("widths", [(5, 20), (300, 700)], ids=["by features", "by grams"])
def test_float32_features_are_compared_to_better_than_a_millionth(widths, offset, debiased, monkeypatch):
    # Blocks and tiles that do not divide the rows, several of each.
    monkeypatch.setattr(cka, "ROWS", 96)
    monkeypatch.setattr(cka, "TILE", 32)
    Xs, Ys = related_layers(250, widths, offset), related_layers(250, [d + 1 for d in widths], offset)
    measure = debiased_cka if debiased else biased_cka
    for others in (Ys, None):
        slow = [[measure(X.double(), Y.double()) for Y in others or Xs] for X in Xs]
        expected = torch.tensor(slow, dtype=torch.float64)
        found = cka_matrix(Xs, others, debiased=debiased)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        exact = cka_matrix(Xs, others, debiased=debiased, dtype=torch.float64)
        torch.testing.assert_close(exact, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spread", [1e-25, 1e25], ids=str)
def test_features_too_small_or_large_for_their_squares_are_compared_all_the_same(spread):
    for widths in ((5, 20), (300, 700)):
        expected = cka_matrix(related_layers(200, widths))
        torch.testing.assert_close(
            cka_matrix(related_layers(200, widths, spread=spread)), expected, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e80, 1e200], ids=str)
@pytest.mark.parametrize("widths", [(5, 4), (60, 90)], ids=["by features", "by grams"])
def test_float64_features_whose_fourth_powers_leave_the_range_are_compared_all_the_same(scale, widths):
    X, Y = normal(30, widths[0]), normal(30, widths[1], seed=1)
    Y[:, :2] += X[:, :2]
    for measure in (biased_cka, debiased_cka):
        expected = measure(X, Y)
        assert measure(scale * X, Y) == pytest.approx(expected, rel=1e-9)
        assert measure(scale * X, scale * Y) == pytest.approx(expected, rel=1e-9)


def test_float32_features_of_few_rows_and_many_columns_are_compared_in_float64():
    Xs = [normal(5, 20_000, seed=seed).float() for seed in range(3)]
    torch.testing.assert_close(cka_matrix(Xs), cka_matrix(Xs, dtype=torch.float64), rtol=0, atol=1e-14)
    assert (cka_matrix(Xs, dtype=torch.float32) - cka_matrix(Xs)).abs().max() > 1e-7


def test_what_float32_would_lose_to_an_outlying_row_is_computed_again():
    Xs = related_layers(200, (5, 20))
    for X in Xs:
        X[0] *= 1e4
    exact = cka_matrix(Xs, dtype=torch.float64)
    torch.testing.assert_close(cka_matrix(Xs), exact, rtol=0, atol=1e-6)
    assert (cka_matrix(Xs, dtype=torch.float32) - exact).abs().max() > 1e-6


def test_a_matrix_depends_on_the_pairing_of_rows_not_on_their_order():
    Xs = related_layers(100, (5, 200))
    order = torch.randperm(100, generator=seeded())
    moved = [X[order] for X in Xs]
    torch.testing.assert_close(cka_matrix(moved), cka_matrix(Xs), rtol=0, atol=1e-6)
    torch.testing.assert_close(mutual_knn_matrix(moved), mutual_knn_matrix(Xs))
    assert (cka_matrix(moved, Xs) - cka_matrix(Xs)).abs().max() > 0.2


def test_an_invertible_map_that_is_no_rotation_changes_alignment_and_neighbours():
    X, Y = normal(60, 4), normal(60, 4) + normal(60, 4, seed=1)
    stretched = X * torch.tensor([1, 1, 1, 10.0])
    for measure in (debiased_cka, biased_cka, mutual_knn):
        assert abs(measure(stretched, Y) - measure(X, Y)) > 0.05


def hsic_ratio(K, L):
    """Song et al. 2012, equation 5, with diagonals already zero."""
    n = len(K)

    def hsic(A, B):
        correction = A.sum() * B.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * A.sum(0) @ B.sum(0)
        return (A * B).sum() + correction

    return (hsic(K, L) / (hsic(K, K) * hsic(L, L)).sqrt()).item()


def brute_force_knn(X, Y, k):
    def neighbours(Z, i):
        cosine = {j: (Z[i] @ Z[j] / (Z[i].norm() * Z[j].norm())).item() for j in range(len(Z)) if j != i}
        return set(sorted(cosine, key=cosine.__getitem__)[-k:])

    n = len(X)
    return sum(len(neighbours(X, i) & neighbours(Y, i)) for i in range(n)) / (n * k)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_mutual_knn_equals_sets_of_neighbours_by_cosine(k):
    X = normal(40, 6) + 1
    Y = X[:, :4] + normal(40, 4, seed=1)
    assert mutual_knn(X, Y, k) == pytest.approx(brute_force_knn(X, Y, k))


def test_a_matrix_of_mutual_neighbours_equals_the_pairs_in_blocks_too(monkeypatch):
    Xs, Ys = [normal(40, 6) + 1, normal(40, 3, seed=1)], [normal(40, d, seed=d) for d in (2, 5, 9)]
    Ys[0] += Xs[0][:, :2]
    expected = [[brute_force_knn(X, Y, 4) for Y in Ys] for X in Xs]
    for entries in (2**21, 40 * 7, 1):
        monkeypatch.setattr(neighbours, "ENTRIES", entries)
        torch.testing.assert_close(mutual_knn_matrix(Xs, Ys, 4), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(mutual_knn_matrix(Xs, k=4), mutual_knn_matrix(Xs, Xs, 4))


def test_neighbours_are_by_direction_exclude_the_row_itself_and_see_offsets():
    X = normal(50, 5)
    assert mutual_knn(X, X * torch.rand(50, 1, generator=seeded()).double().add(0.1)) == 1
    assert not (nearest_neighbours(X, 7) == torch.arange(50)[:, None]).any()
    assert mutual_knn(X, X + 3) < 1


def with_duplicates(n, copies):
    """Gaussian rows, the first of them `copies` times: at least as many rows are tied where copies > k + 1."""
    X = normal(n, 6)
    X[:copies] = X[0]
    return X


def test_tied_neighbours_are_refused_where_they_are_more_than_a_percent_of_rows():
    one_hot = [torch.eye(5)[torch.randint(5, (200,), generator=seeded(seed))] for seed in (0, 1)]
    for X, Y in [
        (torch.ones(50, 3), 2 * torch.ones(50, 5)),
        one_hot,
        (normal(200, 1), normal(200, 1, seed=1)),
        (normal(200, 1).float() * torch.tensor([0.3, 0.7]), normal(200, 2, seed=1)),  # float32, one direction
    ]:
        for pair in ((X, Y), (normal(len(X), 4), X)):
            with pytest.raises(MeasurementError, match=f"neighbours are tied(.|\n)*of {len(X)} rows"):
                mutual_knn(*pair)
    assert nearest_neighbours(with_duplicates(1000, 4), 2).shape == (1000, 2)
    with pytest.raises(MeasurementError, match="of 1000 rows with equal cosines at neighbours 2 and 3"):
        nearest_neighbours(with_duplicates(1000, 12), 2)


def test_calibrated_mutual_knn_of_unrelated_features_is_about_zero():
    n, k = 200, 10
    values = [mutual_knn(normal(n, 8, seed=s), normal(n, 8, seed=99 + s), k) for s in range(20)]
    assert sum(values) / 20 == pytest.approx(k / (n - 1), abs=0.004)
    assert calibrated(sum(values) / 20, k, n) == pytest.approx(0, abs=0.004)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(2, 12))
def test_rotation_and_scale_do_not_change_neighbours(seed, scale, d):
    X = normal(30, d, seed=seed)
    assert mutual_knn(X, scale * X @ orthogonal(d, seed), 5) == 1


@pytest.mark.parametrize(("n", "d"), [(20, 300), (20, 20), (300, 20)])
def test_isometric_compression_keeps_the_gram_matrix_alignment_and_neighbours(n, d):
    X = normal(n, d) + 2
    Y, Z = normal(n, 6, seed=1) + X[:, :6], isometric_compress(X)
    assert Z.shape == (n, min(n, d))
    torch.testing.assert_close(Z @ Z.T, X @ X.T)
    assert debiased_cka(Z, Y) == pytest.approx(debiased_cka(X, Y), rel=1e-8)
    assert torch.equal(nearest_neighbours(Z, 5), nearest_neighbours(X, 5))
    rows = torch.arange(0, n, 2)
    assert biased_cka(Z[rows], Y[rows]) == pytest.approx(biased_cka(X[rows], Y[rows]), rel=1e-8)
    assert isometric_compress(X.float()).dtype == torch.float32


def test_within_class_residuals_forget_the_class_means_only():
    y = torch.arange(60) % 3 * 4  # labels need not be consecutive
    noise = normal(60, 5)
    residual = within_class(noise + 100 * normal(3, 5, seed=1)[y // 4], y)
    torch.testing.assert_close(residual, within_class(noise, y), rtol=0, atol=1e-11)
    for c in (0, 4, 8):
        torch.testing.assert_close(
            noise[y == c] - noise[y == c].mean(0), residual[y == c], rtol=0, atol=1e-11
        )


def test_permuted_rows_give_the_null_of_each_measure():
    X = normal(200, 6)
    alignment = permutation_null(debiased_cka, X, X, 100, seeded())
    assert abs(alignment.mean) < 4 * alignment.std / 10
    assert 0 < alignment.std < 0.02
    neighbours = permutation_null(mutual_knn, X, X, 50, seeded())
    assert neighbours.mean == pytest.approx(10 / 199, abs=4 * neighbours.std / 50**0.5)
    assert permutation_null(mutual_knn, X, X, 5, seeded(1)) == permutation_null(
        mutual_knn, X, X, 5, seeded(1)
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: debiased_cka(normal(3, 2), normal(3, 2)), "too few rows(.|\n)*>= 4"),
        (lambda: unwrap(cka_matrix)([normal(9, 2), normal(8, 2)]), r"do not match(.|\n)*\[9, 2\], \[8, 2\]"),
        (lambda: debiased_cka(normal(9, 2) * torch.nan, normal(9, 2)), "not finite"),
        (lambda: debiased_cka(torch.ones(9, 2), normal(9, 2)), "without spread"),
        (lambda: debiased_cka(torch.eye(9), normal(9, 2)), "without spread"),
        (lambda: biased_cka(torch.ones(9, 2), normal(9, 2)), "without spread"),
        (lambda: cka_matrix([]), "no representations"),
        (lambda: cka_matrix([normal(9, 2) * torch.inf]), r"not finite(.|\n)*\[9, 2\]"),
        (lambda: cka_matrix([normal(9, 2)], dtype=torch.float16), "float16(.|\n)*float32 or float64"),
        (
            lambda: unwrap(cka.alignments)(normal(9, 2), normal(9, 2), where=""),
            r"sequence of representations(.|\n)*write \[X\]",
        ),
        (lambda: unwrap(cka.alignments)([normal(9, 2)], normal(9, 2), where=""), r"got: +\[9, 2\]"),
        (lambda: unwrap(debiased_cka)(normal(9, 2).bfloat16(), normal(9, 2)), r"bfloat16(.|\n)*\.float\(\)"),
        (lambda: unwrap(mutual_knn)(normal(30, 2).half(), normal(30, 2), 3), r"float16(.|\n)*\.float\(\)"),
        (lambda: unwrap(isometric_compress)(torch.ones(3, 5).long()), "int64(.|\n)*float32 or float64"),
        (lambda: unwrap(isometric_compress)(torch.ones(3, 5).half()), "float16"),
        (lambda: calibrated(1.1, 10, 101), r"no share of neighbours(.|\n)*1\.1(.|\n)*\[0, 1\]"),
        (lambda: calibrated(-0.01, 10, 101), "no share of neighbours"),
        (lambda: calibrated(math.nan, 10, 101), "no share of neighbours(.|\n)*nan"),
        (lambda: mutual_knn_matrix([]), "no representations"),
        (
            lambda: unwrap(neighbour_overlap)(torch.zeros(5, 2).long(), torch.zeros(5, 3).long()),
            "different rows",
        ),
        (lambda: mutual_knn(normal(12, 2), normal(12, 2), 11), "k=11 of n=12"),
        (lambda: mutual_knn(normal(12, 2), normal(12, 2), 0), "k=0 of n=12"),
        (lambda: mutual_knn(normal(12, 2), 0 * normal(12, 2), 3), "row of zeros(.|\n)*12 of 12"),
        (
            lambda: unwrap(within_class)(normal(9, 2), torch.zeros(8).long()),
            r"\[9, 2\] features, \[8\] labels",
        ),
        (lambda: permutation_null(debiased_cka, normal(9, 2), normal(9, 2), 1, seeded()), ">= 2"),
        (
            lambda: permutation_null(lambda X, Y: math.nan, normal(9, 2), normal(9, 2), 3, seeded()),
            "not finite(.|\n)*3 of 3",
        ),
        # Of two rows every biased alignment is 1, of three rows mutual neighbours hardly can differ.
        (lambda: biased_cka(normal(3, 2), normal(3, 2, seed=1)), "too few rows(.|\n)*>= 4"),
        (lambda: mutual_knn(normal(3, 2), normal(3, 2, seed=1), 1), "n >= 4"),
        (lambda: unwrap(within_class)(normal(9, 2), torch.zeros(9)), "labels of torch.float32"),
        *(
            (lambda lists=lists: unwrap(neighbour_overlap)(lists, lists), "no lists of neighbours")
            for lists in (
                torch.zeros(5, 0).long(),
                torch.zeros(0, 2).long(),
                torch.full((5, 1), 7),
                torch.ones(5, 1).long(),
                torch.tensor([[1, 1], [0, 2], [0, 1]]),
            )
        ),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()


@pytest.mark.parametrize("measure", [debiased_cka, biased_cka, procrustes_similarity, mean_cca, svcca, pwcca])
@pytest.mark.parametrize("n", [60, 1000])
@pytest.mark.parametrize("side", [0, 1])
def test_constant_float64_features_are_refused_though_their_mean_is_rounded(measure, n, side):
    # pi times a constant is a full mantissa: its mean is off by some units in the last place.
    pair = [(math.pi * normal(1, 5)).double().expand(n, 5), normal(n, 3, seed=1).double()]
    with pytest.raises(MeasurementError, match=r"without spread|no shape|no directions"):
        measure(pair[side], pair[1 - side])


def test_float64_features_a_billion_standard_deviations_from_the_origin_still_have_their_similarity():
    X, Y = normal(200, 5).double(), normal(200, 7, seed=1).double()
    X[:, :4] += Y[:, :4]
    for measure in (debiased_cka, biased_cka, procrustes_similarity, mean_cca):
        assert measure(X + 1e9, Y - 1e9) == pytest.approx(measure(X, Y), abs=1e-5)


@pytest.mark.parametrize("scale", [2.0**660, 2.0**-660, 2.0**-1000], ids=["2^660", "2^-660", "2^-1000"])
@pytest.mark.parametrize(
    "measure",
    [procrustes_similarity, mutual_knn, rsa, lambda X, Y: rsa(X, Y, "euclidean")],
    ids=["procrustes", "neighbours", "rsa", "euclidean rsa"],
)
def test_features_whose_squares_double_precision_cannot_hold_keep_their_similarity(measure, scale):
    X, Y = normal(60, 6, seed=1), normal(60, 5, seed=2)
    assert measure(X * scale, Y) == measure(X, Y / scale) == measure(X, Y)
    assert torch.equal(dissimilarities(X * scale, "euclidean"), scale * dissimilarities(X, "euclidean"))


def test_ties_that_are_drawn_agree_by_chance_and_leave_other_neighbours_alone() -> None:
    """Two inputs of one symbol in common are as near as any other two: each draws its own k of m equals."""
    one_hot = torch.eye(4).repeat(50, 1)  # of 200 rows 49 others are equal to each
    first, again, other = (nearest_neighbours(one_hot, 10, ties=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert neighbour_overlap(first, other) == pytest.approx(10 / 49, abs=0.02)
    constant = torch.ones(200, 3)
    a, b = (nearest_neighbours(constant, 10, ties=seeded(seed)) for seed in (0, 1))
    assert neighbour_overlap(a, b) == pytest.approx(10 / 199, abs=0.02)
    X = normal(60, 5)
    assert torch.equal(nearest_neighbours(X, 10, ties=seeded(0)), nearest_neighbours(X, 10))
    with pytest.raises(MeasurementError, match="tied"):
        nearest_neighbours(one_hot, 10)
