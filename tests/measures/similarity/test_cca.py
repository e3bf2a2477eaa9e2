"""Canonical correlations against sklearn and the eigenvalue problem; what each summary of them sees."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from universality.errors import MeasurementError
from universality.measures.similarity.cca import canonical_correlations, mean_cca, pwcca, svcca
from universality.measures.similarity.cka import debiased_cka


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def related(n=200, d1=4, d2=3, seed=0):
    X = normal(n, d1, seed=seed) + 5
    return X, X @ normal(d1, d2, seed=seed + 1) + normal(n, d2, seed=seed + 2)


def invertible(d, seed=0):
    """Condition number 20, so that no digit is lost to it."""
    left, _, right = torch.linalg.svd(normal(d, d, seed=seed))
    return left @ torch.linspace(1, 20, d, dtype=torch.float64).diag() @ right


def by_eigenvalues(X, Y):
    """Square roots of the eigenvalues of C_xx^-1 C_xy C_yy^-1 C_yx, as Hotelling wrote them, and its
    eigenvectors."""
    A, B = X - X.mean(0), Y - Y.mean(0)
    solve = torch.linalg.solve
    values, vectors = torch.linalg.eig(solve(A.T @ A, A.T @ B) @ solve(B.T @ B, B.T @ A))
    order = values.real.argsort(descending=True)[: min(X.shape[1], Y.shape[1])]
    return values.real[order].sqrt(), A @ vectors.real[:, order]


def test_canonical_correlations_are_those_of_the_eigenvalue_problem_and_of_sklearn():
    X, Y = related()
    rho = canonical_correlations(X, Y)
    torch.testing.assert_close(rho, by_eigenvalues(X, Y)[0])
    u, v = CCA(n_components=3, max_iter=5000, tol=1e-12).fit_transform(X.numpy(), Y.numpy())
    pairs = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    assert rho.tolist() == pytest.approx(pairs, abs=1e-5)
    assert mean_cca(X, Y) == pytest.approx(rho.mean().item())


def test_projection_weights_are_what_the_variates_carry_of_the_first():
    X, Y = related(d1=4, d2=6)
    rho, variates = by_eigenvalues(X, Y)
    variates = variates / variates.norm(dim=0)
    weights = (variates.T @ (X - X.mean(0))).abs().sum(1)
    assert pwcca(X, Y) == pytest.approx(((weights * rho).sum() / weights.sum()).item(), rel=1e-9)
    assert pwcca(X, Y) != pytest.approx(pwcca(Y, X), rel=1e-3)


@pytest.mark.parametrize(("variance", "kept"), [(0.99, 2), (0.5, 1), (1.0, 4)])
def test_svcca_keeps_the_fewest_components_with_the_variance(variance, kept):
    # Orthonormal centred columns at variances 64, 35.5, .3 and .2 of a hundred.
    U = torch.linalg.qr(normal(100, 4) - normal(100, 4).mean(0))[0]
    X = U * torch.tensor([64, 35.5, 0.3, 0.2], dtype=torch.float64).sqrt() @ invertible_rotation(4)
    Y = normal(100, 3, seed=5)
    assert svcca(X, Y, variance) == pytest.approx(
        canonical_correlations(U[:, :kept], keep(Y, variance)).mean().item()
    )


def invertible_rotation(d):
    return torch.linalg.qr(normal(d, d, seed=8))[0]


def keep(Y, variance):
    left, sizes, _ = torch.linalg.svd(Y - Y.mean(0), full_matrices=False)
    share = sizes.square().cumsum(0) / sizes.square().sum()
    return left[:, : 1 + sum(share < variance - 1e-12)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_invertible_maps_offsets_and_order_of_rows_do_not_matter(seed, d1, d2):
    X, Y = related(30, d1, d2, seed)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    rho, moved = canonical_correlations(X, Y), (X @ invertible(d1, seed) + 9)
    torch.testing.assert_close(canonical_correlations(moved[order], Y[order]), rho, rtol=1e-7, atol=1e-7)
    assert pwcca(X, Y @ invertible(d2, seed) - 4) == pytest.approx(pwcca(X, Y), rel=1e-7)
    rotation = torch.linalg.qr(normal(d1, d1, seed=seed))[0]
    assert svcca(7 * X @ rotation + 1, Y) == pytest.approx(svcca(X, Y), rel=1e-7)


def test_an_invertible_map_matters_to_svcca_to_the_weights_and_to_cka_but_not_to_mean_cca():
    X, Y = related()
    stretched = X * torch.tensor([1, 1, 1, 100.0])
    assert mean_cca(stretched, Y) == pytest.approx(mean_cca(X, Y), rel=1e-9)
    for measure in (svcca, pwcca, debiased_cka):
        assert abs(measure(stretched, Y) - measure(X, Y)) > 0.02


def test_dead_and_duplicate_units_do_not_matter():
    X, Y = (Z.float() for Z in related())
    more = torch.cat([X, X[:, :1] + X[:, 1:2], torch.full((200, 2), 3.7)], 1)
    torch.testing.assert_close(
        canonical_correlations(more, Y), canonical_correlations(X, Y), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("scale", [2.0**660, 2.0**-660, 2.0**-1000], ids=["2^660", "2^-660", "2^-1000"])
@pytest.mark.parametrize("measure", [svcca, mean_cca, pwcca])
def test_features_whose_squares_double_precision_cannot_hold_keep_their_correlations(measure, scale):
    X, Y = normal(60, 6, seed=1), normal(60, 5, seed=2)
    assert measure(X * scale, Y) == measure(X, Y / scale) == measure(X, Y)


def test_chance_of_independent_features_is_width_over_rows():
    squares = torch.cat(
        [
            canonical_correlations(normal(60, 8, seed=s), normal(60, 5, seed=500 + s)).square()
            for s in range(60)
        ]
    )
    # Of 300 squares with standard deviation below .15.
    assert squares.mean().item() == pytest.approx(8 / 59, abs=4 * 0.15 / 300**0.5)


def test_as_many_rows_as_directions_would_be_degenerate_and_is_refused_one_row_more_is_not():
    assert mean_cca(normal(8, 4), normal(8, 3, seed=1)) < 1 - 1e-3
    with pytest.raises(MeasurementError, match=r"7 rows, ranks 4 and 3(.|\n)*more than 7 rows"):
        mean_cca(normal(7, 4), normal(7, 3, seed=1))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pwcca(normal(9, 20), normal(9, 2)), "ranks 8 and 2"),
        (lambda: svcca(normal(9, 20), normal(9, 20)), "too few rows for canonical"),
        (lambda: mean_cca(normal(3, 1), normal(3, 1)), "too few rows(.|\n)*>= 4"),
        (lambda: svcca(normal(9, 2), normal(9, 2), 0.0), r"in \(0, 1\]"),
        (lambda: mean_cca(torch.full((9, 2), 0.1), normal(9, 2)), "no directions"),
        (lambda: mean_cca(torch.zeros(9, 2), normal(9, 2)), "no directions"),
        (lambda: unwrap(mean_cca)(normal(9, 2).half(), normal(9, 2)), r"float16(.|\n)*\.float\(\)"),
        (lambda: unwrap(pwcca)(normal(9, 2), normal(9, 2).bfloat16()), "bfloat16"),
        (lambda: mean_cca(normal(9, 2) * torch.nan, normal(9, 2)), "not finite"),
        (lambda: unwrap(canonical_correlations)(normal(9, 2), normal(8, 2)), "do not match"),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()
