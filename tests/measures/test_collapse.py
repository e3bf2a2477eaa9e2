"""Neural collapse against closed forms, a brute-force float64 twin with d x d matrices, and its invariances."""

from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.errors import MeasurementError
from universality.measures import Collapse, neural_collapse, permuted_collapse


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def simplex(C, d):
    """Rows of a simplex ETF of unit norm in random orientation."""
    Q, _ = torch.linalg.qr(normal(d, C, seed=9))
    return (C / (C - 1)) ** 0.5 * (torch.eye(C, dtype=torch.float64) - 1 / C) @ Q.T


def brute_force(H, y, W, b):
    C, (n, d) = len(W), H.shape
    means = torch.stack([H[y == c].mean(0) for c in range(C)])
    M = means - means.mean(0)
    S_W = sum(torch.outer(H[i] - means[y[i]], H[i] - means[y[i]]) for i in range(n)) / n
    S_B = sum(torch.outer(m, m) for m in M) / C
    values, vectors = torch.linalg.eigh(S_B)
    top = slice(d - min(C - 1, d), d)
    pinv = vectors[:, top] / values[top] @ vectors[:, top].T

    def simplex_gap(V):
        norms = [v.norm() for v in V]
        cosines = [V[i] @ V[j] / (norms[i] * norms[j]) for i in range(C) for j in range(C) if i != j]
        mean = sum(norms) / C
        std = (sum((x - mean) ** 2 for x in norms) / C) ** 0.5
        return (std / mean).item(), (sum(abs(c + 1 / (C - 1)) for c in cosines) / len(cosines)).item()

    variance = [(H[y == c] - means[c]).square().sum(1).mean() for c in range(C)]
    pairs = [(i, j) for i in range(C) for j in range(C) if i != j]
    nearest = torch.tensor([min(range(C), key=lambda c: (h - means[c]).norm()) for h in H])
    (norms, angles), (norms_weight, angles_weight) = simplex_gap(M), simplex_gap(W)
    return Collapse(
        nc1=(torch.trace(S_W @ pinv) / C).item(),
        nc1_ratio=(torch.trace(S_W) / torch.trace(S_B)).item(),
        nc2_norms=norms,
        nc2_angles=angles,
        nc2_norms_weight=norms_weight,
        nc2_angles_weight=angles_weight,
        nc3=(W / W.norm() - M / M.norm()).norm().item(),
        nc4=(nearest != (H @ W.T + b).argmax(1)).double().mean().item(),
        cdnv=(
            sum(
                (variance[i] + variance[j]) / (2 * (means[i] - means[j]) @ (means[i] - means[j]))
                for i, j in pairs
            )
            / len(pairs)
        ).item(),
        simplex_fits=d >= C - 1,
    )


def assert_equal(a: Collapse, b: Collapse, **tolerance):
    assert asdict(a) == pytest.approx(asdict(b), **(tolerance or {"rel": 1e-9, "abs": 1e-11}))


@pytest.mark.parametrize(("n", "d", "C"), [(90, 12, 4), (61, 30, 3), (80, 2, 5), (40, 6, 2)])
def test_every_measure_equals_its_brute_force_twin(n, d, C):
    y = torch.cat([torch.arange(C), torch.randint(C, (n - C,), generator=seeded())])  # imbalanced
    H = normal(n, d) + 3 * normal(C, d, seed=1)[y] + 50
    W, b = normal(C, d, seed=2), normal(C, seed=3)
    assert_equal(neural_collapse(H, y, W, b), brute_force(H, y, W, b))


def test_float32_features_far_from_the_origin_lose_only_their_own_rounding():
    y = torch.arange(120) % 4
    H = (normal(120, 8) + 3 * normal(4, 8, seed=1)[y] + 1000).float()
    W = normal(4, 8, seed=2)
    expected = brute_force(H.double(), y, W, torch.zeros(4))
    assert_equal(neural_collapse(H, y, W.float().double()), expected, rel=1e-6)


def test_chunks_do_not_show(monkeypatch):
    y, H, W = torch.arange(100) % 3, normal(100, 5), normal(3, 5, seed=1)
    whole = neural_collapse(H, y, W)
    monkeypatch.setattr("universality.measures.collapse.ROWS", 7)
    assert_equal(neural_collapse(H, y, W), whole)


def test_a_perfect_frame_with_aligned_weights_has_collapsed():
    M = simplex(4, 10)
    result = neural_collapse(
        (M + 5).repeat(6, 1), torch.arange(4).repeat(6), 0.3 * M, -0.3 * M @ torch.full((10,), 5.0).double()
    )
    for name, value in asdict(result).items():
        assert value == pytest.approx(0, abs=1e-7) or name == "simplex_fits", name


