"""Neural collapse against closed forms, a brute-force float64 twin with d x d matrices, and its invariances."""

import math
from dataclasses import asdict
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.errors import MeasurementError
from universality.measures.collapse import neural_collapse as collapse
from universality.measures.collapse import sums as collapse_sums
from universality.measures.collapse.neural_collapse import (
    Collapse,
    batched_collapse,
    chance_nc1,
    class_means,
    nearest_mean_mismatch,
    neural_collapse,
    permuted_collapse,
)


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
    S_C = sum(
        sum(torch.outer(h - means[c], h - means[c]) for h in H[y == c]) / (y == c).sum() for c in range(C)
    )
    total = H.mean(0)
    S_B_rows = sum(torch.outer(means[c] - total, means[c] - total) for c in y) / n
    values_rows, vectors_rows = torch.linalg.eigh(S_B_rows)
    pinv_rows = vectors_rows[:, top] / values_rows[top] @ vectors_rows[:, top].T
    E = (torch.eye(C, dtype=H.dtype) - 1 / C) / (C - 1) ** 0.5

    def frame_gap(G):
        return (G / G.square().sum().sqrt() - E).square().sum().sqrt().item()

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
        nc1_balanced=(torch.trace(S_C / C @ pinv) / C).item(),
        nc1_weighted=(torch.trace(S_W @ pinv_rows) / C).item(),
        nc2_gram=frame_gap(M @ M.T),
        nc2_gram_weight=frame_gap(W @ W.T),
        nc3_gram=frame_gap(W @ M.T),
        classes=C,
        imbalance=max((y == c).sum().item() for c in range(C)) / min((y == c).sum().item() for c in range(C)),
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
    monkeypatch.setattr(collapse_sums, "BLOCK", 35)
    assert_equal(neural_collapse(H, y, W), whole)


PERFECT = {"simplex_fits": True, "classes": 4, "imbalance": 1}


def test_a_perfect_frame_with_aligned_weights_has_collapsed():
    M = simplex(4, 10)
    result = neural_collapse(
        (M + 5).repeat(6, 1), torch.arange(4).repeat(6), 0.3 * M, -0.3 * M @ torch.full((10,), 5.0).double()
    )
    for name, value in asdict(result).items():
        assert value == pytest.approx(PERFECT.get(name, 0), abs=1e-7), name


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
        ((H, Y.to(torch.uint8), W), r"no indices of classes(.|\n)*uint8(.|\n)*\.long\(\)"),
        ((H, Y > 0, W), "no indices of classes(.|\n)*bool"),
        ((H, Y.float(), W), "no indices of classes(.|\n)*float32"),
        ((H, 0 * Y, W[:1]), "compares classes(.|\n)*1 class"),
        ((H, Y.clamp_max(1), W), r"no rows of class \[2\]"),
        ((H, Y + 1, W), r"labels out of range(.|\n)*0 \.\. 2"),
        ((H, Y[:5], W), r"shapes do not match(.|\n)*\[5\]"),
        ((H, Y, W[:, :2]), "shapes do not match"),
        ((H, Y, W, torch.zeros(2)), "shapes do not match"),
        ((H[:0], Y[:0], W), "a class without rows"),
        ((torch.ones(12, 4), Y, W), "span fewer than 2 dimensions"),
        ((H, Y, 0 * W), "zero row of weight"),
        ((H + 0j, Y, W), "shapes do not match(.|\n)*real features"),
        ((H[:3], Y[:3], W), r"one row has no variability(.|\n)*class \[0, 1, 2\]"),
        ((H[:7], Y[:7].where(torch.arange(7) != 4, 0), W), r"one row(.|\n)*class \[1\]"),
        # In one dimension three means span it all, and one of them is their mean, or two are one.
        ((torch.tensor([[-1.0], [0.0], [1.0]]).repeat(2, 1), Y[:6], W[:, :1]), "coincide"),
        ((torch.tensor([[0.0], [0.0], [1.0]]).repeat(2, 1), Y[:6], W[:, :1]), "coincide"),
    ],
)
def test_input_without_a_meaningful_answer_is_refused(arguments, text):
    with pytest.raises(MeasurementError, match=text):
        unwrap(neural_collapse)(*arguments)


