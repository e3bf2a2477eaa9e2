"""Arrays of others: what is taken, and what is refused with a remedy that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from universality.errors import BadParameter, DataUnavailable, UniversalityError
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.task import Splits

registry.load_plugins()
RNG = np.random.default_rng(0)


def load(options: str, root: Path) -> Splits:
    address = f"arrays[path=a.npz{options}]"
    splits: Splits = registry.resolve("task", address).load(np.random.default_rng(0), root)
    return splits


def save(root: Path, x: np.ndarray, y: np.ndarray | None = None) -> dict[str, Any]:
    """The first 40 of 60 rows are training."""
    y = np.arange(60) % 4 if y is None else y
    arrays = {"train_x": x[:40], "train_y": y[:40], "test_x": x[40:], "test_y": y[40:]}
    np.savez(root / "a.npz", **arrays)
    return arrays


def advised(text: str, root: Path, arrays: dict[str, Any], end: str = "") -> None:
    """Do what an error says, and save the arrays again."""
    code = text.partition("  do:")[2].strip().removeprefix("leave them out: ")
    exec(code.partition(end)[0] if end else code, arrays)
    np.savez(root / "a.npz", **{k: arrays[k] for k in ("train_x", "train_y", "test_x", "test_y")})


def refusal(options: str, root: Path, kind: type[UniversalityError] = DataUnavailable) -> str:
    with pytest.raises(kind) as caught:
        load(options, root)
    return str(caught.value)


# Scales


def test_columns_are_standardised_on_request_alone(tmp_path: Path) -> None:
    x = RNG.normal([5, -700], [0.1, 300], (60, 2))
    save(tmp_path, x)
    np.testing.assert_array_equal(load("", tmp_path).train.inputs, x[:40].astype(np.float32))
    scaled = load(",standardise=true", tmp_path)
    mean, std = x[:40].mean(0), x[:40].std(0)
    for split, rows in ((scaled.train, x[:40]), (scaled.validation, x[40:])):
        np.testing.assert_allclose(split.inputs, (rows - mean) / std, atol=1e-5)


def test_channels_of_a_sequence_are_standardised_over_rows_and_steps(tmp_path: Path) -> None:
    x = RNG.normal([5, -700], [0.1, 300], (60, 7, 2))
    save(tmp_path, x)
    assert ". Or take steps with channels: arrays[path=a.npz,kind=sequence]" in refusal(
        "", tmp_path, BadParameter
    )
    splits = load(",kind=sequence", tmp_path)
    assert splits.inputs == InputSpec("sequence", (7, 2))
    np.testing.assert_array_equal(splits.train.inputs, x[:40].astype(np.float32))
    scaled = load(",kind=sequence,standardise=true", tmp_path)
    mean, std = x[:40].mean((0, 1)), x[:40].std((0, 1))
    np.testing.assert_allclose(scaled.validation.inputs, (x[40:] - mean) / std, atol=1e-5)


def test_images_of_floats_have_channels_first_and_are_taken_as_they_are(tmp_path: Path) -> None:
    x = RNG.normal([[[5]], [[-700]]], [[[0.1]], [[300]]], (60, 2, 4, 7))
    arrays = save(tmp_path, x)
    assert "arrays[path=a.npz,kind=float_image]" in refusal("", tmp_path, BadParameter)
    splits = load(",kind=float_image", tmp_path)
    assert splits.inputs == InputSpec("image", (2, 4, 7))
    np.testing.assert_array_equal(splits.validation.inputs, x[40:].astype(np.float32))
    scaled = load(",kind=float_image,standardise=true", tmp_path)
    mean, std = (f(x[:40], (0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    np.testing.assert_allclose(scaled.validation.inputs, (x[40:] - mean) / std, atol=1e-5)
    x[:40, 1] = 3
    np.savez(tmp_path / "a.npz", **arrays)
    text = refusal(",kind=float_image", tmp_path)
    assert "constant over the training rows: 1" in text
    assert "leave the channel out" in text
    save(tmp_path, x[:, 0])
    assert "float64 of shape [40, 4, 7]" in refusal(",kind=float_image", tmp_path)


@pytest.mark.parametrize("shape", [(60, 6), (60, 5, 6)], ids=["vectors", "sequences"])
def test_constant_columns_are_refused_and_the_remedy_works(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = RNG.standard_normal(shape)
    x[..., 1], x[:40, ..., 4] = 0.1, 7  # the second varies in the test rows alone
    arrays = save(tmp_path, x)
    options = ",kind=sequence" if len(shape) == 3 else ""
    text = refusal(options, tmp_path)
    assert "2 columns are constant over the training rows: 1, 4" in text
    assert str(tmp_path / "a.npz") in text
    advised(text, tmp_path, arrays)
    np.testing.assert_array_equal(
        load(options, tmp_path).validation.inputs, x[40:][..., [0, 2, 3, 5]].astype(np.float32)
    )


# Rows in both splits


@pytest.mark.parametrize("kind", ["vector", "tokens", "image"])
def test_rows_in_both_splits_are_refused_unless_told_and_the_remedy_works(kind: str, tmp_path: Path) -> None:
    x = {
        "vector": RNG.standard_normal((60, 3)),
        "tokens": RNG.permutation(3600).reshape(60, 60) % 50,
        "image": RNG.integers(0, 256, (60, 5, 5), dtype=np.uint8),
    }[kind]
    x[42], x[59] = x[7], x[8]
    arrays = save(tmp_path, x)
    text = refusal("", tmp_path)
    assert text.startswith("rows stand in both splits")
    assert "2 of 20 test rows, the first is 2, equal to training row 7" in text
    assert len(load(",shared_rows=true", tmp_path).validation) == 20
    advised(text, tmp_path, arrays, ". Or take them")
    splits = load("", tmp_path)
    assert len(splits.validation) == 18
    assert splits.validation.targets.tolist() == [i % 4 for i in range(40, 60) if i not in (42, 59)]


# Layout of images


def test_images_whose_channels_may_be_first_or_last_are_refused_until_told(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (60, 3, 4, 3), dtype=np.uint8)
    save(tmp_path, x)
    text = refusal("", tmp_path, BadParameter)
    assert text.startswith("whether channels come first or last cannot be told")
    assert "arrays[path=a.npz,kind=image]" in text
    assert load(",kind=image", tmp_path).inputs.shape == (3, 3, 4)
    save(tmp_path, x.transpose(0, 2, 3, 1))
    assert load(",kind=image", tmp_path).inputs.shape == (3, 4, 3)


# Targets


@pytest.mark.parametrize("outputs", [1, 3])
def test_floats_are_numbers_to_regress_on(outputs: int, tmp_path: Path) -> None:
    x, y = RNG.standard_normal((60, 2)), RNG.normal(500, 90, (60, outputs))
    save(tmp_path, x, y[:, 0] if outputs == 1 else y)
    splits = load("", tmp_path)
    assert splits.outputs == outputs
    assert splits.reference.regression
    np.testing.assert_array_equal(splits.train.targets, y[:40].astype(np.float32))
    scaled = load(",standardise=true", tmp_path)
    expected = (y[40:] - y[:40].mean(0)) / y[:40].std(0)
    np.testing.assert_allclose(scaled.validation.targets, expected, atol=1e-4)


def test_whole_numbers_stored_as_floats_must_say_what_they_are(tmp_path: Path) -> None:
    save(tmp_path, RNG.standard_normal((60, 2)), np.arange(60) % 4 * 1.0)
    text = refusal("", tmp_path, BadParameter)
    assert "y.astype(np.int64)" in text
    assert "arrays[path=a.npz,targets=numbers]" in text
    assert load(",targets=numbers", tmp_path).train.targets.dtype == torch.float32
    assert "training labels are float64" in refusal(",targets=classes", tmp_path)


def test_integers_are_numbers_on_request(tmp_path: Path) -> None:
    save(tmp_path, RNG.standard_normal((60, 2)), np.arange(60) * 3)
    assert "class 1 has no training rows" in refusal("", tmp_path)
    splits = load(",targets=numbers", tmp_path)
    assert splits.train.targets[:3, 0].tolist() == [0, 3, 6]
    save(tmp_path, RNG.standard_normal((60, 2)), np.array(["a", "b"] * 30))
    assert "training targets are <U1 of shape [40, 1]" in refusal(",targets=numbers", tmp_path)
