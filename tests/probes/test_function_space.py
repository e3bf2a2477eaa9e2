"""Probes of outputs, weights and kernels against float64 twins and closed forms."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.errors import MeasurementError
from universality.measures.network.capture import capture
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Link
from universality.plugin.probe import Training
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature, Split, Splits
from universality.probes.balance import Balance
from universality.probes.displacement import Displacement
from universality.probes.outputs import Outputs
from universality.probes.ranks import Ranks
from universality.probes.tangent_kernel import TangentKernel
from universality.probes.taps import Taps

CPU = torch.device("cpu")
RECIPE = Recipe(steps=1, lr=0.1)
NETS = (
    "mlp[width=6]",
    "cnn[width=4]",
    "resnet[width=4,blocks=1,stages=1]",
    "transformer[dim=8,heads=2,depth=2]",
)


def splits(reference: int = 12, classes: int = 3) -> Splits:
    generator = torch.Generator().manual_seed(1)

    def split(n: int) -> Split:
        return Split(torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % classes)

    return Splits(split(30), split(9), split(reference), InputSpec("image", (1, 8, 8)), classes)


def training(
    address: str = "mlp[width=6]", data: Splits | None = None, net: nn.Module | None = None
) -> Training:
    data = data or splits()
    architecture = registry.resolve("architecture", address)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = net or architecture.build(data.inputs, data.outputs)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return Training(net, architecture, data, RECIPE, optimizer, CPU, 0, torch.Generator().manual_seed(0))


def moved(net: nn.Module, size: float = 0.1) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=size)


@pytest.mark.parametrize("address", NETS)
@pytest.mark.parametrize("rows", [5, 512])
def test_outputs_are_what_the_network_says_in_evaluation_mode(address: str, rows: int) -> None:
    seen = training(address)
    seen.net.train()
    found = torch.as_tensor(Outputs(rows=rows).record(seen)["logits"])
    with torch.no_grad():
        expected = copy.deepcopy(seen.net).double().eval()(seen.splits.reference.inputs[:rows].double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_outputs_that_are_not_finite_are_refused() -> None:
    seen = training()
    with torch.no_grad():
        next(seen.net.parameters()).fill_(math.nan)
    for probe in (Outputs(), Taps(rotate=False), Displacement()):
        with pytest.raises(MeasurementError):
            probe.record(seen)


@pytest.mark.parametrize("address", NETS)
def test_taps_without_rotation_are_the_features_themselves(address: str) -> None:
    seen = training(address)
    stored = Taps(rows=8, rotate=False).record(seen)
    real = capture(
        seen.net,
        seen.architecture.taps(seen.net),
        seen.architecture.readout(seen.net),
        seen.splits.reference.inputs[:8],
    )
    assert set(stored) == {*real, "inputs", "labels"}
    for name, features in real.items():
        assert torch.equal(torch.as_tensor(stored[name]), features), name
    rotated = torch.as_tensor(Taps(rows=8).record(seen)["inputs"])
    assert list(rotated.shape) == [8, 8]
    assert list(torch.as_tensor(stored["inputs"]).shape) == [8, 64]


def test_the_address_of_taps_is_what_it_was() -> None:
    assert str(registry.component(registry.resolve("probe", "taps[rows=128]"))) == "taps[rows=128]"


@pytest.mark.parametrize("address", NETS)
def test_displacement_is_the_relative_distance_from_the_first_record(address: str) -> None:
    seen, probe = training(address), Displacement()
    assert probe.record(seen) == {"relative": 0.0}
    start = [p.detach().clone().numpy().astype(np.float64) for p in seen.net.parameters()]
    moved(seen.net)
    now = [p.detach().numpy().astype(np.float64) for p in seen.net.parameters()]
    squares = [
        sum((x**2).sum() for x in parts)
        for parts in ([a - b for a, b in zip(now, start, strict=True)], start)
    ]
    assert probe.record(seen)["relative"] == pytest.approx(math.sqrt(squares[0] / squares[1]), rel=1e-12)


def test_displacement_of_weights_that_start_at_zero_is_refused() -> None:
    seen = training()
    with torch.no_grad():
        for p in seen.net.parameters():
            p.zero_()
    with pytest.raises(MeasurementError, match="no relative displacement"):
        Displacement().record(seen)


def kernel(net: nn.Module, inputs: Tensor) -> Tensor:
    """The trace kernel by one backward pass an output, in float64."""
    net = copy.deepcopy(net).double().eval()
    parameters, rows = list(net.parameters()), []
    for x in inputs.double():
        outputs = net(x[None])[0]
        J = [torch.autograd.grad(o, parameters, retain_graph=True, materialize_grads=True) for o in outputs]
        rows.append(torch.stack([torch.cat([g.flatten() for g in each]) for each in J]).flatten())
    J = torch.stack(rows)
    return J @ J.T


@pytest.mark.parametrize(
    "address", ["mlp[width=6,activation=tanh]", "cnn[width=3,activation=tanh]", NETS[-1]]
)
def test_the_tangent_kernel_probe_is_the_kernel_taken_row_by_row(address: str) -> None:
    seen, probe = training(address), TangentKernel(rows=9)
    inputs, labels = seen.splits.reference.inputs[:9], seen.splits.reference.targets[:9]
    first = probe.record(seen)
    K0 = kernel(seen.net, inputs)
    moved(seen.net, 0.02)
    found, K = probe.record(seen), kernel(seen.net, inputs)
    assert first["change"] == 0
    assert found["change"] == pytest.approx(float((K - K0).norm() / K0.norm()), rel=1e-4)
    H = torch.eye(9, dtype=torch.float64) - 1 / 9
    Y = F.one_hot(labels, 3).double()
    A, B = H @ K @ H, H @ Y @ Y.T @ H
    assert found["alignment"] == pytest.approx(float((A * B).sum() / A.norm() / B.norm()), rel=1e-4)


def test_alignment_with_one_class_is_not_a_number_and_costs_follow_the_passes() -> None:
    data = splits()
    one = Split(data.reference.inputs, torch.zeros(12, dtype=torch.int64))
    seen = training(data=Splits(data.train, data.validation, one, data.inputs, 3))
    found = TangentKernel().record(seen)
    assert math.isnan(float(found["alignment"]))
    assert found["change"] == 0
    costs = [TangentKernel(rows=r).cost(RECIPE, Signature(data.inputs, 3, 30, 9, 12)) for r in (6, 12, 24)]
    assert costs[1] == costs[2] == 2 * costs[0] > 0


# ------------------------------------------------------------------------------------------- balance


def q_by_hand(link: Link, degree: int, full: bool) -> np.ndarray:
    W = link.before.weight.detach().double().numpy()
    V = link.after.weight.detach().double().numpy()
    b = np.zeros(len(W)) if link.before.bias is None else link.before.bias.detach().double().numpy()
    n = len(W)
    if full:
        Q = [sum(W[i] * W[j]) + b[i] * b[j] - sum(V[:, i] * V[:, j]) for i in range(n) for j in range(n)]
    else:
        Q = [sum(W[i] ** 2) + b[i] ** 2 - degree * sum(V[:, i] ** 2) for i in range(n)]
    return np.array(Q)


@pytest.mark.parametrize(("activation", "degree"), [("relu", 1), ("quadratic", 2), ("tanh", 1)])
@pytest.mark.parametrize("bias", ["true", "false"])
def test_balance_is_that_of_sums_by_hand(activation: str, degree: int, bias: str) -> None:
    seen, probe = training(f"mlp[width=4,activation={activation},bias={bias}]"), Balance()
    links = seen.architecture.chain(seen.net)
    assert [link.between for link in links] == [activation] * 2
    assert probe.record(seen) == {"drift": 0.0, "decayed": pytest.approx(1)}
    start = np.concatenate([q_by_hand(link, degree, full=False) for link in links])
    moved(seen.net)
    now = np.concatenate([q_by_hand(link, degree, full=False) for link in links])
    found = probe.record(seen)
    assert found["drift"] == pytest.approx(np.linalg.norm(now - start) / np.linalg.norm(start), rel=1e-12)
    assert found["decayed"] == pytest.approx(now @ start / (start @ start), rel=1e-12)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Stack(Architecture):
    """Whatever network it is given; its chain is the one that every `nn.Sequential` has."""

    name = "stack"

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        raise NotImplementedError

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {}

    def readout(self, net: nn.Module) -> nn.Linear:
        raise NotImplementedError


def gradient_descent(seen: Training, lr: float, time: float, decay: float = 0.0) -> None:
    x, y = seen.splits.train.inputs.double(), F.one_hot(seen.splits.train.targets, 3).double()
    seen.net.double()
    optimizer = torch.optim.SGD(seen.net.parameters(), lr=lr, weight_decay=decay)
    for _ in range(round(time / lr)):
        optimizer.zero_grad()
        (0.5 * (seen.net(x) - y).square().sum(1).mean()).backward()
        optimizer.step()


def linear_network() -> Training:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = nn.Sequential(
            Flat(), nn.Linear(64, 5), nn.Identity(), nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
        )
    seen = training(net=net)
    seen.architecture = Stack()
    return seen


@pytest.mark.parametrize("kind", ["linear", "relu", "quadratic", "tanh"])
def test_gradient_descent_breaks_the_balance_of_homogeneous_units_in_proportion_to_its_step(
    kind: str,
) -> None:
    drifts = []
    for lr in (0.02, 0.01, 0.005):
        seen = linear_network() if kind == "linear" else training(f"mlp[width=5,depth=1,activation={kind}]")
        probe = Balance()
        probe.record(seen)
        before = seen.net(seen.splits.train.inputs).detach()
        gradient_descent(seen, lr, time=0.5)
        assert (seen.net(seen.splits.train.inputs.double()) - before).norm() > 0.1 * before.norm()
        drifts.append(float(probe.record(seen)["drift"]))
    slope = np.polyfit(np.log([0.02, 0.01, 0.005]), np.log(drifts), 1)[0]
    if kind == "tanh":
        assert abs(slope) < 0.2
    else:
        assert slope == pytest.approx(1, abs=0.15)


def test_decay_shrinks_the_balance_of_a_linear_network_by_its_law() -> None:
    seen, probe = linear_network(), Balance()
    probe.record(seen)
    gradient_descent(seen, lr=0.002, time=1.0, decay=0.3)
    assert float(probe.record(seen)["decayed"]) == pytest.approx(math.exp(-2 * 0.3), rel=1e-2)


@pytest.mark.parametrize("address", ["cnn[width=4]", "mlp[depth=0]"])
def test_balance_without_a_chain_is_refused_by_name(address: str) -> None:
    with pytest.raises(MeasurementError, match="linear maps that feed each other") as caught:
        Balance().record(training(address))
    assert registry.parse_address(address)[0] in caught.value.got


def test_layers_that_balance_exactly_have_no_relative_drift() -> None:
    seen = training("mlp[width=4,depth=1,bias=false]")
    (link,) = seen.architecture.chain(seen.net)
    with torch.no_grad():
        link.before.weight.zero_()
        link.after.weight.zero_()
    with pytest.raises(MeasurementError, match="no relative drift"):
        Balance().record(seen)


def test_ranks_are_the_medians_over_matrices_of_weights_and_of_their_change() -> None:
    seen, probe = training("cnn[width=4]"), Ranks()
    matrices = [p for p in seen.net.parameters() if p.ndim >= 2]
    start = [p.detach().clone().flatten(1).numpy().astype(np.float64) for p in matrices]

    def rank(w: np.ndarray) -> float:
        s = np.linalg.svd(w, compute_uv=False)
        return float((s**2).sum() / s[0] ** 2)

    assert probe.record(seen) == {
        "weights": pytest.approx(np.median([rank(w) for w in start])),
        "change": 0.0,
    }
    with torch.no_grad():  # by one direction each
        for p in matrices:
            p.add_(torch.outer(torch.ones(len(p)), torch.arange(p[0].numel()) + 1.0).view_as(p))
    now = [w + np.outer(np.ones(len(w)), np.arange(w.shape[1]) + 1.0) for w in start]
    found = probe.record(seen)
    assert found["change"] == pytest.approx(1, abs=1e-6)
    assert found["weights"] == pytest.approx(np.median([rank(w) for w in now]), rel=1e-5)


def test_a_network_without_a_trained_matrix_has_no_ranks() -> None:
    seen = training(net=nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(MeasurementError, match="no weight matrix"):
        Ranks().record(seen)