@pytest.mark.parametrize("n", [600, 601, 6000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_features_are_refused_though_rounding_spreads_their_means(n, dtype):
    row = (math.pi * normal(1, 5)).to(dtype)
    with pytest.raises(MeasurementError, match="span fewer than 2 dimensions"):
        neural_collapse(row.expand(n, 5), torch.arange(n) % 3, normal(3, 5, seed=1))


def test_an_ill_conditioned_covariance_of_the_means_keeps_its_digits():
    # Condition of S_B 1e16: a pseudo-inverse by the default cut-off of float32 would leave directions out.
    C, d, n = 4, 6, 4000
    basis = torch.linalg.qr(normal(d, d, seed=3)).Q
    M = simplex(C, d) @ basis
    U, _, Vh = torch.linalg.svd(M, full_matrices=False)
    M = U[:, : C - 1] @ torch.diag(torch.tensor([1.0, 1e-4, 1e-8]).double()) @ Vh[: C - 1]
    y = torch.arange(n) % C
    # Noise along the weakest direction only, of exact variance 4e-16: nc1 = C/C * 4e-16 / (1e-16 / C) / C.
    signs = torch.where(torch.arange(n) // C % 2 == 0, 1.0, -1.0).double()
    H = M[y] + 2e-8 * signs[:, None] * Vh[C - 2]
    assert neural_collapse(H, y, normal(C, d)).nc1 == pytest.approx(4.0, rel=1e-6)


def test_conventions_have_names():
    y = torch.arange(40) % 4
    found = neural_collapse(normal(40, 6), y, normal(4, 6, seed=1))
    assert found.nc1_undivided == 4 * found.nc1
    assert found.nc3_squared == found.nc3**2
    # Equal sizes: every convention of averaging is the same.
    assert found.nc1_balanced == pytest.approx(found.nc1, rel=1e-12)
    assert found.nc1_weighted == pytest.approx(found.nc1, rel=1e-12)


def scaled(spread_of_means, spread_of_noise, *, n=4000, d=48, C=6, offset=0.0):
    """float32 features of which single directions of the means or of the noise are much larger."""
    y = torch.arange(n) % C
    stretch = torch.logspace(0, -spread_of_means, C, dtype=torch.float64)
    noisy = torch.logspace(0, -spread_of_noise, d, dtype=torch.float64)
    Q, _ = torch.linalg.qr(normal(d, d, seed=5))
    H = (normal(n, d) * noisy + (stretch[:, None] * normal(C, C, seed=1)).T[y] @ normal(C, d, seed=2)) @ Q
    return (H + offset).float(), y, normal(C, d, seed=3), normal(C, seed=4)


HARD = {
    "plain": (0, 0, 0),
    "S_B of condition 1e8": (4, 0, 0),
    "S_B of condition 1e12": (6, 0, 0),
    "noise of condition 1e8": (0, 4, 0),
    "both": (3, 4, 0),
    "an offset of 1000": (2, 0, 1000.0),
}


@pytest.mark.parametrize("case", HARD)
def test_float32_features_keep_seven_digits(case):
    H, y, W, b = scaled(*HARD[case][:2], offset=HARD[case][2])
    fast, exact = neural_collapse(H, y, W, b), neural_collapse(H.double(), y, W, b)
    assert fast.nc4 == exact.nc4
    assert_equal(fast, exact, rel=1e-7)


def test_the_float32_product_is_used_and_given_up_where_its_check_fails(monkeypatch):
    dtypes = []
    genuine = collapse.within_sums

    def spy(batches, head, counts, dtype, where):
        found = genuine(batches, head, counts, dtype, where)
        dtypes.append((dtype, found.deviation))
        return found

    monkeypatch.setattr(collapse, "within_sums", spy)
    neural_collapse(*scaled(0, 0, n=20_000))
    assert [dtype for dtype, _ in dtypes] == [torch.float32]
    dtypes.clear()
    # Classes collapsed to a few units in the last place: the rounding of the means is as large as the noise.
    H, y, W, b = scaled(0, 0, n=20_000)
    H = (1000 + 3 * normal(6, 48, seed=8)[y] + 1e-4 * H).float()
    near, exact = neural_collapse(H, y, W, b), neural_collapse(H.double(), y, W, b)
    assert [dtype for dtype, _ in dtypes] == [torch.float32, torch.float64]
    assert_equal(near, exact, rel=1e-7)
    dtypes.clear()
    # Noise outside the span of the means 1e4 times that in it: float32 products with V see it too.
    C, d, n = 3, 8, 600
    M, y = simplex(C, d), torch.arange(2 * n) % C
    inner, outside = M[y[:n]] + 1e-2 * normal(n, d), torch.linalg.svd(M)[2][2]
    H = torch.cat([inner + 100 * outside, inner - 100 * outside]).float()
    fast, exact = neural_collapse(H, y, M), neural_collapse(H.double(), y, M)
    assert [dtype for dtype, _ in dtypes] == [torch.float32, torch.float64, torch.float64]
    assert dtypes[0][1] > 8e-8
    assert fast.nc1 == pytest.approx(exact.nc1, rel=1e-10)


@pytest.mark.parametrize("scale", [1e-25, 1e-19, 1e12, 1e19], ids=str)
def test_float32_features_whose_squares_float32_cannot_hold_keep_their_measures(scale):
    H, y, W, b = scaled(0, 0, n=600)
    H, W = scale * H, W / scale
    found, plain = neural_collapse(H, y, W, b), neural_collapse(*scaled(0, 0, n=600))
    assert_equal(found, neural_collapse(H.double(), y, W, b), rel=1e-7)
    assert found.nc1_ratio == pytest.approx(plain.nc1_ratio, rel=1e-5)
    assert found.cdnv == pytest.approx(plain.cdnv, rel=1e-5)


def test_rows_within_rounding_of_two_classes_are_decided_in_float64():
    # Means -1 and 1 on the first axis, every tenth row 1e-9 from the boundary: in float32 |h - mu|^2 ties.
    d, n = 16, 400
    H = torch.zeros(n, d, dtype=torch.float64)
    y = torch.arange(n) % 2
    H[:, 0] = 2.0 * y - 1
    H[:, 1:] = normal(n, d - 1)
    edge = torch.arange(0, n, 10)
    H[edge, 0] = 1e-9 * normal(len(edge), seed=1)
    H = H.float()
    W = torch.zeros(2, d, dtype=torch.float64)
    W[1, 0], W[0, 0] = 1.0, -1.0
    fast, exact = neural_collapse(H, y, W), neural_collapse(H.double(), y, W)
    assert fast.nc4 == exact.nc4
    twin = brute_force(H.double(), y, W, torch.zeros(2))
    assert fast.nc4 == twin.nc4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_taken_as_they_are(dtype):
    H, y, W, b = scaled(0, 0, n=600)
    H = H.to(dtype)
    assert_equal(neural_collapse(H, y, W, b), neural_collapse(H.double(), y, W, b), rel=1e-7)


@pytest.mark.parametrize("scale", [2.0**660, 2.0**-660, 2.0**-1000], ids=["2^660", "2^-660", "2^-1000"])
def test_features_whose_squares_float64_cannot_hold_keep_their_measures(scale):
    H, y, W, b = scaled(0, 0, n=600)
    H, bias = H.double(), b
    M = class_means(H, y, len(W))
    plain, other = neural_collapse(H, y, W, bias), nearest_mean_mismatch(H, M, W, bias)
    # Powers of two: to the last bit.
    assert neural_collapse(H * scale, y, W, bias * scale) == plain
    assert neural_collapse(H, y, W * scale, bias * scale) == plain
    assert neural_collapse(H * scale, y, W / scale, bias) == plain
    assert nearest_mean_mismatch(H * scale, M * scale, W, bias * scale) == other
    assert nearest_mean_mismatch(H, M, W * scale, bias * scale) == other
    loader = lambda: [(H[:100] * scale, y[:100]), (H[100:] * scale, y[100:])]  # noqa: E731
    assert_equal(batched_collapse(loader, W, bias * scale), plain)


def test_sizes_that_double_precision_cannot_hold_together_are_refused():
    M, y = simplex(3, 6), torch.arange(60) % 3
    H = 1e-200 * (M[y] + normal(60, 6))
    with pytest.raises(MeasurementError, match="logits and biases of sizes"):
        neural_collapse(H, y, 1e-200 * M, normal(3))
    # Rows that cancel exactly, and leave class means 2^600 times smaller than themselves.
    far = torch.full((3, 6), 2.0**600, dtype=torch.float64)
    with pytest.raises(MeasurementError, match="noise to class means beyond double precision"):
        neural_collapse(torch.cat([far, -far, M]), torch.arange(9) % 3, M)


def test_batches_in_another_order_and_cut_are_the_same_rows():
    y = torch.cat([torch.arange(4), torch.randint(4, (96,), generator=seeded())])
    H, W, b = normal(100, 6) + 2 * normal(4, 6, seed=1)[y], normal(4, 6, seed=2), normal(4, seed=3)
    passes = iter([(torch.arange(100), 7), (torch.randperm(100, generator=seeded()), 13)])

    def opened():
        order, size = next(passes)
        return zip(H[order].split(size), y[order].split(size), strict=True)

    assert_equal(batched_collapse(opened, W, b), neural_collapse(H, y, W, b))
    assert next(passes, None) is None


def test_a_source_that_changes_between_passes_is_refused():
    y, W, calls = torch.arange(60) % 3, normal(3, 5, seed=1), iter(range(9))

    def augmented():
        return [(normal(60, 5, seed=next(calls)), y)]

    with pytest.raises(MeasurementError, match="second pass over the batches brought other features"):
        batched_collapse(augmented, W)
    H, orders = normal(60, 5) + 3 * normal(3, 5, seed=1)[y], iter([y, y.roll(1)])
    with pytest.raises(MeasurementError, match="brought other features"):
        batched_collapse(lambda: [(H, next(orders))], W)
    with pytest.raises(MeasurementError, match="no rows at all"):
        batched_collapse(list, W)
    with pytest.raises(MeasurementError, match="shapes do not match"):
        batched_collapse(lambda: [(normal(60, 4), y)], W)


def test_batches_that_are_used_up_are_no_perfect_collapse():
    y, W = torch.arange(60) % 3, normal(3, 5, seed=1)
    H = normal(60, 5) + 3 * normal(3, 5, seed=1)[y]
    once = ((h, c) for h, c in zip(H.split(16), y.split(16), strict=True))
    with pytest.raises(MeasurementError, match="fewer rows than the first") as caught:
        batched_collapse(lambda: once, W)
    assert "0 rows after 60" in str(caught.value)
    assert "`batches` must open them anew on every call" in str(caught.value)
    # A pass that began late.
    sizes = iter([60, 44])
    with pytest.raises(MeasurementError, match="fewer rows than the first") as caught:
        batched_collapse(lambda: [(H[:size], y[:size]) for size in [next(sizes)]], W)
    assert "44 rows after 60" in str(caught.value)
    # As many rows, of other classes; and labels that the first pass did not have.
    orders = iter([y, y.clamp_max(1)])
    with pytest.raises(MeasurementError, match="brought other features"):
        batched_collapse(lambda: [(H, next(orders))], W)
    orders = iter([y, y + 1])
    with pytest.raises(MeasurementError, match="labels out of range"):
        batched_collapse(lambda: [(H, next(orders))], W)


def test_the_third_pass_of_float32_features_must_bring_every_row_too():
    # Noise outside the span of the means: the float32 product is given up.
    C, d, n = 3, 8, 600
    M, y = simplex(C, d), torch.arange(2 * n) % C
    inner, outside = M[y[:n]] + 1e-2 * normal(n, d), torch.linalg.svd(M)[2][2]
    H = torch.cat([inner + 100 * outside, inner - 100 * outside]).float()
    passes = iter([[(H, y)], [(H, y)], []])
    with pytest.raises(MeasurementError, match="fewer rows than the first"):
        batched_collapse(lambda: next(passes), M)
    assert next(passes, None) is None


def test_a_list_of_batches_cannot_be_opened():
    with pytest.raises(MeasurementError, match="batches that cannot be opened anew") as caught:
        unwrap(batched_collapse)([(normal(6, 5), torch.arange(6) % 3)], normal(3, 5, seed=1))
    assert "list" in str(caught.value)


@pytest.mark.parametrize(("d", "C"), [(30, 4), (12, 2), (3, 12)])
def test_the_closed_form_of_chance_is_the_mean_over_gaussian_draws(d, C):
    n = 5 * C
    y = torch.arange(n) % C
    values = torch.tensor(
        [neural_collapse(normal(n, d, seed=s), y, normal(C, d, seed=s)).nc1 for s in range(400)]
    )
    error = values.std().item() / 400**0.5
    assert values.mean().item() == pytest.approx(chance_nc1(n, d, C), abs=3.5 * error)
    assert error < 0.08 * chance_nc1(n, d, C)  # so that n/C in place of n/C - 1 is seen


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((100, 4, 4), "no finite expectation"),
        ((100, 3, 5), "no finite expectation"),
        ((4, 9, 4), "no chance"),
    ],
)
def test_chance_without_an_expectation_is_refused(arguments, text):
    with pytest.raises(MeasurementError, match=text):
        chance_nc1(*arguments)


def test_nc4_of_other_rows_counts_by_hand_and_covers():
    M, b = 3 + simplex(3, 6), normal(3, seed=2)
    W, H = normal(3, 6, seed=1), normal(50, 6, seed=4)
    expected = sum(int((W @ h + b).argmax() != min(range(3), key=lambda c: (h - M[c]).norm())) for h in H)
    found = nearest_mean_mismatch(H, M, W, b)
    assert 5 < expected < 45
    assert (found.share, found.rows) == (expected / 50, 50)
    assert found.low < found.share < found.high
    perfect = nearest_mean_mismatch(M - 3, M - 3, M - 3)
    # None of n wrong: the exact upper bound is 1 - (alpha/2)^(1/n).
    assert (perfect.share, perfect.low) == (0, 0)
    assert perfect.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_nc4_of_the_training_rows_is_the_same_number():
    y = torch.arange(90) % 3
    H, W, b = normal(90, 5) + 1e6, normal(3, 5, seed=1), -1e6 * normal(3, 5, seed=1).sum(1)
    found = nearest_mean_mismatch(H, class_means(H, y, 3), W, b)
    assert 0 < found.share == neural_collapse(H, y, W, b).nc4 < 1


def test_class_means_that_coincide_have_no_nearest():
    H, W, M = normal(50, 8), normal(3, 8, seed=1), normal(3, 8, seed=2)
    M[2] = M[0]
    for means, text in [
        (torch.zeros(3, 8), "classes 0 and 1, of 3 such pairs"),
        (torch.full((3, 8), 7.3), "classes 0 and 1, of 3 such pairs"),
        (M, "classes 0 and 2, of 1 such pairs"),
        (M + 1e5 * torch.eye(8)[0], "classes 0 and 2, of 1 such pairs"),
        # Means of one constant row differ by the rounding of their sums.
        (7.3 + 1e-15 * normal(3, 8, seed=3), "classes 0 and 1, of 3 such pairs"),
    ]:
        with pytest.raises(MeasurementError, match=rf"coincide(.|\n)*{text}"):
            nearest_mean_mismatch(H, means, W)
    M[2, 0] += 1e-9
    assert nearest_mean_mismatch(H, M, W).rows == 50
    assert nearest_mean_mismatch(H, M + 100, W).rows == 50


def test_other_rows_that_do_not_fit_are_refused():
    M = simplex(3, 6)
    for arguments, text in [
        ((normal(4, 5), M, M), "shapes do not match"),
        ((normal(4, 6), M[:2], M), "shapes do not match"),
        ((normal(4, 6)[:0], M, M), "a share of no rows"),
        ((normal(4, 6) * torch.nan, M, M), "features are not finite"),
    ]:
        with pytest.raises(MeasurementError, match=text):
            unwrap(nearest_mean_mismatch)(*arguments)
    with pytest.raises(MeasurementError, match="shapes do not match"):
        unwrap(class_means)(normal(4, 6), torch.arange(3), 3)
    with pytest.raises(MeasurementError, match="no indices of classes"):
        unwrap(class_means)(H, Y.bool(), 3)
    with pytest.raises(MeasurementError, match=r"no rows of class \[2\]"):
        class_means(normal(4, 6), torch.arange(4) % 2, 3)
