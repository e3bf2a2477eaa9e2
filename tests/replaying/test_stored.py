"""Series on the disk: the layouts that are read, and every way in which a copy of one can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import universality
from universality.errors import BadParameter
from universality.replaying.integrity import inspect
from universality.replaying.loading import load_weights
from universality.replaying.stored import read_series

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def weights(step: int) -> dict[str, Tensor]:
    """On a straight way from a fixed start."""
    generator = torch.Generator().manual_seed(0)
    start, way = (
        {name: torch.randn(4, 3, generator=generator) for name in ("a.weight", "b.weight")} for _ in range(2)
    )
    return {name: start[name] + step * way[name] for name in start}


def series(folder: Path, prefix: str = "step", steps: tuple[int, ...] = (0, 1, 2, 4, 8)) -> Path:
    for step in steps:
        place = folder / f"{prefix}{step}"
        place.mkdir(parents=True)
        save_file(weights(step), place / "model.safetensors")
    return folder


def sharded(folder: Path, *, index: bool = True) -> Path:
    """As Pythia and others publish: half precision, shards, and an index."""
    for step in (0, 1000, 2000):
        place = folder / f"step{step}"
        place.mkdir(parents=True)
        entries = {name: tensor.half() for name, tensor in weights(step // 1000).items()}
        for shard, name in zip(SHARDS, entries, strict=True):
            save_file({name: entries[name]}, place / shard)
        if index:
            table = {"metadata": {}, "weight_map": dict(zip(entries, SHARDS, strict=True))}
            (place / "model.safetensors.index.json").write_text(json.dumps(table))
    return folder


@pytest.mark.parametrize("prefix", ["step", "step_", "checkpoint-"])
def test_steps_are_read_by_number_and_displacement_is_that_of_the_weights(
    tmp_path: Path, prefix: str
) -> None:
    (found,) = read_series([series(tmp_path / "mine", prefix, (0, 2, 10))])
    assert list(found.steps) == [0, 2, 10]
    passed = inspect(found)
    assert passed.faults == ()
    flat = {step: torch.cat([each.flatten() for each in weights(step).values()]) for step in (0, 2, 10)}
    for step, moved in passed.displacement.items():
        assert moved == pytest.approx(float((flat[step] - flat[0]).norm() / flat[0].norm()), rel=1e-5)


@pytest.mark.parametrize("index", [True, False])
def test_shards_are_one_set_of_weights(tmp_path: Path, index: bool) -> None:
    (found,) = read_series([sharded(tmp_path / "pythia", index=index)])
    assert {name: path.name for name, path in found.steps[1000].weights.files.items()} == dict(
        zip(("a.weight", "b.weight"), SHARDS, strict=True)
    )
    assert inspect(found).faults == ()
    torch.testing.assert_close(found.steps[2000].weights.load("b.weight"), weights(2)["b.weight"].half())


def test_a_folder_of_series_gives_each_with_seeds_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        series(tmp_path / name, steps=(0, 1))
    assert [(each.name, each.seed) for each in read_series([tmp_path])] == [("a", 0), ("b", 1)]


def replace(folder: Path, step: int, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / f"step{step}" / "model.safetensors")


def truncated(folder: Path) -> None:
    path = folder / "step2" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])


def pickled(folder: Path) -> None:
    (folder / "step2" / "model.safetensors").rename(folder / "step2" / "pytorch_model.bin")


def not_finite(folder: Path) -> None:
    bad = weights(2)
    bad["b.weight"][1, 1] = float("nan")
    replace(folder, 2, bad)


def told(folder: Path, **entries: object) -> None:
    (folder / "manifest.json").write_text(json.dumps(entries))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, r"damaged, or was cut off[\s\S]*step2"),
    "empty": (lambda f: (f / "step2" / "model.safetensors").write_bytes(b""), "damaged, or was cut off"),
    "pickle": (
        pickled,
        r"holds no tensors[\s\S]*pytorch_model.bin: a pickle may run code, and is never loaded",
    ),
    "not finite": (not_finite, r"not finite[\s\S]*step 2[\s\S]*NaN or infinity in b.weight"),
    "shape": (
        lambda f: replace(f, 4, {**weights(4), "a.weight": torch.ones(3, 4)}),
        r"shapes that change[\s\S]*step 4[\s\S]*a.weight \[3, 4\], at step 0 \[4, 3\]",
    ),
    "a tensor too many": (
        lambda f: replace(f, 4, {**weights(4), "c": torch.ones(1)}),
        r"steps of other tensors[\s\S]*c only at step 4",
    ),
    "a tensor too few": (
        lambda f: replace(f, 4, {"a.weight": torch.ones(4, 3)}),
        r"steps of other tensors[\s\S]*b.weight only at step 0",
    ),
    "twice one step": (
        lambda f: series(f / "more", "step0", (4,)).joinpath("step04").rename(f / "step04"),
        "two folders of one step",
    ),
    "manifest, no JSON": (lambda f: (f / "manifest.json").write_text("{"), "a manifest that cannot be read"),
    "manifest, unknown field": (lambda f: told(f, schema=1, seeds=3), "a manifest that cannot be read"),
    "manifest, schema": (lambda f: told(f, schema=2), "a manifest of another schema"),
    "manifest, recipe": (
        lambda f: told(f, schema=1, recipe={"learning_rate": 0.1}),
        "unknown field of a recipe",
    ),
}


@pytest.mark.parametrize(("breaks", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_series_is_refused_by_step_and_file(
    tmp_path: Path, breaks: Callable[[Path], object], message: str
) -> None:
    folder = series(tmp_path / "mine")
    breaks(folder)
    with pytest.raises(Exception, match=message) as caught:
        inspect(read_series([folder])[0])
    assert type(caught.value).__module__ == "universality.errors"


def lost(folder: Path) -> None:
    (folder / "step1000" / SHARDS[1]).unlink()


def leads_out(folder: Path) -> None:
    table = {"weight_map": {"a.weight": "../../x.safetensors"}}
    (folder / "step1000" / "model.safetensors.index.json").write_text(json.dumps(table))


def names_more(folder: Path) -> None:
    table = {"weight_map": {"a.weight": SHARDS[0], "b.weight": SHARDS[1], "c": SHARDS[1]}}
    (folder / "step1000" / "model.safetensors.index.json").write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("breaks", "index", "message"),
    [
        (lost, True, r"shards of a step are missing[\s\S]*without model-00002-of-00002"),
        (lost, False, r"shards of a step are missing[\s\S]*without model-00002-of-00002"),
        (leads_out, True, "an index that names no files of its folder"),
        (names_more, True, r"tensors that their shard does not hold[\s\S]*such as c"),
    ],
)
def test_broken_shards_are_refused(
    tmp_path: Path, breaks: Callable[[Path], None], index: bool, message: str
) -> None:
    folder = sharded(tmp_path / "pythia", index=index)
    breaks(folder)
    with pytest.raises(BadParameter, match=message):
        read_series([folder])


def swapped(folder: Path) -> None:
    (folder / "step2").rename(folder / "kept")
    (folder / "step8").rename(folder / "step2")
    (folder / "kept").rename(folder / "step8")


FAULTY: dict[str, tuple[Callable[[Path], object], str]] = {
    "the same weights": (lambda f: replace(f, 4, weights(2)), "steps 2, 4 hold the same weights"),
    "far apart": (lambda f: replace(f, 8, weights(0)), "steps 0, 8 hold the same weights"),
    "swapped": (swapped, "step 2 does not lie between 1 and 4, which are nearer to each other than to it"),
    "state": (
        lambda f: (f / "step4" / "trainer_state.json").write_text('{"global_step": 3}'),
        "step4 was left by the training at step 3, says its state",
    ),
}


@pytest.mark.parametrize(("breaks", "fault"), FAULTY.values(), ids=FAULTY)
def test_what_looks_wrong_is_told_though_it_can_be_read(
    tmp_path: Path, breaks: Callable[[Path], object], fault: str
) -> None:
    folder = series(tmp_path / "mine")
    breaks(folder)
    faults = inspect(read_series([folder])[0]).faults
    assert any(text.startswith(fault) for text in faults), faults


def test_independent_noise_about_one_point_is_in_its_place(tmp_path: Path) -> None:
    for step in range(12):
        place = tmp_path / "noise" / f"step{step}"
        place.mkdir(parents=True)
        save_file(
            {"w": torch.randn(200, generator=torch.Generator().manual_seed(step))},
            place / "model.safetensors",
        )
    assert inspect(read_series([tmp_path / "noise"])[0]).faults == ()


def test_rows_of_features_that_change_are_refused(tmp_path: Path) -> None:
    for step in (0, 1):
        place = tmp_path / "mine" / f"step{step}"
        place.mkdir(parents=True)
        entries = {"train.penultimate": torch.randn(4, 2), "train.labels": torch.arange(4).roll(step)}
        save_file(entries, place / "features.safetensors")
    with pytest.raises(BadParameter, match=r"rows that change[\s\S]*train.labels is other than before"):
        inspect(read_series([tmp_path / "mine"])[0])


def test_two_series_of_one_seed_and_folders_without_steps_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        told(series(tmp_path / name, steps=(0, 1)), schema=1, seed=3)
    with pytest.raises(BadParameter, match="two series of one seed"):
        read_series([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadParameter, match="a folder without steps"):
        read_series([tmp_path / "empty"])
    with pytest.raises(BadParameter, match="there is no such folder"):
        read_series([tmp_path / "nowhere"])


def test_buffers_are_no_weights(tmp_path: Path) -> None:
    for step in (0, 1):
        place = tmp_path / "mine" / f"step{step}"
        place.mkdir(parents=True)
        entries = {
            "norm.weight": torch.full((4,), 1.0 + step),
            "attention.bias": torch.ones(4),  # of a layer that is called so
            "norm.running_mean": torch.full((4,), 100.0 * step),
            "norm.num_batches_tracked": torch.tensor(step),
            "layers.0.attention.bias": torch.full((1, 1, 2, 2), float(step)),
            "layers.0.attention.masked_bias": torch.tensor(-1e9).half(),  # which is -inf
            "layers.0.rotary_emb.inv_freq": torch.full((2,), 1.0 + step),
            "mask": torch.ones(2, dtype=torch.bool),
        }
        save_file(entries, place / "model.safetensors")
    (found,) = read_series([tmp_path / "mine"])
    weights = found.steps[0].weights
    assert {*weights.buffers} == {*entries} - {"norm.weight", "attention.bias"}
    expected = (4 / 8) ** 0.5
    assert inspect(found).displacement[1] == pytest.approx(expected)
    replayed = universality.replay(tmp_path / "mine", probes=["displacement"], phenomena=["neural_collapse"])
    assert replayed.series("mine", "displacement.relative").values[-1] == pytest.approx(expected)
    assert any("and 5 more, which are buffers" in note for note in replayed.notes)


@pytest.mark.parametrize(
    "names", [["training.weight"], ["a", "a.b"], [""], ["a..b"], ["model.forward.weight"], ["_parameters"]]
)
def test_weights_alone_may_have_any_names(tmp_path: Path, names: list[str]) -> None:
    for step in (0, 1):
        place = tmp_path / "mine" / f"step{step}"
        place.mkdir(parents=True)
        save_file({name: torch.full((2,), 1.0 + step) for name in names}, place / "model.safetensors")
    replayed = universality.replay(tmp_path / "mine", probes=["displacement"], phenomena=["neural_collapse"])
    assert replayed.series("mine", "displacement.relative").values.tolist() == [0.0, 1.0]


class Tied(nn.Module):
    """Embedding and readout share their weights, which safetensors stores once."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.read.weight = self.embed.weight


