"""Trainings that are over: the numbers of the benchmark from stored weights, the same from features, and verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import universality
from universality.commands import main as cli
from universality.errors import BadParameter, MeasurementError, UnknownName
from universality.measures.network.capture import capture
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.replaying.report import Replay
from universality.train.engine.loop import train
from universality.train.engine.member import Trained
from universality.train.worker import load_splits

NET, TASK, STEPS = "mlp[width=12,depth=2]", "digits[subset=90,classes=3]", 40
RECIPE = Recipe(steps=STEPS, lr=0.05, weight_decay=1e-3, batch_size=30)
AT = tuple(range(0, STEPS + 1, 2))


def trained(recipe: Recipe = RECIPE, seed: int = 0, probes: tuple[str, ...] = ()) -> Trained:
    """By the benchmark, with its weights at every second step."""
    registry.load_plugins()
    network, task = registry.resolve("architecture", NET), registry.resolve("task", TASK)
    spec = RunSpec(component(network), component(task), recipe, seed)
    observe = dict.fromkeys(("weights", *probes), AT)
    return train(spec, network, load_splits(spec, Path()), observe, torch.device("cpu"))


def manifest(folder: Path, **entries: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, **entries}))


def told(recipe: Recipe) -> dict[str, Any]:
    return {
        k: v
        for k, v in asdict(recipe).items()
        if k in ("lr", "weight_decay", "batch_size", "momentum", "optimizer")
    }


def stored(run: Trained, folder: Path, steps: Sequence[int] = AT) -> Path:
    """Its weights, as a series of the format."""
    for step in steps:
        entries = {
            name.removeprefix("weights."): torch.from_numpy(array)
            for (name, at), array in run.arrays.items()
            if at == step and name.startswith("weights.")
        }
        save(folder, step, entries)
    return folder


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], name: str = "model.safetensors") -> None:
    place = folder / f"step{step}"
    place.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.detach().clone() for key, tensor in tensors.items()}, place / name)


def replayed(place: Any, **options: Any) -> Replay:
    found = universality.replay(place, **options)
    assert isinstance(found, Replay)
    return found


PROBES = ("accuracy", "collapse", "sharpness", "displacement", "ranks", "taps", "outputs")


def test_probes_of_stored_weights_record_what_they_recorded_in_training_to_the_last_bit(
    tmp_path: Path,
) -> None:
    run = trained(probes=PROBES)
    folder = stored(run, tmp_path / "mine")
    manifest(folder, recipe=told(RECIPE))
    found = replayed(folder, network=NET, data=TASK, phenomena=["neural_collapse"], probes=PROBES)
    seen = found.observed["mine"]
    assert seen.failures == {}
    names = {name for name in run.series if name != "train_loss"}
    assert names == set(seen.recorded)
    for name in names:
        np.testing.assert_array_equal(seen.recorded[name].values, run.series[name].values, err_msg=name)
    for key, array in run.arrays.items():
        if not key[0].startswith("weights."):
            np.testing.assert_array_equal(seen.arrays[key], array, err_msg=str(key))


def test_one_series_has_the_outcome_of_the_benchmark_and_too_few_replicates_for_a_verdict(
    tmp_path: Path,
) -> None:
    run = trained(probes=("accuracy", "collapse"))
    folder = stored(run, tmp_path / "mine")
    manifest(folder, recipe=told(RECIPE))
    row = replayed(folder, network=NET, data=TASK, phenomena=["neural_collapse"])["neural_collapse.nc3"]
    (group,) = row.verdict.record.groups
    assert group.outcome is not None
    assert group.outcome.effect == run.series["collapse.nc3"].values[-1]
    memory = next(gate for gate in group.outcome.gates if gate.name == "memory of initialisation")
    assert memory.value == pytest.approx(np.exp(-2 * RECIPE.weight_decay * RECIPE.lr * STEPS))
    assert not memory.met
    assert row.verdict.verdict == "inconclusive"
    assert (row.series, row.title) == (("mine",), "classifier and class means align (NC3)")


def test_a_gate_that_reads_a_recipe_that_nobody_told_keeps_its_claim_from_an_answer(tmp_path: Path) -> None:
    folder = stored(trained(), tmp_path / "mine")
    found = replayed(folder, network=NET, data=TASK, phenomena=["neural_collapse", "progressive_sharpening"])
    assert found.claims == ()
    assert (
        found.left_out["neural_collapse.nc1"]
        == "it needs the weight_decay of the training, which nobody told"
    )
    assert "it needs the optimizer of the training" in found.left_out["progressive_sharpening.rises"]
    assert "without a recipe, so that gates on rate, decay or batches have no answer: mine" in str(found)


def test_what_needs_the_state_of_an_optimizer_is_refused_and_what_needs_its_rate_is_not(
    tmp_path: Path,
) -> None:
    folder = stored(trained(), tmp_path / "mine", steps=(40,))
    probes = ("sharpness", "projected_updates")
    for recipe, failing in (
        ({"lr": 0.05, "momentum": 0.9}, {"projected_updates"}),
        ({"lr": 0.05, "optimizer": "adam"}, {*probes}),
        ({"lr": 0.05}, set()),
    ):
        manifest(folder, recipe=recipe)
        seen = replayed(folder, network=NET, data=TASK, phenomena=["neural_collapse"], probes=probes)
        failures = seen.observed["mine"].failures
        assert set(failures) == failing, recipe
        assert all("it needs the optimizer's state" in text for text in failures.values())


class Readout(nn.Module):
    """Features `[n, d]` in and out, so that features of one's own are a network's."""

    def __init__(self, d: int, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(d, d), nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.first(x)))
        return out


def test_features_give_the_numbers_of_the_network_that_they_come_from(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 5, generator=generator) + 2 * torch.eye(3, 5)[y]
    held = x[:20] + 0.1, y[:20]
    recipe = {"lr": 0.3}
    for step in (0, 5, 10):
        torch.manual_seed(step)
        net = Readout(5, 3)
        save(tmp_path / "weights", step, net.state_dict())
        entries = {"readout.weight": net.last.weight, "readout.bias": net.last.bias}
        for name, (inputs, labels) in {"train": (x, y), "validation": held}.items():
            entries[f"{name}.penultimate"] = capture(net, {}, net.last, inputs)["penultimate"]
            entries[f"{name}.labels"] = labels
        taps = capture(net, {"first": net.first}, net.last, held[0])
        entries |= {f"reference.{tap}": each for tap, each in taps.items()}
        entries |= {
            "reference.inputs": held[0],
            "reference.labels": held[1],
            "reference.logits": net(held[0]),
        }
        save(tmp_path / "features", step, {k: v.detach() for k, v in entries.items()}, "features.safetensors")
    for name in ("weights", "features"):
        manifest(tmp_path / name, recipe=recipe)
    probes = ("accuracy", "collapse", "taps", "outputs")
    options: dict[str, Any] = {"phenomena": ["neural_collapse"], "probes": probes}
    one = replayed(tmp_path / "weights", network=Readout(5, 3), data=(x, y), validation=held, **options)
    other = replayed(tmp_path / "features", **options)
    a, b = one.observed["weights"], other.observed["features"]
    assert (a.failures, b.failures) == ({}, {})
    assert set(a.recorded) == set(b.recorded)
    for name, series in a.recorded.items():
        if name != "collapse.nc1_permuted":  # permuted by a generator of its own
            np.testing.assert_allclose(b.recorded[name].values, series.values, rtol=1e-5, err_msg=name)
    assert set(a.arrays) >= {key for key in b.arrays if "inputs" not in key[0]}
    np.testing.assert_allclose(b.arrays["outputs.logits", 10], a.arrays["outputs.logits", 10], rtol=1e-5)
    groups = [found["neural_collapse.nc1"].verdict.record.groups[0] for found in (one, other)]
    effects = [group.outcome.effect for group in groups if group.outcome]
    assert effects == pytest.approx([a.recorded["collapse.nc1"].values[-1]] * 2, rel=1e-5)


def test_similarity_between_steps_and_series_is_one_of_a_step_with_itself(tmp_path: Path) -> None:
    run = trained(probes=("taps",))
    found = replayed(
        stored(run, tmp_path / "mine"), network=NET, data=TASK, phenomena=["neural_collapse"], probes=["taps"]
    )
    for measure in ("cka", "knn"):
        matrix = found.similarity("mine", "mine", measure=measure)
        values = np.array(matrix.values)
        assert matrix.rows == tuple(map(str, AT))
        np.testing.assert_allclose(np.diag(values), 1, atol=1e-6)
        assert values[0, -1] < values[-2, -1]
    with pytest.raises(MeasurementError, match=r"no representation taps\.nowhere"):
        found.similarity("mine", "mine", tap="nowhere")
    with pytest.raises(UnknownName):
        found.series("mine", "sharpness.value")


ROWS, CLASSES, WIDTH = 512, 4, 16


def features(folder: Path, seed: int, shared: float, *, random: bool = False, network: str = "") -> None:
    """A series of features whose representations have, by the share `shared`, one geometry in all seeds at the end."""
    common = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(99))
    own = torch.Generator().manual_seed(1000 * random + seed + 50 * len(network))
    labels = torch.arange(ROWS) % CLASSES
    inputs = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(98))
    start, end = (torch.randn(ROWS, WIDTH, generator=own) for _ in range(2))
    readout = torch.randn(CLASSES, WIDTH, generator=own)
    for step, penultimate in ((0, start), (100, shared * common + (1 - shared) * end)):
        hits = nn.functional.one_hot(labels, CLASSES) * 20.0
        train = hits @ torch.linalg.pinv(readout.T) if step else start[: len(labels)]
        entries = {
            "train.penultimate": train,
            "train.labels": labels,
            "validation.penultimate": train,
            "validation.labels": labels,
            "readout.weight": readout,
            "reference.penultimate": penultimate,
            "reference.inputs": inputs,
            "reference.labels": labels,
        }
        save(folder, step, entries, "features.safetensors")
    manifest(folder, seed=seed, random_labels=random, network=network)


@pytest.mark.parametrize(("shared", "verdict"), [(0.8, "present"), (0.0, "absent")])
def test_pairs_of_seeds_and_their_nulls_come_to_the_verdict_that_was_planted(
    tmp_path: Path, shared: float, verdict: str
) -> None:
    for seed in range(3):
        features(tmp_path / f"s{seed}", seed, shared)
        features(tmp_path / f"r{seed}", seed, 0.0, random=True)
    found = replayed(tmp_path, phenomena=["representation_similarity", "linear_mode_connectivity"])
    row = found["representation_similarity.cka_seeds"]
    assert row.verdict.verdict == verdict, str(found)
    assert len(row.verdict.record.groups) == 3
    assert set(row.series) == {"s0", "s1", "s2", "r0", "r1", "r2"}
    assert found["representation_similarity.knn_seeds"].verdict.verdict == verdict
    assert "give series of several" in found.left_out["representation_similarity.cka_architectures"]
    assert found.left_out["linear_mode_connectivity.stable"] == "needs a series of branch 1 of seed 0"


def test_series_of_two_networks_are_compared_at_each_seed(tmp_path: Path) -> None:
    for network in ("a", "bb"):
        for seed in range(3):
            features(tmp_path / f"{network}{seed}", seed, 0.8, network=network)
            features(tmp_path / f"{network}r{seed}", seed, 0.0, random=True, network=network)
    found = replayed(tmp_path, phenomena=["representation_similarity"])
    for network in ("a", "bb"):
        row = found[f"{network}: representation_similarity.cka_architectures"]
        assert row.verdict.verdict == "present"
        assert len(row.series) == 12


def test_without_nulls_or_with_one_seed_it_is_said_which_series_is_missing(tmp_path: Path) -> None:
    features(tmp_path / "s0", 0, 0.8)
    one = replayed(tmp_path, phenomena=["representation_similarity"])
    assert (
        one.left_out["representation_similarity.cka_seeds"]
        == "compares seeds, and there is a series of seed 0 alone"
    )
    features(tmp_path / "s1", 1, 0.8)
    two = replayed(tmp_path, phenomena=["representation_similarity"])
    assert two.left_out["representation_similarity.cka_seeds"] == "needs a series of seed 0 on random labels"


def test_a_claim_on_the_untrained_network_is_not_measured_where_the_series_begins_later(
    tmp_path: Path,
) -> None:
    for seed in range(3):
        features(tmp_path / f"s{seed}", seed, 0.8)
        (tmp_path / f"s{seed}" / "step0").rename(tmp_path / f"s{seed}" / "step50")
    left_out = replayed(tmp_path, phenomena=["neural_collapse"]).left_out
    assert (
        left_out["neural_collapse.nc1"] == "asks for the untrained network, and the series begins at step 50"
    )


def branches(folder: Path, at: int, apart: float) -> tuple[Tensor, Tensor]:
    """Two networks that classify points by their first two coordinates, stored as branches of one training."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 4, generator=generator) * 0.1 + torch.eye(2, 4)[y] * 2
    for branch in (1, 2):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        for step in (0, 10):
            with torch.no_grad():
                if step:
                    order = [0, 1] if branch == 1 or not apart else [1, 0]
                    turned = torch.zeros(6, 4)
                    turned[order, [0, 1]] = 1.0
                    net[0].weight.copy_(turned + 0.3 * branch * torch.eye(6, 4).flip(0))
                    net[0].bias.zero_()
                    read = torch.zeros(2, 6)
                    read[[0, 1], order] = 3.0
                    net[2].weight.copy_(read)
                    net[2].bias.zero_()
            save(folder / f"b{branch}", step, net.state_dict())
        manifest(folder / f"b{branch}", seed=0, fork=[at, branch])
    return x, y