def test_within_class_noise_of_known_covariance_gives_the_closed_form():
    # Frame with S_B = (1/(C-1)) on its span; paired noise +-s e in every span direction makes
    # S_W = s^2/r on the span exactly, so nc1 = r (s^2/r) (C-1) / C = s^2 (C-1)/C, ratio s^2.
    C, d, s = 4, 10, 0.2
    M = simplex(C, d)
    _, _, Vh = torch.linalg.svd(M)
    noise = s * torch.cat([Vh[: C - 1], -Vh[: C - 1]])
    H = (M[:, None] + noise).reshape(-1, d)
    result = neural_collapse(H, torch.arange(C).repeat_interleave(len(noise)), M)
    assert result.nc1 == pytest.approx(s**2 * (C - 1) / C)
    assert result.nc1_ratio == pytest.approx(s**2)
    # squared distance of two corners is 2 C/(C-1); both classes have variance s^2
    assert result.cdnv == pytest.approx(s**2 * (C - 1) / (2 * C))
    assert (result.nc2_norms, result.nc2_angles, result.nc3) == pytest.approx((0, 0, 0), abs=1e-7)


def test_noise_outside_the_span_of_the_means_counts_in_the_ratio_only():
    M = simplex(3, 6)
    outside = torch.linalg.svd(M)[2][2]
    H = torch.cat([M + outside, M - outside])
    result = neural_collapse(H, torch.arange(3).repeat(2), M)
    assert result.nc1 == pytest.approx(0, abs=1e-12)
    assert result.nc1_ratio == pytest.approx(1)


def test_opposite_weights_have_nc3_two_and_weights_of_another_direction_root_two():
    M = simplex(3, 6)
    H, y = M.repeat(2, 1) + 0.01 * normal(6, 6), torch.arange(3).repeat(2)
    assert neural_collapse(H, y, -M).nc3 == pytest.approx(2, abs=1e-2)
    Q = torch.linalg.svd(M)[2][3:5]
    W = normal(3, 2, seed=4) @ Q
    assert neural_collapse(M.repeat(2, 1), y, W).nc3 == pytest.approx(2**0.5)


def test_the_bias_decides_nc4():
    M = simplex(3, 6)
    H, y = M.repeat(2, 1), torch.arange(3).repeat(2)
    assert neural_collapse(H, y, M).nc4 == 0
    assert neural_collapse(H, y, M, torch.tensor([100.0, 0, 0])).nc4 == pytest.approx(2 / 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(2, 5), st.integers(2, 9))
def test_rotation_scale_and_the_order_of_rows_and_classes_do_not_matter(seed, scale, C, d):
    y = torch.arange(8 * C) % C
    H, W, b = (
        normal(8 * C, d, seed=seed) + 2 * normal(C, d, seed=seed + 1)[y],
        normal(C, d, seed=seed + 2),
        normal(C),
    )
    plain = neural_collapse(H, y, W, b)
    Q, _ = torch.linalg.qr(normal(d, d, seed=seed + 3))
    assert_equal(neural_collapse(scale * H @ Q, y, W @ Q / scale, b), plain, rel=1e-6, abs=1e-9)
    rows, classes = torch.randperm(8 * C, generator=seeded(seed)), torch.randperm(C, generator=seeded(seed))
    assert_equal(
        neural_collapse(H[rows], classes.argsort()[y][rows], W[classes], b[classes]),
        plain,
        rel=1e-6,
        abs=1e-9,
    )


def test_permuted_labels_give_the_chance_level_of_isotropic_features():
    n, d, C = 2000, 100, 5
    y, H = torch.arange(n) % C, normal(n, d) + 4 * normal(C, d, seed=1)[torch.arange(n) % C] / d**0.5
    values = [
        permuted_collapse(normal(n, d, seed=s), y, normal(C, d), None, seeded(s)).nc1 for s in range(20)
    ]
    assert sum(values) / 20 == pytest.approx((n / C) * (C - 1) / (d - C), rel=0.05)
    assert (
        permuted_collapse(H, y, normal(C, d), None, seeded()).nc1
        > 3 * neural_collapse(H, y, normal(C, d)).nc1
    )


def test_width_below_classes_less_one_is_flagged():
    y = torch.arange(20) % 5
    assert not neural_collapse(normal(20, 2), y, normal(5, 2)).simplex_fits
    assert neural_collapse(normal(20, 4), y, normal(5, 4)).simplex_fits


H, Y, W = normal(12, 4), torch.arange(12) % 3, normal(3, 4, seed=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((H.clone().fill_(torch.nan), Y, W), "features are not finite"),
        ((H, Y, W.clone().fill_(torch.inf)), "weight are not finite"),
        ((H, Y, W, torch.full((3,), torch.nan)), "bias are not finite"),
        ((H, 0 * Y, W[:1]), "compares classes(.|\n)*1 class"),
        ((H, Y.clamp_max(1), W), r"no rows of class \[2\]"),
        ((H, Y + 1, W), r"labels out of range(.|\n)*0 \.\. 2"),
        ((H, Y[:5], W), r"shapes do not match(.|\n)*\[5\]"),
        ((H, Y, W[:, :2]), "shapes do not match"),
        ((H, Y, W, torch.zeros(2)), "shapes do not match"),
        ((H[:0], Y[:0], W), "labels out of range"),
        ((torch.ones(12, 4), Y, W), "span fewer than 2 dimensions"),
        ((H, Y, 0 * W), "zero row of weight"),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(arguments, text):
    with pytest.raises(MeasurementError, match=text):
        neural_collapse(*arguments)