@pytest.mark.parametrize("prefix", ["", "module.", "net.model."])
def test_weights_are_found_under_a_prefix_and_behind_a_tie(tmp_path: Path, prefix: str) -> None:
    place = tmp_path / "mine" / "step1"
    place.mkdir(parents=True)
    kept = torch.randn(5, 3)
    save_file({f"{prefix}embed.weight": kept, "rotary.inv_freq": torch.ones(2)}, place / "model.safetensors")
    net = Tied()
    unused = load_weights(net, read_series([tmp_path / "mine"])[0].steps[1].weights, where="here")
    assert torch.equal(net.read.weight, kept)
    assert unused == ("rotary.inv_freq",)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_prefix_is_found_where_the_first_entry_is_not_the_one_that_is_stored(
    tmp_path: Path, prefix: str
) -> None:
    place = tmp_path / "mine" / "step1"
    place.mkdir(parents=True)
    kept = torch.randn(5, 3)
    save_file({f"{prefix}read.weight": kept}, place / "model.safetensors")
    net = Tied()
    assert load_weights(net, read_series([tmp_path / "mine"])[0].steps[1].weights, where="here") == ()
    assert torch.equal(net.embed.weight, kept)


def test_a_network_inside_a_wrapper_takes_weights_without_its_prefix(tmp_path: Path) -> None:
    place = tmp_path / "mine" / "step1"
    place.mkdir(parents=True)
    inner = nn.Linear(3, 2)
    save_file(inner.state_dict(), place / "model.safetensors")
    outer = nn.ModuleDict({"net": nn.Linear(3, 2)})
    assert load_weights(outer, read_series([tmp_path / "mine"])[0].steps[1].weights, where="here") == ()
    assert torch.equal(outer["net"].weight, inner.weight)
