"""Procrustes against scipy's rotation, a search over rotations of the plane, and its invariances."""

import math
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from universality.errors import MeasurementError
from universality.measures.similarity.procrustes import procrustes_distance, procrustes_similarity


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def centred_unit(X):
    A = X - X.mean(0)
    return A / A.norm()


@pytest.mark.parametrize(("n", "d"), [(30, 4), (10, 25), (10, 10)])
def test_the_distance_is_that_after_the_rotation_of_scipy(n, d):
    X, Y = normal(n, d) + 3, normal(n, d, seed=1).exp()
    A, B = centred_unit(X), centred_unit(Y)
    rotation, total = orthogonal_procrustes(A.numpy(), B.numpy())
    assert procrustes_similarity(X, Y) == pytest.approx(total)
    left = (A @ torch.from_numpy(rotation) - B).norm().item()
    assert procrustes_distance(X, Y, "chordal") == pytest.approx(left)
    assert procrustes_distance(X, Y, "squared") == pytest.approx(left**2)
    assert procrustes_distance(X, Y) == pytest.approx(math.acos(total))


def test_no_rotation_or_reflection_of_the_plane_comes_closer():
    X, Y = normal(12, 2), normal(12, 2, seed=1)
    A, B, best = centred_unit(X), centred_unit(Y), math.inf
    for angle in torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64):
        for sign in (1, -1):
            c, s = angle.cos(), angle.sin()
            Q = torch.stack([torch.stack([c, -s * sign]), torch.stack([s, c * sign])])
            best = min(best, (A @ Q - B).norm().item())
    # The grid misses the optimum by at most pi/2000, and the distance there is flat to first order.
    assert procrustes_distance(X, Y, "chordal") == pytest.approx(best, abs=1e-5)


def test_the_narrower_representation_is_filled_with_zeros():
    X, Y = normal(20, 5), normal(20, 3, seed=1)
    padded = torch.cat([Y, torch.zeros(20, 2, dtype=torch.float64)], 1)
    assert procrustes_similarity(X, Y) == pytest.approx(procrustes_similarity(X, padded))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(1, 12), st.integers(4, 30))
def test_rotation_scale_offset_and_order_of_rows_do_not_matter(seed, scale, d, n):
    X, Y = normal(n, d, seed=seed), normal(n, 3, seed=seed + 1)
    s = procrustes_similarity(X, Y)
    assert procrustes_similarity(scale * X @ orthogonal(d, seed) + 9, Y) == pytest.approx(s, rel=1e-9)
    assert procrustes_similarity(Y, X) == pytest.approx(s, rel=1e-9)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert procrustes_similarity(X[order], Y[order]) == pytest.approx(s, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_metric_conventions_obey_the_triangle_inequality(seed):
    X, Y, Z = (normal(8, 3, seed=seed + i) for i in range(3))
    for convention in ("angular", "chordal"):
        xy, yz, xz = (procrustes_distance(*p, convention) for p in ((X, Y), (Y, Z), (X, Z)))
        assert xz <= xy + yz + 1e-9


def test_a_linear_map_that_is_no_rotation_matters():
    X = normal(30, 4)
    assert procrustes_similarity(X, X * torch.tensor([1, 2, 4, 8.0])) < 0.95


def test_equal_features_are_at_no_distance():
    X = normal(30, 4)
    assert procrustes_distance(X, X + 1) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: procrustes_similarity(torch.full((9, 2), 0.1), normal(9, 2)), "no shape"),
        (lambda: procrustes_similarity(normal(9, 2), torch.zeros(9, 2)), "no shape"),
        (lambda: procrustes_similarity(normal(1, 2), normal(1, 2)), "too few rows"),
        (lambda: procrustes_similarity(normal(3, 2), normal(3, 2)), "too few rows(.|\n)*>= 4"),
        (lambda: procrustes_similarity(normal(9, 2) * torch.inf, normal(9, 2)), "not finite"),
        (lambda: unwrap(procrustes_similarity)(normal(9, 2), normal(8, 2)), "do not match"),
        (lambda: unwrap(procrustes_distance)(normal(9, 2), normal(9, 2), "l2"), "convention 'l2'"),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()
