"""House numbers by torchvision, the subset that stands in for CIFAR-10, and curves of digits."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from universality.errors import DataUnavailable
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.data import sha256
from universality.plugin.task import Splits

REAL = Path(os.environ.get("UNIVERSALITY_DATA", "/nowhere"))


def task(address: str) -> Any:
    return registry.resolve("task", address)


def load(address: str, root: Path) -> Splits:
    splits: Splits = task(address).load(np.random.default_rng(0), root)
    return splits


def refusal(address: str, root: Path) -> str:
    with pytest.raises(DataUnavailable) as caught:
        load(address, root)
    return str(caught.value)


# SVHN


@pytest.fixture
def house_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with small files in the layout of SVHN, whose md5 sums torchvision is told."""
    from torchvision.datasets import SVHN

    rng, known = np.random.default_rng(0), dict(SVHN.split_list)
    for part, rows in (("train", 30), ("test", 20)):
        file = tmp_path / f"{part}_32x32.mat"
        digits = (np.arange(rows) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(file, {"X": rng.integers(0, 256, (32, 32, 3, rows), dtype=np.uint8), "y": digits})
        known[part] = [file.as_uri(), file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", known)
    return tmp_path


def test_house_numbers_are_read_in_place_with_ten_for_nought(house_numbers: Path) -> None:
    splits = load("svhn[validation_rows=5]", house_numbers)
    train, test = (scipy.io.loadmat(house_numbers / f"{part}_32x32.mat")["X"] for part in ("train", "test"))
    mean, std = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    np.testing.assert_allclose(
        splits.train.inputs[7], (train[..., 7].transpose(2, 0, 1) - mean) / std, atol=1e-6
    )
    np.testing.assert_allclose(
        splits.validation.inputs[1], (test[..., 4].transpose(2, 0, 1) - mean) / std, atol=1e-6
    )
    assert splits.train.targets.tolist() == [(i + 1) % 10 for i in range(30)]
    assert splits.validation.targets.tolist() == [1, 5, 9, 3, 7]
    assert (splits.inputs, splits.outputs) == (InputSpec("image", (3, 32, 32)), 10)


def test_house_numbers_that_are_absent_cut_short_or_fetched(
    house_numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import svhn

    def copied(url: str, root: Path, name: str, md5: str) -> None:
        shutil.copy(house_numbers / name, root)

    monkeypatch.setattr(svhn, "download_url", copied)
    empty = house_numbers / "empty"
    assert refusal("svhn", empty).startswith("no train_32x32.mat, test_32x32.mat\n")
    task("svhn").fetch(empty)
    assert torch.equal(load("svhn", empty).train.inputs, load("svhn", house_numbers).train.inputs)
    cut = empty / "test_32x32.mat"
    cut.write_bytes(cut.read_bytes()[:500])
    text = refusal("svhn", empty)
    assert str(cut) in text
    assert "expected: md5" in text
    assert text.endswith(f"universality data fetch svhn --data-root {empty}")


# CIFAR-10


def test_a_subset_stands_in_for_cifar10_under_a_digest_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = task("cifar10").digests
    (tmp_path / path).parent.mkdir()
    rng = np.random.default_rng(0)
    arrays = {part: rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8) for part in ("train_x", "test_x")}
    np.savez(tmp_path / path, **arrays, train_y=np.arange(20) % 10, test_y=np.arange(20)[::-1] % 10)
    assert "expected: sha256 5d04853e" in refusal("cifar10", tmp_path)
    monkeypatch.setattr(type(task("cifar10")), "digests", {path: sha256(tmp_path / path)})
    splits = load("cifar10", tmp_path)
    mean, std = arrays["train_x"].mean(dtype=np.float64), arrays["train_x"].std(dtype=np.float64)
    np.testing.assert_allclose(
        splits.train.inputs[3], (arrays["train_x"][3].transpose(2, 0, 1) - mean) / std, atol=1e-6
    )
    assert splits.validation.targets.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] * 2
    assert task("cifar10").content(tmp_path) == sha256(tmp_path / path)
    task("cifar10").fetch(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"cut")
    assert "cifar-10-python.tar.gz" in refusal("cifar10", tmp_path)
    assert task("cifar10").content(tmp_path) == ""


@pytest.mark.skipif(not (REAL / "CIFAR10").is_dir(), reason="no CIFAR10")
def test_the_subset_has_its_counts() -> None:
    train_x, train_y, test_x, test_y = task("cifar10").arrays(REAL)
    assert (train_x.shape, test_x.shape) == ((8068, 32, 32, 3), (1017, 32, 32, 3))
    assert (train_x.dtype, len(test_y)) == (np.uint8, 1017)
    assert np.bincount(train_y).tolist() == [810, 777, 808, 783, 856, 782, 808, 799, 835, 810]


# MNIST-1D


def curves(file: Path, **changes: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 40)), np.arange(30) % 10
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **{"x": x, "y": y, "x_test": x[:10], "y_test": y[:10], "t": x[0]} | changes)


def test_curves_are_steps_of_one_channel_whatever_archive_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = task("mnist1d").digests
    curves(tmp_path / path)
    with np.load(tmp_path / path) as archive:
        arrays = {key: archive[key] for key in ("x", "y", "x_test", "y_test")}
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    monkeypatch.setattr(type(task("mnist1d")), "digests", {path: digest})
    np.savez_compressed(tmp_path / path, **arrays | {"y": arrays["y"].astype(np.int8)})
    splits = load("mnist1d", tmp_path)
    np.testing.assert_array_equal(splits.train.inputs[:, :, 0], arrays["x"].astype(np.float32))
    assert splits.inputs == InputSpec("sequence", (40, 1))
    assert splits.validation.targets.tolist() == list(range(10))
    curves(tmp_path / path, y=np.zeros(30, int))
    assert f"expected: sha256 {digest}" in refusal("mnist1d", tmp_path)


def test_curves_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (path,) = task("mnist1d").digests
    assert refusal("mnist1d", tmp_path).startswith(f"no {path}\n")
    with pytest.raises(DataUnavailable, match=r"np\.savez of x, y, x_test and y_test"):
        task("mnist1d").fetch(tmp_path)
    curves(tmp_path / path)
    (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:900])
    assert str(tmp_path / path) in refusal("mnist1d", tmp_path)
    np.savez(tmp_path / path, x=np.zeros(3))
    assert "an npz archive of x, y, x_test, y_test" in refusal("mnist1d", tmp_path)


@pytest.mark.skipif(not (REAL / "mnist1d").is_dir(), reason="no mnist1d")
def test_the_official_curves_have_their_counts() -> None:
    splits = load("mnist1d", REAL)
    assert (len(splits.train), len(splits.validation), splits.outputs) == (4000, 1000, 10)
    assert splits.inputs == InputSpec("sequence", (40, 1))
