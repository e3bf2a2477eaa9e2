"""Capturing features: cloned, in order of execution, nothing left behind; and what is stored of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from universality import registry
from universality.architecture import InputSpec
from universality.errors import MeasurementError
from universality.measures import neural_collapse
from universality.probe import Training
from universality.probes import features
from universality.probes.collapse import KEYS, CollapseProbe
from universality.probes.taps import Taps
from universality.registry import component
from universality.spec import Recipe, RunSpec
from universality.task import Split, Splits
from universality.training.loop import train

registry.load_plugins()

CPU = torch.device("cpu")
NETS = ("mlp[width=6]", "cnn[width=4]", "lstm[width=5]", "transformer[dim=8,heads=2]",
        "vit[dim=8,depth=1,heads=2]", "mixer[dim=8]", "resnet[width=4,blocks=1,stages=2]")  # fmt: skip


class InPlace(nn.Module):
    """A tap whose output the next module overwrites, and one that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.relu = nn.ReLU(inplace=True)
        self.cell = nn.LSTM(5, 3, batch_first=True)
        self.readout = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.cell(self.relu(self.first(x))[:, None])
        logits: Tensor = self.readout(sequence[:, -1])
        return logits


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_captured_features_are_those_before_an_in_place_activation() -> None:
    net, x = InPlace(), torch.randn(7, 4, generator=seeded())
    seen = features.capture(net, {"linear": net.first, "relu": net.relu}, net.readout, x)
    with torch.no_grad():
        expected = net.first(x)
    assert (expected < 0).any()
    assert torch.equal(seen["linear"], expected)
    assert torch.equal(seen["relu"], expected.clamp(min=0))


def test_the_first_of_a_tuple_is_captured_and_the_penultimate_is_the_input_of_the_readout() -> None:
    net, x = InPlace(), torch.randn(7, 4, generator=seeded())
    seen = features.capture(net, {"cell": net.cell}, net.readout, x)
    with torch.no_grad():
        states, _ = net.cell(net.first(x).relu()[:, None])
    assert torch.equal(seen["cell"], states.flatten(1))
    assert torch.equal(seen["penultimate"], states[:, -1])


def test_rows_keep_their_order_over_several_batches() -> None:
    net, x = InPlace(), torch.randn(2 * features._ROWS + 3, 4, generator=seeded())
    seen = features.capture(net, {"linear": net.first}, net.readout, x)["linear"]
    with torch.no_grad():
        torch.testing.assert_close(seen, net.first(x))


def test_no_hook_and_no_graph_is_left_behind_even_by_a_network_that_raises() -> None:
    net = InPlace()
    x = torch.randn(3, 4)
    assert not features.capture(net, {"linear": net.first}, net.readout, x)["linear"].requires_grad
    with pytest.raises(RuntimeError):
        features.capture(net, {"linear": net.first}, net.readout, torch.randn(3, 5))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def made_up(rows: int = 40, classes: int = 4, side: int = 8, reference: int = 20) -> Splits:
    generator = seeded(1)

    def split(n: int) -> Split:
        labels = torch.arange(n) % classes
        return Split(torch.randn(n, 1, side, side, generator=generator), labels)

    return Splits(split(rows), split(9), split(reference), InputSpec("image", (1, side, side)), classes)


def training(address: str, splits: Splits) -> Training:
    architecture = registry.resolve("architecture", address)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = architecture.build(splits.inputs, splits.outputs)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recipe = Recipe(steps=1, lr=0.1)
    return Training(net, architecture, splits, recipe, optimizer, CPU, 0, seeded())


@pytest.mark.parametrize("address", NETS)
def test_taps_are_listed_in_the_order_in_which_they_run(address: str) -> None:
    seen = training(address, made_up())
    order: list[str] = []
    taps = seen.architecture.taps(seen.net)
    for name, module in taps.items():
        module.register_forward_hook(lambda _m, _i, _o, name=name: order.append(name))
    with torch.no_grad():
        seen.net(seen.splits.train.inputs)
    assert order == list(taps)