@pytest.mark.parametrize(("apart", "holds"), [(0.0, 1), (1.0, 0)])
def test_branches_of_one_training_are_joined_by_a_line_or_not(
    tmp_path: Path, apart: float, holds: int
) -> None:
    data = branches(tmp_path, 1, apart)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    phenomenon = "linear_mode_connectivity[fork=0.2]"
    found = replayed(tmp_path, network=net, data=data, validation=data, phenomena=[phenomenon])
    row = found["linear_mode_connectivity.stable"]
    assert (row.verdict.decided, row.verdict.holding) == (1, holds), str(found)
    branches(tmp_path, 5, apart)
    late = replayed(tmp_path, network=net, data=data, validation=data, phenomena=[phenomenon])
    reason = "asks for branches from 20% of the updates on, and these part at 50%"
    assert late.left_out["linear_mode_connectivity.stable"] == reason


def test_labels_of_a_series_on_random_ones_are_not_taken_from_the_data(tmp_path: Path) -> None:
    x, y = torch.randn(60, 5), torch.arange(60) % 3
    for step in (0, 4):
        torch.manual_seed(step)
        save(tmp_path / "random", step, Readout(5, 3).state_dict())
    manifest(tmp_path / "random", random_labels=True)
    found = replayed(
        tmp_path / "random",
        network=Readout(5, 3),
        data=(x, y),
        phenomena=["neural_collapse"],
        probes=["accuracy", "taps"],
    )
    seen = found.observed["random"]
    assert set(seen.failures) == {"accuracy"}
    assert "the random labels of this series are not known" in seen.failures["accuracy"]
    assert ("taps.penultimate", 4) in seen.arrays


