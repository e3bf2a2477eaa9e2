"""Tangent kernels against closed forms, explicit Jacobians and finite differences; alignment by brute force."""

import math
from inspect import unwrap
from itertools import permutations

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


@pytest.mark.parametrize("centred", [True, False])
def test_alignment_and_its_jackknife_are_their_brute_force_twins(centred):
    n = 14
    Y = normal(n, 2, seed=1) + 0.7
    K = psd(n, 5, 2) + Y @ Y.T
    f = centre if centred else lambda A: A
    found = target_alignment(K, Y, centred)
    assert found.value == pytest.approx(cosine(f(K), f(Y @ Y.T)), rel=1e-12)
    left = []
    for i in range(n):
        keep = [j for j in range(n) if j != i]
        left.append(cosine(f(K[keep][:, keep]), f((Y @ Y.T)[keep][:, keep])))
    assert found.high - found.value == pytest.approx(jackknife(left), rel=1e-9)
    assert found.value - found.low == pytest.approx(jackknife(left), rel=1e-9)
    assert found.rows == n


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
    left = []
    for i in range(n):
        keep = torch.cat([rows[j] for j in range(n) if j != i])
        left.append(math.log(plain(K[keep][:, keep], L[keep][:, keep])))
    centre = n * math.log(plain(K, L)) - (n - 1) * sum(left) / n
    expected = math.exp(centre - jackknife(left)), math.exp(centre + jackknife(left))
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
    assert (moved.value, moved.chance, moved.high) == pytest.approx(
        (plain.value, plain.chance, plain.high), rel=1e-5
    )
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
    # Of 3,000 rows the diagonal is no part to speak of. 400 draws: the standard error of a coverage of .95
    # is .011, and the lower bound lies four of them below it.
    truth = measure(*features_before_and_after(3000, 10**6)).value
    found = [measure(*features_before_and_after(30, 2 + seed)) for seed in range(400)]
    assert 0.91 < sum(f.low <= truth <= f.high for f in found) / 400 < 0.99
    # Width falls as 1 / sqrt(rows), and faster where they are few.
    more = [measure(*features_before_and_after(300, 2 + seed)) for seed in range(20)]
    wide, narrow = (sum((f.high - f.low) / f.value for f in some) / len(some) for some in (found, more))
    assert 2.5 < wide / narrow < 6


def test_the_interval_of_an_alignment_covers_that_of_many_rows():
    # y = sign of the first of 3 features, linear kernel; truth from 1,500 rows. 200 draws of 60 rows:
    # the standard error of a coverage of .95 is .015. The bias of order 1/n costs little here.
    def draw(n, seed):
        X = normal(n, 3, seed=seed)
        return target_alignment(X @ X.T, X[:, :1].sign())

    truth = draw(1500, 10**6).value
    found = [draw(60, seed) for seed in range(200)]
    assert 0.88 < sum(f.low <= truth <= f.high for f in found) / 200 < 0.995


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
        (kernel_change, (GOOD + torch.diag(torch.eye(5)[0].double()), GOOD), "one row carries"),
        (kernel_distance, (GOOD + torch.diag(torch.eye(5)[0].double()), GOOD), "one row carries"),
        (kernel_distance, (torch.diag(torch.tensor([1.0, 0, 0, 0])), GOOD[:4, :4]), "one row carries"),
        (target_alignment, (GOOD, TARGETS[:4]), "targets do not match"),
        (target_alignment, (GOOD, TARGETS * torch.inf), "targets do not match"),
        (target_alignment, (GOOD, torch.ones(5, 1)), "constant features or targets"),
        (target_alignment, (torch.ones(5, 5), TARGETS), "constant features or targets"),
        (target_alignment, (torch.diag(torch.tensor([1.0, 0, 0, 0])), TARGETS[:4], False), "one row carries"),
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


def test_a_centred_alignment_of_three_rows_has_no_interval_and_is_refused():
    # Without one of three rows two are left, whose centred alignment is 1: the jackknife would be of width 0.
    K, targets = psd(3, 3, 0), normal(3, 2)
    with pytest.raises(MeasurementError, match="at least 4 inputs"):
        target_alignment(K, targets)
    plain = target_alignment(K, targets, centred=False)
    assert plain.low < plain.value < plain.high
