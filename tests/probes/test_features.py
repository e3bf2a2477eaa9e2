"""What is captured of the built-in networks, and what probes store of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures import neural_collapse
from universality.measures.network.capture import capture
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.probe import Training
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Signature, Split, Splits
from universality.probes import taps as taps_module
from universality.probes.collapse import KEYS, CollapseProbe
from universality.probes.taps import Taps, one_hot
from universality.train.engine.loop import train

registry.load_plugins()

CPU = torch.device("cpu")
NETS = ("mlp[width=6]", "cnn[width=4]", "lstm[width=5]", "transformer[dim=8,heads=2]",
        "vit[dim=8,depth=1,heads=2]", "mixer[dim=8]", "resnet[width=4,blocks=1,stages=2]")  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    penultimate = capture(seen.net, {}, readout, x)["penultimate"]
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


def test_in_regression_collapse_is_refused_and_the_targets_of_taps_are_the_numbers() -> None:
    splits = made_up()
    numbers = torch.randn(len(splits.reference), 4, generator=seeded(2))
    train = Split(splits.train.inputs, torch.randn(len(splits.train), 4, generator=seeded(3)))
    splits = replace(splits, train=train, reference=Split(splits.reference.inputs, numbers))
    seen = training("mlp[width=6]", splits)
    with pytest.raises(MeasurementError) as caught:
        CollapseProbe().record(seen)
    assert str(caught.value).startswith("neural collapse is of classes\n  where:    probe collapse\n")
    labels = Taps(rows=7).record(seen)["labels"]
    assert isinstance(labels, Tensor)
    assert torch.equal(labels, numbers[:7])


@pytest.mark.parametrize(("length", "vocabulary"), [(5, 3), (4, 50), (64, 7)])
def test_too_many_one_hots_are_replaced_by_features_with_their_gram_matrix(
    length: int, vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.randint(vocabulary, (30, length), generator=seeded())
    tokens[7] = tokens[3]  # rows that agree everywhere, so that the matrix is singular
    whole = one_hot(tokens, vocabulary)
    assert whole.shape == (30, length * vocabulary)
    monkeypatch.setattr(taps_module, "_ONE_HOT", 10)
    small = one_hot(tokens, vocabulary)
    assert small.shape == (30, 30)
    torch.testing.assert_close(small @ small.T, (whole @ whole.T).double(), rtol=0, atol=1e-10)


def test_a_large_vocabulary_is_recorded_in_little_memory_and_its_similarities_are_right() -> None:
    rows, length, vocabulary = 40, 64, 20_000
    tokens = torch.randint(vocabulary, (rows, length), generator=seeded())
    tokens[:, :20] = tokens[0, :20]
    spec, part = InputSpec("tokens", (length,), vocabulary), Split(tokens, torch.arange(rows) % 3)
    seen = training("transformer[dim=4,heads=2]", Splits(part, part, part, spec, 3))
    assert rows * length * vocabulary > taps_module._ONE_HOT
    found = Taps().record(seen)["inputs"]
    assert isinstance(found, Tensor)
    agree = (tokens[:, None] == tokens[None]).sum(-1)
    assert found.shape == (rows, rows)
    torch.testing.assert_close(found @ found.T, agree.float(), rtol=1e-5, atol=1e-4)


def test_what_taps_need_is_predicted_from_the_tokens() -> None:
    def predicted(vocabulary: int) -> float:
        inputs = InputSpec("tokens", (64,), vocabulary)
        return Taps().memory(Recipe(steps=1, lr=0.1), Signature(inputs, 3, 1000, 1000, 1000), 0.0)

    assert predicted(100) == 3 * 8 * 512 * 64 * 100
    assert predicted(30_000) == 3 * 8 * 512 * 512


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize(("rows", "length", "vocabulary"), [(40, 64, 20_000), (40, 8, 3), (9, 8, 3)])
def test_what_taps_leave_of_the_inputs_is_predicted(
    rows: int, length: int, vocabulary: int, rotate: bool
) -> None:
    tokens = torch.randint(vocabulary, (rows, length), generator=seeded())
    spec, part = InputSpec("tokens", (length,), vocabulary), Split(tokens, torch.arange(rows) % 3)
    probe = Taps(rotate=rotate)
    found = probe.record(training("transformer[dim=4,heads=2]", Splits(part, part, part, spec, 3)))["inputs"]
    assert isinstance(found, Tensor)
    assert probe.stored(Signature(spec, 3, rows, rows, rows), 0.0, 0) == found.numel() * found.element_size()