@pytest.mark.parametrize("address", NETS)
def test_the_readout_of_the_captured_features_is_what_the_network_puts_out(address: str) -> None:
    seen = training(address, made_up())
    readout = seen.architecture.readout(seen.net)
    x = seen.splits.train.inputs
    penultimate = features.capture(seen.net, {}, readout, x)["penultimate"]
    with torch.no_grad():
        torch.testing.assert_close(readout(penultimate), seen.net.eval()(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [30, 4000])
def test_the_collapse_probe_is_neural_collapse_of_features_taken_by_hand(rows: int) -> None:
    seen = training("mlp[width=6,depth=1]", made_up())
    found = CollapseProbe(rows=rows).record(seen)
    train = seen.splits.train
    order = torch.randperm(len(train), generator=seeded())
    shown = train.take(torch.tensor(sorted(order.tolist()[:rows])))
    first = seen.architecture.taps(seen.net)["layer1"][0]
    readout = seen.architecture.readout(seen.net)
    with torch.no_grad():
        hidden = first(shown.inputs.flatten(1)).relu()
        direct = neural_collapse(hidden, shown.targets, readout.weight, readout.bias)
    for key in KEYS:
        if key != "nc1_permuted":
            assert found[key] == pytest.approx(getattr(direct, key), rel=1e-5, abs=1e-12)
    assert found["dimension"] == 6
    assert found["imbalance"] == 1
    assert found["nc1_permuted"] > 0


@pytest.mark.parametrize(("targets", "expected"), [([0, 0, 0, 1, 2, 3, 3], 3.0), ([0, 1, 2], np.inf)])
def test_imbalance_is_the_largest_class_over_the_smallest(targets: list[int], expected: float) -> None:
    splits = made_up(rows=len(targets))
    train = Split(splits.train.inputs, torch.tensor(targets))
    unbalanced = Splits(train, splits.validation, splits.reference, splits.inputs, 4)
    assert CollapseProbe().record(training("mlp[width=6]", unbalanced))["imbalance"] == expected


@pytest.mark.parametrize("order", ["in turn", "sorted"])
def test_a_part_of_the_rows_shows_every_class_to_the_collapse_probe(order: str) -> None:
    splits = made_up(rows=400)
    if order == "sorted":
        train = splits.train.take(splits.train.targets.argsort(stable=True))
        splits = Splits(train, splits.validation, splits.reference, splits.inputs, 4)
    found = CollapseProbe(rows=100).record(training("mlp[width=6]", splits))
    assert np.isfinite([float(found[key]) for key in KEYS]).all()


def test_collapse_of_a_dead_layer_is_not_a_number() -> None:
    seen = training("mlp[width=6,depth=1]", made_up())
    first = seen.architecture.taps(seen.net)["layer1"][0]
    with torch.no_grad():
        first.weight.zero_()
        first.bias.fill_(-1.0)
    found: Mapping[str, float | Tensor] = CollapseProbe().record(seen)
    assert all(np.isnan(float(found[key])) for key in KEYS)
    assert found["dimension"] == 6
    readout = seen.architecture.readout(seen.net)
    with pytest.raises(MeasurementError, match="span fewer"):
        neural_collapse(torch.zeros(8, 6), torch.arange(8) % 4, readout.weight, readout.bias)


@pytest.mark.parametrize("address", ["cnn[width=4]", "mlp[width=6]", "transformer[dim=8,heads=2]"])
@pytest.mark.parametrize("rows", [8, 512])
def test_stored_taps_have_the_gram_matrix_of_the_real_features(address: str, rows: int) -> None:
    seen = training(address, made_up())
    stored = Taps(rows=rows).record(seen)
    shown = seen.splits.reference.inputs[:rows]
    real: dict[str, Tensor] = {"inputs": shown.flatten(1)}
    for name, module in seen.architecture.taps(seen.net).items():
        handle = module.register_forward_hook(
            lambda _m, _i, out, name=name: real.__setitem__(
                name, (out[0] if isinstance(out, tuple) else out).flatten(1).clone()
            )
        )
        with torch.no_grad():
            seen.net.eval()(shown)
        handle.remove()
    assert set(real) | {"penultimate", "labels"} == set(stored)
    for name, tensor in real.items():
        kept = torch.as_tensor(stored[name])
        x, y = tensor.double(), kept.double()
        assert kept.dtype == torch.float32
        assert kept.shape == (len(shown), min(tensor.shape[1], len(shown)))
        torch.testing.assert_close(y @ y.T, x @ x.T, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.as_tensor(stored["labels"]), seen.splits.reference.targets[:rows])


@pytest.mark.parametrize(
    "task", ["digits[subset=50]", "gaussian_mixture[subset=50]", "modular[p=7]", "digits[random_labels=true]"]
)
def test_every_seed_stores_the_same_reference_inputs(
    task: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, net = tmp_path_factory.mktemp("data"), registry.resolve("architecture", "mlp[width=4]")
    problem = registry.resolve("task", task)
    stored = []
    for seed in range(2):
        splits = problem.load(np.random.default_rng(seed), root)
        spec = RunSpec(component(net), component(problem), Recipe(steps=1, lr=0.1), seed)
        run = train(spec, net, splits, {"taps": (0,)}, CPU)
        stored.append([run.arrays[f"taps.{name}", 0] for name in ("inputs", "labels", "layer1")])
    (inputs, labels, first), (other_inputs, other_labels, other_first) = stored
    np.testing.assert_array_equal(inputs, other_inputs)
    np.testing.assert_array_equal(labels, other_labels)
    assert not np.array_equal(first, other_first)


def test_token_inputs_are_stored_one_hot() -> None:
    tokens = torch.tensor([[0, 2], [1, 1], [2, 0]])
    split = Split(tokens, torch.tensor([0, 1, 2]))
    splits = Splits(split, split, split, InputSpec("tokens", (2,), vocabulary=3), 3)
    stored = torch.as_tensor(Taps().record(training("mlp[width=4]", splits))["inputs"])
    # Two rows agree in as many places as the inner product of their one-hot vectors counts.
    agree = (tokens[:, None] == tokens[None]).sum(-1).float()
    torch.testing.assert_close(stored @ stored.T, agree, rtol=1e-5, atol=1e-6)