def test_a_phenomenon_of_ones_own_reads_a_stored_training(tmp_path: Path) -> None:
    plugins = tmp_path / "my_plugins"
    plugins.mkdir()
    (plugins / "moves.py").write_text(
        "from dataclasses import dataclass\n"
        "from universality import plugin as u\n"
        "@u.register('moves')\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Moves(u.Phenomenon):\n"
        "    title, version, strand, sense = 'Moves', 1, 'laws', 'sign'\n"
        "    @u.per_seed\n"
        "    def run(self, run: u.Run) -> u.Run:\n"
        "        return run.trained(steps=10, lr=0.1).observing(displacement=u.At(0, 1))\n"
        "    moved = u.claim(u.Within(low=0.01), u.at_end('displacement.relative'), runs=run, title='m',\n"
        "        chart=u.Lines({'displacement.relative': ''}, 'moved'))\n"
        "    reference = 'mlp', 'digits'\n"
        "    controls = (u.positive('a', 'b'), u.negative('c', 'd', architecture='mlp[depth=0]'))\n"
    )
    for seed in range(3):
        run = trained(seed=seed)
        stored(run, tmp_path / "series" / f"s{seed}")
    found = replayed(tmp_path / "series", network=NET, data=TASK, phenomena=["moves"], plugins=[plugins])
    row = found["moves.moved"]
    assert row.verdict.verdict == "present"
    moved = [found.displacement[f"s{seed}"][STEPS] for seed in range(3)]
    effects = [group.outcome.effect for group in row.verdict.record.groups if group.outcome]
    np.testing.assert_allclose(effects, moved, rtol=1e-5)  # of parameters, and of all that is stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": NET}, "a network without its data"),
        ({"data": TASK}, "data without the network"),
        ({"network": NET, "data": (torch.zeros(3, 2), torch.zeros(3).long())}, "an address beside an object"),
        ({"network": "mlp[width=13,depth=2]", "data": TASK}, "weights of another shape than the network's"),
        ({"network": "mlp[width=12,depth=3]", "data": TASK}, "weights of another network"),
        ({"network": "mlp[wdith=13]", "data": TASK}, "unknown parameter of architecture 'mlp' 'wdith'"),
        ({"phenomena": ["neural_colapse"]}, "unknown phenomenon 'neural_colapse'"),
        ({"probes": ["rank"]}, "unknown probe 'rank'"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    folder = stored(trained(), tmp_path / "mine")
    with pytest.raises((BadParameter, UnknownName), match=message):
        replayed(folder, **options)


def test_the_command_prints_the_table_and_exits_with_1_where_files_look_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(trained(), tmp_path / "mine")
    manifest(folder, recipe=told(RECIPE))
    arguments = ["replay", str(folder), "--network", NET, "--data", TASK, "--phenomena", "neural_collapse"]
    assert cli.main([*arguments, "--probes", "displacement"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine: seed 0, 21 steps from 0 to 40, weights moved by ")
    assert "neural_collapse.nc3" in out
    assert "mine: displacement.relative 0.00 at step 0" in out
    (folder / "step10" / "model.safetensors").write_bytes(
        (folder / "step8" / "model.safetensors").read_bytes()
    )
    assert cli.main(arguments) == 1
    assert "mine: steps 8, 10 hold the same weights" in capsys.readouterr().out
