"""Tangent kernels against closed forms, explicit Jacobians and finite differences; alignment by brute force."""

import math
from inspect import unwrap
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from universality.errors import MeasurementError
from universality.measures.kernels import (
    empirical_ntk,
    kernel_change,
    kernel_distance,
    pseudo_ntk,
    target_alignment,
    trace_ntk,
)
from universality.measures.similarity.cka import biased_cka, debiased_cka


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=True)

    def forward(self, x):
        return self.block(x.reshape(len(x), -1, 6)).mean(1)[:, :3]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.cell(x.reshape(len(x), 3, 4))[0][:, -1]


def two_layers():
    return nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))


def normalised():
    return nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3))


NETWORKS = {
    "two layers": two_layers,
    "batch norm": normalised,
    "attention": Attention,
    "recurrent": Recurrent,
}


def built(name):
    torch.manual_seed(0)
    return NETWORKS[name]().double().eval()


def explicit_jacobian(network, X):
    """[n C p] by one backward pass of the whole batch for each entry."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    out = network(X)
    J = torch.empty(*out.shape, sum(p.numel() for p in parameters), dtype=torch.float64)
    for i in range(out.shape[0]):
        for a in range(out.shape[1]):
            grads = torch.autograd.grad(out[i, a], parameters, retain_graph=True, materialize_grads=True)
            J[i, a] = torch.cat([g.reshape(-1) for g in grads])
    return J


@pytest.mark.parametrize("batch", [2, 3, 256])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_kernel_is_its_contraction_of_the_explicit_jacobian(name, batch):
    network, X = built(name), normal(5, 12)
    J = explicit_jacobian(network, X)
    full = torch.einsum("iap,jbp->iajb", J, J)
    torch.testing.assert_close(empirical_ntk(network, X, batch), full.reshape(15, 15))
    torch.testing.assert_close(trace_ntk(network, X, batch), torch.einsum("iaja->ij", full))
    torch.testing.assert_close(pseudo_ntk(network, X, batch), full.sum((1, 3)) / 3)


def test_two_layers_by_hand():
    # f = v^T tanh(W x): K = h(x).h(z) + x.z sum_k v_k^2 h'_k(x) h'_k(z)
    torch.manual_seed(0)
    network = (
        nn.Sequential(nn.Linear(4, 7, bias=False), nn.Tanh(), nn.Linear(7, 1, bias=False)).double().eval()
    )
    X = normal(6, 4)
    W, v = network[0].weight.detach(), network[2].weight.detach()[0]
    h = torch.tanh(X @ W.T)
    slope = 1 - h**2
    torch.testing.assert_close(
        empirical_ntk(network, X), h @ h.T + (X @ X.T) * (slope @ torch.diag(v**2) @ slope.T)
    )


def test_a_linear_model_has_the_gram_matrix_times_the_identity():
    X = normal(4, 3)
    network = nn.Linear(3, 2).double().eval()
    expected = torch.kron(X @ X.T + 1, torch.eye(2, dtype=torch.float64))  # + 1 for the bias
    torch.testing.assert_close(empirical_ntk(network, X), expected)
    torch.testing.assert_close(trace_ntk(network, X), 2 * (X @ X.T + 1))
    torch.testing.assert_close(pseudo_ntk(network, X), X @ X.T + 1)


def test_the_kernel_is_the_first_order_change_of_outputs_under_gradient_flow():
    # One step of size t along J^T g moves the outputs by t K g + O(t^2): central differences.
    network, X = built("two layers"), normal(4, 12)
    g, t = normal(12, seed=1), 1e-5
    step = torch.autograd.grad(network(X).reshape(-1) @ g, list(network.parameters()))
    moved = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, s in zip(network.parameters(), step, strict=True):
                p += sign * t * s
            moved.append(network(X).reshape(-1))
            for p, s in zip(network.parameters(), step, strict=True):
                p -= sign * t * s
    torch.testing.assert_close(
        empirical_ntk(network, X) @ g, (moved[0] - moved[1]) / (2 * t), rtol=1e-6, atol=1e-8
    )


def test_only_trainable_parameters_count_and_nothing_is_left_behind():
    network, X = built("batch norm"), normal(4, 12)
    network[0].requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        K = empirical_ntk(network, X)
    J = explicit_jacobian(network, X)
    torch.testing.assert_close(K, torch.einsum("iap,jbp->iajb", J, J).reshape(12, 12))
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not K.requires_grad


def test_tokens_are_inputs_too_and_outputs_are_flattened():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)).eval()
    tokens = torch.tensor([[0, 1], [1, 4], [0, 0]])
    K = empirical_ntk(network, tokens)
    assert K.shape == (12, 12)
    torch.testing.assert_close(K, K.T)
    W = network[1].weight.detach().double()
    # f = W e_t + b: through the embedding W W^T for equal tokens, through W and b e_s.e_t + 1.
    e = network[0].weight.detach().double()[tokens]  # [n T 3]
    same = (tokens[:, :, None, None] == tokens).double()
    inner = torch.einsum("itd,jsd->itjs", e, e) + 1
    expected = torch.einsum("itjs,ab->itajsb", same, W @ W.T) + torch.einsum(
        "itjs,ab->itajsb", inner, torch.eye(2, dtype=torch.float64)
    )
    torch.testing.assert_close(K, expected.reshape(12, 12), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda net: net.train(), r"training mode(.|\n)*network\.eval\(\)"),
        (lambda net: net.requires_grad_(False), "0 trainable parameters"),
        (lambda net: nn.init.constant_(net[0].weight, math.inf), "gradients are not finite"),
    ],
)
def test_networks_without_a_kernel_are_refused(change, text):
    network = built("two layers")
    change(network)
    with pytest.raises(MeasurementError, match=text):
        empirical_ntk(network, normal(3, 12))


def test_no_rows_are_refused():
    with pytest.raises(MeasurementError, match="0 rows"):
        empirical_ntk(built("two layers"), normal(3, 12)[:0])


def psd(n, rank, seed):
    X = normal(n, rank, seed=seed)
    return X @ X.T


def cosine(A, B):
    return ((A * B).sum() / (A.square().sum() * B.square().sum()).sqrt()).item()


def centre(A):
    H = torch.eye(len(A), dtype=torch.float64) - 1 / len(A)
    return H @ A @ H


def jackknife(values):
    values, n = torch.tensor(values, dtype=torch.float64), len(values)
    se = ((n - 1) / n * (values - values.mean()).square().sum()).sqrt().item()
    return stats.t.ppf(0.975, n - 1) * se


def hsic(K, L):
    """n (n - 3) HSIC_1, equation 5 of Song et al. 2012, as it stands there."""
    n = len(K)
    K, L = K - K.diag().diag(), L - L.diag().diag()
    one = torch.ones(n, dtype=torch.float64)
    both = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return torch.trace(K @ L) + both - 2 / (n - 2) * one @ K @ L @ one


def between_inputs(K, L, outputs=1):
    """sum K L over entries of two different inputs, one by one."""
    N = len(K)
    return sum(K[i, j] * L[i, j] for i in range(N) for j in range(N) if i // outputs != j // outputs)


def ratio(product, K, L, *rest):
    return (product(K, L, *rest) / (product(K, K, *rest) * product(L, L, *rest)).sqrt()).item()


def without(K, i, outputs=1):
    keep = [j for j in range(len(K)) if j // outputs != i]
    return K[keep][:, keep]


@pytest.mark.parametrize("n", [5, 14])
@pytest.mark.parametrize("centred", [True, False])
def test_alignment_and_its_jackknife_are_their_brute_force_twins(centred, n):
    Y = normal(n, 2, seed=1) + 0.7
    K = psd(n, 5, 2) + Y @ Y.T
    f, product = (centre, hsic) if centred else (lambda A: A, between_inputs)
    L = Y @ Y.T
    found = target_alignment(K, Y, centred)
    assert found.value == pytest.approx(cosine(f(K), f(L)), rel=1e-12)
    assert found.debiased == pytest.approx(ratio(product, K, L), rel=1e-10)
    half = jackknife([ratio(product, without(K, i), without(L, i)) for i in range(n)])
    assert (found.low, found.high) == pytest.approx((found.debiased - half, found.debiased + half), rel=1e-8)
    assert (found.rows, found.unknown) == (n, "")


def test_a_centred_alignment_without_bias_is_the_debiased_cka_of_features():
    X, Y = normal(30, 40) + 2, normal(30, 3, seed=1) - 1
    assert target_alignment(X @ X.T, Y).debiased == pytest.approx(debiased_cka(X, Y), rel=1e-10)
    assert target_alignment(X @ X.T, Y).value == pytest.approx(biased_cka(X, Y), rel=1e-10)


@pytest.mark.parametrize("centred", [True, False])
def test_chance_is_the_mean_over_all_permutations(centred):
    n = 5
    K, Y = psd(n, 3, 0) + 1, normal(n, 1, seed=1) + 0.5
    f = centre if centred else lambda A: A
    every = [cosine(f(K), f(Y[list(o)] @ Y[list(o)].T)) for o in permutations(range(n))]
    assert target_alignment(K, Y, centred).chance == pytest.approx(sum(every) / len(every), rel=1e-9)


def change(K, K0):
    return ((K - K0).norm() / K0.norm()).item()


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("measure", "plain", "chance"),
    [
        (kernel_distance, lambda K, L: 1 - cosine(K, L), lambda values: sum(values) / len(values)),
        (kernel_change, change, lambda values: math.sqrt(sum(v * v for v in values) / len(values))),
    ],
    ids=["distance", "change"],
)
def test_outputs_of_an_input_move_together_in_the_jackknife_and_by_chance(measure, plain, chance, outputs):
    n = 5
    K, L = psd(n * outputs, 4, 0), psd(n * outputs, 6, 1) + psd(n * outputs, 4, 0)
    found = measure(K, L, outputs)
    assert found.value == pytest.approx(plain(K, L), rel=1e-12)
    rows = torch.arange(n * outputs).reshape(n, outputs)

    def debiased(K, L):
        if measure is kernel_distance:
            return 1 - ratio(between_inputs, K, L, outputs)
        change = between_inputs(K - L, K - L, outputs) / between_inputs(L, L, outputs)
        return change.sqrt().item()

    assert found.debiased == pytest.approx(debiased(K, L), rel=1e-12)
    left = [math.log(debiased(without(K, i, outputs), without(L, i, outputs))) for i in range(n)]
    expected = debiased(K, L) * math.exp(-jackknife(left)), debiased(K, L) * math.exp(jackknife(left))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    null = []
    for order in permutations(range(n)):
        moved = rows[list(order)].flatten()
        # Of a change the reference stays, which is the same as the kernel moving the other way.
        null.append(plain(K, L[moved][:, moved]))
    assert found.chance == pytest.approx(chance(null), rel=1e-9)


def test_small_distances_keep_their_digits():
    K, noise = psd(20, 20, 0), psd(20, 20, 1)
    K, noise = K / K.norm(), noise / noise.norm()
    perpendicular = noise - (noise * K).sum() * K
    perpendicular /= perpendicular.norm()
    # An angle of 1e-9: 1 - cos = 5e-19, which 1 - <K, L> would give as 0 or 1e-16.
    near, less = (kernel_distance(K, K + size * perpendicular) for size in (1e-9, 1e-4))
    assert near.value == pytest.approx(5e-19, rel=1e-4)
    # So do their intervals: relative to the distance they are those of larger ones.
    assert (near.low / 5e-19, near.high / 5e-19) == pytest.approx(
        (less.low / 5e-9, less.high / 5e-9), rel=1e-3
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.integers(4, 12))
def test_scale_order_of_rows_and_rotations_of_targets_do_not_matter(seed, scale, n):
    K, L, Y = psd(n, 3, seed), psd(n, 4, seed + 1), normal(n, 2, seed=seed + 2)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    Q, _ = torch.linalg.qr(normal(2, 2, seed=seed))
    assert kernel_distance(scale * K[order][:, order], L[order][:, order]).value == pytest.approx(
        kernel_distance(K, L).value, rel=1e-9, abs=1e-12
    )
    assert kernel_distance(K, L).value == pytest.approx(kernel_distance(L, K).value, rel=1e-12)
    plain = target_alignment(K, Y)
    moved = target_alignment(scale * K[order][:, order] + 3, scale * (Y @ Q)[order] + 5)
    assert (moved.value, moved.chance, moved.debiased) == pytest.approx(
        (plain.value, plain.chance, plain.debiased), rel=1e-5, abs=1e-6
    )
    if n > 5:
        assert moved.high == pytest.approx(plain.high, rel=1e-4)
    assert 0 <= plain.value <= 1 + 1e-12


def test_change_sees_scale_and_distance_does_not():
    K = psd(6, 3, 0)
    found = kernel_change(1.5 * K, K)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    same = kernel_distance(1.5 * K, K)
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-15)
    assert kernel_change(K, 2 * K).value == pytest.approx(0.5)
    assert kernel_change(2 * K, K).value == pytest.approx(1.0)
    none = kernel_change(K, K)
    assert (none.value, none.low, none.high) == (0, 0, 0)


def features_before_and_after(n, seed):
    """Kernels of 32 random ReLUs of n rows of 8 features, and after their weights have moved by a half."""
    W = normal(8, 32, seed=0)
    V = W + 0.5 * normal(8, 32, seed=1)
    X = normal(n, 8, seed=seed)
    return [torch.relu(X @ side) @ torch.relu(X @ side).T for side in (V, W)]


@pytest.mark.parametrize("measure", [kernel_distance, kernel_change])
def test_intervals_of_distances_and_changes_cover_those_of_many_rows(measure):
    # Of infinitely many rows, from 3,000. 400 draws: the standard error of a coverage of .95
    # is .011, and the lower bound lies four of them below it.
    truth = measure(*features_before_and_after(3000, 10**6)).debiased
    found = [measure(*features_before_and_after(30, 2 + seed)) for seed in range(400)]
    assert 0.91 < sum(f.low <= truth <= f.high for f in found) / 400 < 0.99
    # Width falls as 1 / sqrt(rows), and faster where they are few.
    more = [measure(*features_before_and_after(300, 2 + seed)) for seed in range(20)]
    wide, narrow = (sum((f.high - f.low) / f.debiased for f in some) / len(some) for some in (found, more))
    assert 2.5 < wide / narrow < 6


def isotropic(d, n, seed):
    """Linear kernels of n Gaussian rows of d features, before and after a move of their weights, and the rows."""
    X, w = normal(n, d, seed=seed), moves(d)
    return X * w @ X.T, X @ X.T, X


def moves(d):
    return 1 + 0.1 * torch.rand(d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("d", "n"), [(10, 10), (100, 10), (100, 50), (500, 50)])
@pytest.mark.parametrize("measure", [kernel_distance, kernel_change])
def test_intervals_cover_where_directions_are_as_many_as_inputs(measure, d, n):
    # E (x^T D y)^2 = tr D^2 for independent x and y. With the n pairs of an input with itself, coverage is 0 to
    # 30 % here. 200 draws; the jackknife's variance is up to twice too large, and 1.0 no fault.
    w = moves(d)
    apart = 1 - w.sum() / (d * w.square().sum()).sqrt()
    truth = (apart if measure is kernel_distance else ((w - 1).square().sum() / d).sqrt()).item()
    found = [measure(*isotropic(d, n, seed)[:2]) for seed in range(200)]
    assert sum(f.low <= truth <= f.high for f in found) / 200 > 0.9
    assert sum(f.debiased for f in found) / 200 == pytest.approx(truth, rel=0.1)
    # Nor by being wider than derived: squares of widths of ln debiased are once to twice its variance.
    logs = torch.tensor([math.log(f.debiased) for f in found])
    halves = torch.tensor([math.log(f.high / f.low) / 2 for f in found]) / stats.t.ppf(0.975, n - 1)
    assert 0.8 < (halves.square().mean() / logs.var()).item() < 2.6


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("related", [True, False])
@pytest.mark.parametrize(("d", "n"), [(10, 50), (100, 50), (500, 20)])
def test_the_interval_of_an_alignment_covers_that_of_infinitely_many(d, n, related, centred):
    # y = sign of the first feature, or of nothing: E x y = sqrt(2 / pi) or 0, so that u_KL / sqrt(u_KK u_LL)
    # tends to 2 / pi / sqrt(d) or 0. Uncentred, E x x^T and E y^2 are the same.
    truth = 2 / math.pi / math.sqrt(d) if related else 0.0
    found = []
    for seed in range(200):
        _, K, X = isotropic(d, n, seed)
        y = X[:, :1].sign() if related else normal(n, 1, seed=10**6 + seed).sign()
        found.append(target_alignment(K, y, centred))
    assert all(not f.unknown for f in found)
    assert sum(f.low <= truth <= f.high for f in found) / 200 > 0.9
    se = math.sqrt(sum((f.debiased - truth) ** 2 for f in found)) / 200
    assert abs(sum(f.debiased for f in found) / 200 - truth) < 4 * se


def test_widths_of_alignments_fall_with_rows():
    def draw(n, seed):
        _, K, X = isotropic(3, n, seed)
        return target_alignment(K, X[:, :1].sign())

    wide, narrow = (sum(f.high - f.low for f in (draw(n, s) for s in range(20))) for n in (30, 300))
    assert 2.5 < wide / narrow < 6


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e154, 1e290])
def test_scales_whose_squares_leave_the_range_change_nothing(scale):
    K, L, Y = psd(8, 3, 0), psd(8, 3, 0) + psd(8, 4, 1), normal(8, 2, seed=2)
    for found, plain in (
        (kernel_distance(scale * K, L), kernel_distance(K, L)),
        (kernel_change(scale * K, scale * L), kernel_change(K, L)),
        (target_alignment(scale * K, Y), target_alignment(K, Y)),
        (target_alignment(K, scale * Y, centred=False), target_alignment(K, Y, centred=False)),
    ):
        for name in ("value", "chance", "debiased", "low", "high"):
            assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-9), name
    small = kernel_change(1e-200 * K, L)
    assert (small.value, small.chance) == pytest.approx((1, 1))
    large = kernel_change(1e200 * K, L)
    assert (large.value, large.chance) == pytest.approx([1e200 * (K.norm() / L.norm()).item()] * 2)


@pytest.mark.parametrize("near", [1e-5, 1e-7])
def test_differences_below_the_rounding_of_float32_have_no_lower_bound(near):
    K, noise = psd(20, 5, 0), psd(20, 5, 1)
    single = kernel_distance((K + near * noise).float(), K.float())
    double = kernel_distance(K + near * noise, K)
    assert double.low > 0
    assert (single.low > 0) == (near == 1e-5)
    assert single.high >= double.debiased


UNTOUCHED = torch.eye(6, dtype=torch.float64)
FEW, NOTHING, CARRIED = "too few inputs", "no two inputs that overlap", "one input carries"
STAR = torch.zeros(6, 6, dtype=torch.float64).index_fill_(0, torch.tensor(0), 1)
STAR = STAR + STAR.T


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda: kernel_distance(psd(3, 2, 0), psd(3, 2, 1)), FEW),
        (lambda: kernel_change(psd(3, 2, 0), psd(3, 2, 1)), FEW),
        (lambda: target_alignment(psd(4, 2, 0), normal(4, 1)), FEW),
        (lambda: target_alignment(psd(3, 2, 0), normal(3, 1), centred=False), FEW),
        (lambda: kernel_distance(UNTOUCHED, psd(6, 3, 0)), NOTHING),
        (lambda: kernel_distance(psd(6, 3, 0), UNTOUCHED + 1e-17), NOTHING),
        (lambda: kernel_change(psd(6, 3, 0), UNTOUCHED), NOTHING),
        (
            lambda: kernel_distance(torch.block_diag(*[psd(3, 3, s) for s in range(4)]), psd(12, 3, 0), 3),
            NOTHING,
        ),
        (lambda: target_alignment(UNTOUCHED + 3, normal(6, 1)), NOTHING),
        (lambda: target_alignment(psd(6, 3, 0), UNTOUCHED), NOTHING),  # no class with two rows
        (lambda: target_alignment(psd(6, 3, 0), UNTOUCHED[:, :1]), NOTHING),  # all but one in one class
        (lambda: target_alignment(psd(6, 3, 0), UNTOUCHED[:, :1] + UNTOUCHED[:, 1:2]), CARRIED),
        (lambda: kernel_distance(STAR + UNTOUCHED, psd(6, 3, 0)), CARRIED),
        (lambda: kernel_distance(psd(6, 3, 0) + STAR, psd(6, 3, 0)), CARRIED),
        (lambda: kernel_change(psd(6, 3, 0) + STAR, psd(6, 3, 0)), CARRIED),
        (lambda: target_alignment(STAR, normal(6, 1), centred=False), CARRIED),
    ],
)
def test_where_nothing_is_known_of_other_inputs_the_interval_is_infinite_and_says_why(found, text):
    estimate = found()
    assert text in estimate.unknown
    assert math.isfinite(estimate.value)
    assert math.isfinite(estimate.chance)
    assert math.isnan(estimate.debiased) == (text == NOTHING)
    assert estimate.high == math.inf
    assert estimate.low in (0, -math.inf)


def test_where_only_pairs_of_an_input_with_itself_changed_others_see_no_change():
    K = psd(5, 3, 0)
    for measure in (kernel_distance, kernel_change):
        found = measure(K + torch.diag(torch.eye(5)[0].double()), K)
        assert found.value > 0
        assert (found.debiased, found.low, found.unknown) == (pytest.approx(0, abs=1e-30), 0, "")


@pytest.mark.parametrize("offset", [1e3, 1e8])
def test_an_offset_that_has_eaten_the_digits_is_refused_and_a_small_one_is_not(offset):
    X = normal(40, 5)
    y, K = X[:, :1].sign(), X @ X.T
    truth = target_alignment(K, y).value
    for rows, targets in (((K + offset).float(), y), (K, (y + offset).float())):
        if offset == 1e8:
            with pytest.raises(MeasurementError, match=r"rounding up to(.|\n)*common offset"):
                target_alignment(rows, targets)
        else:
            assert target_alignment(rows, targets).value == pytest.approx(truth, abs=1e-3)
    assert target_alignment(K + offset, y + offset).value == pytest.approx(truth, rel=1e-5)


def test_outputs_may_be_any_whole_number():
    K, L = psd(12, 3, 0), psd(12, 4, 1)
    for measure in (kernel_distance, kernel_change):
        found = unwrap(measure)(K, L, np.int64(3))
        assert found == measure(K, L, 3)
        assert type(found.rows) is int


def test_targets_may_be_whole_numbers():
    K, y = psd(8, 3, 0), torch.arange(8) % 2
    one_hot = torch.nn.functional.one_hot(y)
    assert target_alignment(K, one_hot) == target_alignment(K, one_hot.double())


GOOD, TARGETS = psd(5, 3, 0), normal(5, 1, seed=1)


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (kernel_distance, (GOOD, GOOD[:4, :4]), "different rows"),
        (kernel_distance, (GOOD, GOOD[:4]), "not a kernel of enough rows"),
        (kernel_distance, (GOOD[:2, :2], GOOD[:2, :2]), "not a kernel of enough rows"),
        (kernel_distance, (psd(4, 2, 0), psd(4, 3, 1), 2), "not a kernel of enough rows"),
        (kernel_distance, (GOOD, GOOD * torch.nan), "kernel is not finite"),
        (kernel_distance, (GOOD, 0 * GOOD), "without spread"),
        (kernel_distance, (GOOD, GOOD.triu()), "a kernel is symmetric"),
        (kernel_change, (GOOD, 0 * GOOD), "without spread"),
        (kernel_change, (GOOD, psd(4, 2, 0)), "different rows"),
        (kernel_change, (GOOD, GOOD, 2), "not a kernel of enough rows"),
        (kernel_change, (1e300 * GOOD, 1e-300 * GOOD), "beyond the range"),
        (kernel_distance, (GOOD + 1j, GOOD), "complex128"),
        (kernel_distance, (GOOD, GOOD.half()), "float16"),
        (kernel_change, (GOOD, GOOD + 0j), "complex128"),
        (kernel_distance, (GOOD.numpy(), GOOD), "ndarray"),
        (kernel_change, (GOOD, GOOD.tolist()), "list"),
        (kernel_distance, (GOOD, GOOD, 1.0), "outputs of an input are counted"),
        (kernel_change, (GOOD, GOOD, "1"), "outputs of an input are counted"),
        (kernel_distance, (GOOD, GOOD, 0), "not a kernel of enough rows"),
        (target_alignment, (GOOD + 0j, TARGETS), "complex128"),
        (target_alignment, (GOOD.numpy(), TARGETS), "ndarray"),
        (target_alignment, (GOOD, TARGETS + 0j), "complex128"),
        (target_alignment, (GOOD, TARGETS.half()), "float16"),
        (target_alignment, (GOOD, TARGETS.numpy()), "ndarray"),
        (target_alignment, (GOOD, TARGETS[:, :0]), "targets do not match"),
        (target_alignment, (GOOD, TARGETS[:4]), "targets do not match"),
        (target_alignment, (GOOD, TARGETS * torch.inf), "targets do not match"),
        (target_alignment, (GOOD, torch.ones(5, 1)), "constant features or targets"),
        (target_alignment, (torch.ones(5, 5), TARGETS), "constant features or targets"),
    ],
)
def test_kernels_without_a_meaningful_answer_are_refused(function, arguments, text):
    with pytest.raises(MeasurementError, match=text):
        unwrap(function)(*arguments)


@pytest.mark.parametrize("function", [empirical_ntk, trace_ntk, pseudo_ntk])
def test_a_module_in_training_mode_below_a_network_in_eval_mode_is_refused(function):
    network = built("batch norm")
    network[1].train()
    assert not network.training
    with pytest.raises(MeasurementError, match="training mode"):
        function(network, normal(3, 12))


class Noisy(nn.Linear):
    """Draws and counts in evaluation mode too."""

    def __init__(self):
        super().__init__(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + torch.rand(())


@pytest.mark.parametrize("function", [empirical_ntk, trace_ntk, pseudo_ntk])
def test_random_state_and_buffers_are_restored(function):
    network, state = Noisy().eval(), torch.get_rng_state()
    function(network, normal(4, 3).float())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.calls == 0


def test_a_centred_alignment_of_three_rows_is_refused():
    with pytest.raises(MeasurementError, match="at least 4 inputs"):
        target_alignment(psd(3, 3, 0), normal(3, 2))
