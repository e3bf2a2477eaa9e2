"""Dissimilarities and their correlation against scipy; what each distance does not see, and what it does."""

from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from universality.errors import MeasurementError
from universality.measures.similarity.rsa import dissimilarities, rsa


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
def test_dissimilarities_and_their_correlations_are_those_of_scipy(distance):
    X, Y = normal(25, 6) + 2, normal(25, 4, seed=1)
    x, y = (torch.from_numpy(pdist(Z.numpy(), distance)) for Z in (X, Y))
    torch.testing.assert_close(dissimilarities(X, distance), x)
    assert rsa(X, Y, distance) == pytest.approx(spearmanr(x, y).statistic)
    assert rsa(X, Y, distance, "pearson") == pytest.approx(pearsonr(x, y).statistic)


def test_equal_dissimilarities_share_their_mean_rank():
    X = torch.tensor([[0.0], [1.0], [2.0], [4.0], [5.0]])
    Y = torch.tensor([[0.0], [1.0], [1.5], [1.75], [9.0]])
    expected = spearmanr(pdist(X.numpy()), pdist(Y.numpy())).statistic
    assert rsa(X, Y, "euclidean") == pytest.approx(expected)


def test_dissimilarities_that_rounding_alone_splits_are_ties():
    # Corners of three cubes: three distances of the first, which rotation and an offset split in the last digit.
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    Y = normal(8, 4)
    rotation = torch.linalg.qr(normal(3, 3, seed=1))[0]
    moved = corners @ rotation + 0.1
    assert len(dissimilarities(moved, "euclidean").unique()) > 3
    # Distances are the square roots of these numbers of different coordinates.
    exact = pdist(corners.numpy(), "hamming").round(6)
    expected = spearmanr(exact, pdist(Y.numpy())).statistic
    for X in (corners, moved):
        assert rsa(X, Y, "euclidean") == pytest.approx(expected, abs=1e-12)


def test_close_rows_far_from_zero_keep_their_distance():
    X = torch.tensor([[1e6, 0.0], [1e6 + 1e-3, 0.0], [1e6, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert dissimilarities(X, "euclidean")[0].item() == pytest.approx(1e-3, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5), st.integers(3, 8))
def test_what_the_distances_do_not_see(seed, scale, offset, d):
    X, Y = normal(12, d, seed=seed), normal(12, 4, seed=seed + 1)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(normal(d, d, seed=seed))[0]
    # Pearson: ranks of dissimilarities that are equal but for rounding could swap.
    turned = scale * X @ rotation + normal(1, d, seed=seed)
    plain = rsa(X, Y, "euclidean", "pearson")
    assert rsa(turned[order], Y[order], "euclidean", "pearson") == pytest.approx(plain, abs=1e-9)
    gains = 0.5 + torch.rand(12, 1, generator=torch.Generator().manual_seed(seed)).double()
    plain = rsa(X, Y, "correlation", "pearson")
    assert rsa(gains * X + offset, Y, "correlation", "pearson") == pytest.approx(plain, abs=1e-9)


def test_what_they_see():
    X, Y = normal(30, 4), normal(30, 4, seed=1)
    rotation = torch.linalg.qr(normal(4, 4, seed=2))[0]
    assert rsa(X, X) == pytest.approx(1)
    assert rsa(X, X @ rotation) < 0.99  # the mean over the features is another one
    assert rsa(X, X * torch.tensor([1, 1, 1, 10.0]), "euclidean") < 0.9
    assert rsa(X, X + normal(1, 4, seed=3), "correlation") < 0.99
    assert abs(rsa(X, Y)) < 0.2


def nearly_equidistant():
    """Distances that differ by 1e-11 in all, and by less than 1e-12 from one to the next."""
    return torch.diag(1 + 1e-11 * torch.linspace(0, 1, 9, dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: rsa(normal(9, 2), normal(9, 3)), "2 features(.|\n)*at least 3"),
        (lambda: rsa(torch.full((9, 3), 0.1), normal(9, 3)), "9 of 9 rows constant"),
        (lambda: rsa(torch.full((9, 3), 0.1), normal(9, 3), "euclidean"), "all at one distance"),
        (lambda: rsa(torch.eye(9), normal(9, 3), "euclidean"), "all at one distance"),
        (lambda: rsa(nearly_equidistant(), normal(9, 3), "euclidean"), "up to rounding, have no ranks"),
        (lambda: unwrap(rsa)(normal(9, 3).half(), normal(9, 3)), "float16(.|\n)*float32 or float64"),
        (lambda: rsa(normal(3, 3), normal(3, 3)), "too few rows(.|\n)*>= 4"),
        (lambda: rsa(normal(9, 3) * torch.nan, normal(9, 3)), "not finite"),
        (lambda: unwrap(rsa)(normal(9, 3), normal(8, 3)), "do not match"),
        (lambda: unwrap(dissimilarities)(normal(9, 3), "cosine"), "distance 'cosine'"),
        (lambda: unwrap(rsa)(normal(9, 3), normal(9, 3), compare="kendall"), "comparison 'kendall'"),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()
