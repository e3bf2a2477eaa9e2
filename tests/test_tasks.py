"""Each task against closed forms, against its own files, and against files that are missing or damaged."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import itertools
import os
import pickle
import re
import struct
import tarfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.errors import BadParameter, DataUnavailable, UniversalityError
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit import data, texts
from universality.plugin.kit.data import drawn
from universality.plugin.task import Split, Splits

REAL = os.environ.get("UNIVERSALITY_DATA", "")
real_data = pytest.mark.skipif(
    not REAL or not Path(REAL).is_dir(), reason="UNIVERSALITY_DATA names no folder"
)

registry.load_plugins()


def task(address: str) -> Any:
    return registry.resolve("task", address)


def load(address: str, root: Path, seed: int = 0) -> Splits:
    loaded: Splits = task(address).load(np.random.default_rng(seed), root)
    return loaded


def same(a: Split, b: Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def rows_of(split: Split) -> set[tuple[float, ...]]:
    return set(map(tuple, split.inputs.flatten(1).tolist()))


def refusal(address: str, root: Path, kind: type[UniversalityError] = DataUnavailable) -> str:
    """The text of the error that reading `address` gives."""
    with pytest.raises(kind) as caught:
        load(address, root)
    return str(caught.value)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UNIVERSALITY_CACHE", str(cache))
    return cache


def save_arrays(file: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "train_x": rng.integers(0, 256, (40, 5, 6, 3), dtype=np.uint8),
        "train_y": np.arange(40) % 4,
        "test_x": rng.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8),
        "test_y": np.arange(20) % 4,
    }
    arrays |= changes
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})
    return file


WORDS = ["good", "Bad", "the", "film", "was", "so"]


def save_reviews(folder: Path, *, rows: int = 30, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, shift in (("train", 0), ("test", 1)):
        texts = [" ".join(WORDS[(i + shift + j) % 6] for j in range(i % 4 + 1)) for i in range(rows)]
        frame = pd.DataFrame({"text": texts, "label": [i % 2 for i in range(rows)]} | changes)
        frame.to_parquet(folder / f"{part}.parquet")
    return folder


def save_series(root: Path, **parts: str) -> None:
    """A set of the UCR archive: 12 and 8 series of 5 numbers, with the labels -1 and 7."""
    folder = root / "UCRArchive_2018" / "Toy"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0).normal(3, 2, size=(20, 5))
    lines = [
        "\t".join(map(str, ((7 if i % 3 else -1), *row))) + "\n" for i, row in enumerate(numbers.round(6))
    ]
    for part, rows in (("TRAIN", lines[:12]), ("TEST", lines[12:])):
        (folder / f"Toy_{part}.tsv").write_text(parts.get(part, "".join(rows)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with made-up files for the tasks that read files."""
    folder = tmp_path_factory.mktemp("root")
    save_arrays(folder / "images.npz")
    save_reviews(folder / "reviews")
    save_series(folder)
    letters = np.random.default_rng(0).choice(list("abcde \n"), 3000)
    (folder / "letters.txt").write_text("".join(letters), encoding="utf-8")
    return folder


ADDRESSES = [
    "digits",
    "wine",
    "breast_cancer",
    "modular[p=11]",
    "modular[p=11,operation=subtract]",
    "modular[p=11,operation=multiply]",
    "modular[p=11,operation=divide]",
    "modular[p=11,leak_free=false]",
    "sparse_parity[train_rows=100]",
    "gaussian_mixture[train_rows=100]",
    "permutations[n=3]",
    "random_hierarchy[train_rows=100]",
    "multi_index[rows=100]",
    "teacher_student[rows=100]",
    "power_law[rows=100]",
    "zipf[rows=100]",
    "whitened",
    "arrays[path=images.npz]",
    "char_lm[path=letters.txt,rows=200]",
    "word_lm[path=letters.txt,rows=200]",
    "spelling_to_sound[rows=200]",
    "ucr[dataset=Toy]",
    "hub_text[dataset=reviews]",
]
FIXED = ("digits", "wine", "breast_cancer", "arrays", "hub_text", "ucr")
DRAWN = [a for a in ADDRESSES if a.split("[")[0] not in FIXED]


# What holds of every task


@pytest.mark.parametrize(
    "address", ["arrays[path=images.npz]", "char_lm[path=letters.txt,rows=200]", "hub_text[dataset=reviews]"]
)
def test_a_file_of_the_users_own_is_part_of_what_a_run_is(address: str, tmp_path: Path) -> None:
    """Changed data must not be taken for a finished run; the same data elsewhere is the same."""

    def written(folder: Path, more: str = "") -> str:
        folder.mkdir()
        save_arrays(folder / "images.npz", train_y=(np.arange(40) + len(more)) % 4)
        save_reviews(folder / "reviews")
        if more:
            frame = pd.read_parquet(folder / "reviews" / "test.parquet")
            frame.iloc[::-1].to_parquet(folder / "reviews" / "test.parquet")
        (folder / "letters.txt").write_text("abcde" * 500 + more, encoding="utf-8")
        return task(address).signature(folder).content

    first, copy, changed = written(tmp_path / "a"), written(tmp_path / "b"), written(tmp_path / "c", "x")
    assert len(first) == 64
    assert first == copy != changed


@pytest.mark.parametrize("address", ["digits", "modular[p=11]", "char_lm"])
def test_data_that_the_parameters_pin_down_have_no_digest(address: str, tmp_path: Path) -> None:
    assert task(address).content(tmp_path) == ""


@pytest.mark.parametrize("address", ADDRESSES)
def test_data_are_deterministic_and_validation_and_reference_ignore_the_seed(
    address: str, root: Path
) -> None:
    a, b, c = load(address, root), load(address, root), load(address, root, seed=1)
    assert same(a.train, b.train)
    assert same(a.reference, c.reference)
    assert len(a.train) == len(c.train)
    if not address.startswith(("modular", "permutations")):
        assert same(a.validation, c.validation)


@pytest.mark.parametrize("address", DRAWN)
def test_training_rows_depend_on_the_seed(address: str, root: Path) -> None:
    assert not same(load(address, root).train, load(address, root, seed=1).train)


@pytest.mark.parametrize("address", ADDRESSES)
def test_tensors_are_as_the_input_spec_says(address: str, root: Path) -> None:
    splits = load(address, root)
    for split in (splits.train, splits.validation, splits.reference):
        assert tuple(split.inputs.shape) == (len(split), *splits.inputs.shape)
        assert split.inputs.is_contiguous()
        if split.regression:
            assert (split.targets.dtype, split.targets.shape[1]) == (torch.float32, splits.outputs)
        else:
            assert split.targets.dtype == torch.int64
            assert 0 <= int(split.targets.min()) <= int(split.targets.max()) < splits.outputs
        if splits.inputs.kind == "tokens":
            assert split.inputs.dtype == torch.int64
            assert 0 <= int(split.inputs.min()) <= int(split.inputs.max()) < splits.inputs.vocabulary
        else:
            assert split.inputs.dtype == torch.float32
    assert len(splits.reference) <= data.REFERENCE_ROWS


@pytest.mark.parametrize(
    "address", [a for a in ADDRESSES if not a.startswith(("hub_text", "char_lm", "word_lm", "zipf"))]
)
def test_no_validation_row_is_a_training_row(address: str, root: Path) -> None:
    splits = load(address, root)
    assert not rows_of(splits.train) & rows_of(splits.validation)


# digits


def test_digits_are_the_pixels_of_scikit_learn_up_to_one_affine_map() -> None:
    from sklearn.datasets import load_digits

    splits = load("digits", Path())
    pixels, labels = load_digits(return_X_y=True)
    train = np.array([(labels[:i] == labels[i]).sum() % 3 != 2 for i in range(len(labels))])
    mean, std = pixels[train].mean(), pixels[train].std()
    for split, rows in ((splits.train, train), (splits.validation, ~train)):
        back = split.inputs.flatten(1).numpy().astype(np.float64) * std + mean
        np.testing.assert_allclose(back, pixels[rows], atol=1e-5)
        np.testing.assert_array_equal(split.targets, labels[rows])
    assert abs(splits.train.inputs.mean().item()) < 1e-6
    assert splits.train.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert same(splits.reference, Split(splits.validation.inputs[:512], splits.validation.targets[:512]))


def test_digits_keep_the_first_classes_in_equal_shares() -> None:
    splits = load("digits[classes=3]", Path())
    total = torch.bincount(splits.train.targets) + torch.bincount(splits.validation.targets)
    assert total.tolist() == [178, 182, 177]
    assert torch.bincount(splits.validation.targets).tolist() == [59, 60, 59]
    assert splits.outputs == 3


# sines


@pytest.mark.parametrize("rising", [False, True])
def test_sines_have_the_waves_that_they_name_and_no_other(rising: bool) -> None:
    splits = load(f"sines[points=40,waves=3,rising={str(rising).lower()}]", Path())
    amplitudes = np.abs(np.fft.rfft(splits.train.targets[:, 0].double().numpy())) / 20
    expected = np.zeros(21)
    expected[1:4] = [1, 2, 3] if rising else [1, 1, 1]
    np.testing.assert_allclose(amplitudes, expected, atol=1e-6)
    assert splits.outputs == 1
    assert same(splits.train, splits.validation)
    assert same(splits.train, splits.reference)
    assert splits.train.inputs[:, 0].tolist() == pytest.approx([2 * t / 40 - 1 for t in range(40)])


def test_sines_of_fourier_features_are_linear_in_their_inputs() -> None:
    splits = load("sines[fourier=true]", Path())
    x, y = splits.train.inputs.double(), splits.train.targets.double()
    assert x.shape == (128, 12)
    assert float((x @ torch.linalg.lstsq(x, y).solution - y).abs().max()) < 1e-5
    assert not same(splits.train, load("sines[fourier=true,phases=1]", Path()).train)


def test_sines_that_the_grid_confuses_are_refused() -> None:
    assert "waves=6 at points=12" in refusal("sines[points=12]", Path(), BadParameter)


# modular


def brute_force(operation: str, a: int, b: int, p: int) -> int:
    if operation == "divide":
        return next(c for c in range(p) if b * c % p == a)
    return {"add": a + b, "subtract": a - b, "multiply": a * b}[operation] % p


@pytest.mark.parametrize("p", [2, 3, 13])
@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide"])
def test_modular_labels_are_the_operation_and_every_pair_occurs_once(operation: str, p: int) -> None:
    splits = load(f"modular[p={p},operation={operation},train_fraction=0.6]", Path())
    pairs = torch.cat([splits.train.inputs, splits.validation.inputs]).tolist()
    labels = torch.cat([splits.train.targets, splits.validation.targets]).tolist()
    assert labels == [brute_force(operation, a, b, p) for a, b in pairs]
    divisors = range(1 if operation == "divide" else 0, p)
    assert sorted(map(tuple, pairs)) == sorted(itertools.product(range(p), divisors))
    reference = zip(splits.reference.inputs.tolist(), splits.reference.targets.tolist(), strict=True)
    assert all(c == brute_force(operation, a, b, p) for (a, b), c in reference)


@settings(max_examples=40, deadline=None)
@given(
    p=st.sampled_from([5, 7, 11, 23]),
    fraction=st.floats(0.2, 0.8),
    operation=st.sampled_from(["add", "multiply"]),
    seed=st.integers(0, 99),
)
def test_leak_free_keeps_both_orders_of_a_pair_on_one_side(
    p: int, fraction: float, operation: str, seed: int
) -> None:
    splits = load(f"modular[p={p},train_fraction={fraction},operation={operation}]", Path(), seed)
    assert not rows_of(splits.validation) & {(b, a) for a, b in rows_of(splits.train)}
    assert len(splits.train) == round(fraction * p) + 2 * round(fraction * p * (p - 1) / 2)


@settings(max_examples=20, deadline=None)
@given(p=st.sampled_from([5, 7, 11, 23]), fraction=st.floats(0.2, 0.8))
def test_without_leak_free_the_training_set_is_its_fraction_of_the_pairs(p: int, fraction: float) -> None:
    for operation, pairs in (("add", p * p), ("subtract", p * p), ("divide", p * (p - 1))):
        address = f"modular[p={p},train_fraction={fraction},operation={operation},leak_free=false]"
        assert len(load(address, Path()).train) == round(fraction * pairs)


def test_without_leak_free_swapped_pairs_do_leak() -> None:
    splits = load("modular[p=23,leak_free=false]", Path())
    assert rows_of(splits.validation) & {(b, a) for a, b in rows_of(splits.train)}


# sparse parity


def test_parity_is_the_product_of_the_first_k_signs() -> None:
    splits = load("sparse_parity[bits=12,k=4,train_rows=500,validation_rows=300]", Path())
    assert (len(splits.train), len(splits.validation)) == (500, 300)
    for split in (splits.train, splits.validation, splits.reference):
        for row, label in zip(split.inputs.tolist(), split.targets.tolist(), strict=True):
            assert set(row) <= {-1.0, 1.0}
            assert label == (1 if row[0] * row[1] * row[2] * row[3] < 0 else 0)


def test_parity_rows_are_fair_signs_that_carry_nothing_one_by_one() -> None:
    splits = load("sparse_parity[bits=20,k=3,train_rows=20000]", Path())
    x, sign = splits.train.inputs, 1 - 2 * splits.train.targets.float()
    bound = 5 / np.sqrt(len(x))
    assert x.mean(dim=0).abs().max() < bound
    assert (x * sign[:, None]).mean(dim=0).abs().max() < bound
    assert (x.T @ x / len(x) - torch.eye(20)).abs().max() < bound


def test_parity_keeps_the_sets_apart_even_where_rows_are_scarce() -> None:
    splits = load("sparse_parity[bits=6,k=2,train_rows=500,validation_rows=32]", Path())
    assert not rows_of(splits.train) & rows_of(splits.validation)
    assert len(rows_of(splits.train)) == 64 - len(rows_of(splits.validation))


# Gaussian mixture


def test_mixture_classes_have_their_means_and_unit_covariance() -> None:
    address = "gaussian_mixture[classes=4,dim=3,separation=5,train_rows=40000]"
    splits, means = load(address, Path()), task(address).means()
    for c in range(4):
        x = splits.train.inputs[splits.train.targets == c].double()
        assert len(x) == 10_000
        np.testing.assert_allclose(x.mean(dim=0), means[c], atol=5 / np.sqrt(len(x)))
        np.testing.assert_allclose(torch.cov(x.T), np.eye(3), atol=5 * np.sqrt(2 / len(x)))


@pytest.mark.parametrize("separation", [2.0, 6.0])
def test_mixture_means_are_the_separation_apart_in_root_mean_square(separation: float) -> None:
    means = task(f"gaussian_mixture[classes=600,dim=64,separation={separation}]").means()
    pairs = np.linalg.norm(means[::2] - means[1::2], axis=1)
    assert np.sqrt((pairs**2).mean()) == pytest.approx(separation, rel=0.03)


# bad parameters


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("digits[classes=1]", "digits has ten classes"),
        ("digits[classes=11]", "digits has ten classes"),
        ("modular[p=91]", "p is not a prime"),
        ("modular[p=1]", "p is not a prime"),
        ("modular[train_fraction=1]", "train_fraction leaves a split empty"),
        ("modular[train_fraction=0]", "train_fraction leaves a split empty"),
        ("modular[operation=power]", "not a known choice"),
        ("sparse_parity[bits=4,k=5,validation_rows=2]", "the relevant bits must be among the bits"),
        ("sparse_parity[bits=63]", "the relevant bits must be among the bits"),
        ("sparse_parity[bits=8]", "too few distinct rows"),
        ("sparse_parity[train_rows=0]", "a set without rows"),
        ("gaussian_mixture[classes=1]", "a mixture needs classes"),
        ("gaussian_mixture[separation=-1]", "separation is a distance"),
        ("gaussian_mixture[separation=nan]", "not a number"),
        ("gaussian_mixture[validation_rows=0]", "a set without rows"),
        ("mnist[validation_rows=0]", "validation needs rows"),
        ("char_lm[context=0]", "windows need characters"),
        ("word_lm[rows=0]", "windows need words"),
        ("word_lm[vocabulary=0]", "vocabulary is too small"),
        ("hub_text[vocabulary=0]", "texts need words"),
        ("arrays", "task 'arrays' needs the parameter 'path'"),
        ("spelling_to_sound[letters=3]", "letters is too small"),
        ("spelling_to_sound[rows=0]", "rows is too small"),
        ("ucr", "task 'ucr' needs the parameter 'dataset'"),
        ("ucr[dataset=../x]", "called by the name of its folder"),
    ],
)
def test_parameters_out_of_range_are_refused(address: str, text: str) -> None:
    with pytest.raises(BadParameter, match=text):
        task(address)


# MNIST, FashionMNIST, CIFAR-10


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def torchvision_class(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)


@pytest.fixture
def idx_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a small MNIST, whose md5 sums torchvision is told."""
    rng, raw = np.random.default_rng(0), tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part, n in (("train", 60), ("t10k", 30)):
        for what, array in (
            ("images-idx3", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            ("labels-idx1", (np.arange(n) % 10).astype(np.uint8)),
        ):
            file = raw / f"{part}-{what}-ubyte.gz"
            file.write_bytes(gzip.compress(idx(array)))
            resources.append((file.name, md5(file)))
    monkeypatch.setattr(torchvision_class("MNIST"), "resources", resources)
    return tmp_path


def pixels(file: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(file.read_bytes())[16:], dtype=np.uint8).reshape(-1, 28, 28)


def assert_images_are_pixels(
    splits: Splits, train: np.ndarray, test: np.ndarray, rows: np.ndarray, shown: np.ndarray | None = None
) -> None:
    """Validation has the test rows `rows`, the reference the rows `shown`, else the first. `train` and `test` uint8 [n, h, w] or [n, h, w, c], standardised in float64 here."""
    mean, std = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    pairs = (
        (splits.train, train),
        (splits.validation, test[rows]),
        (splits.reference, test[:512] if shown is None else test[shown]),
    )
    for split, images in pairs:
        nchw = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)
        np.testing.assert_allclose(split.inputs.numpy(), (nchw - mean) / std, atol=1e-6)


def test_mnist_is_read_offline_from_archives_in_a_root_that_cannot_be_written(idx_root: Path) -> None:
    raw = idx_root / "MNIST" / "raw"
    before = sorted(raw.iterdir())
    raw.chmod(0o555)
    try:
        splits = load("mnist[validation_rows=10]", idx_root)
    finally:
        raw.chmod(0o755)
    assert sorted(raw.iterdir()) == before
    rows = np.arange(0, 30, 3)
    train, test = (pixels(raw / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k"))
    assert_images_are_pixels(splits, train, test, rows)
    assert splits.validation.targets.tolist() == (rows % 10).tolist()
    assert splits.train.targets.tolist() == (np.arange(60) % 10).tolist()


def test_mnist_is_unpacked_once_and_then_read_from_the_cache(idx_root: Path, own_cache: Path) -> None:
    first = load("mnist", idx_root)
    unpacked = sorted(own_cache.rglob("*ubyte*"))
    assert len(unpacked) == 4
    assert all(p.suffix != ".gz" and not p.is_symlink() for p in unpacked)
    stamps = [p.stat().st_mtime_ns for p in unpacked]
    assert same(load("mnist", idx_root).train, first.train)
    assert [p.stat().st_mtime_ns for p in unpacked] == stamps


def test_mnist_is_read_in_place_where_it_is_unpacked_already(idx_root: Path, own_cache: Path) -> None:
    expected = load("mnist", idx_root)
    for file in (idx_root / "MNIST" / "raw").glob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert same(load("mnist", idx_root).train, expected.train)
    (idx_root / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    text = refusal("mnist", idx_root)
    assert "cannot be read" in text
    assert str(idx_root / "MNIST" / "raw") in text


def test_a_truncated_archive_is_named_and_left_as_it_is(idx_root: Path, own_cache: Path) -> None:
    file = idx_root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:1000])
    text = refusal("mnist", idx_root)
    assert text.startswith("cannot be read")
    assert str(file) in text
    assert f"universality data fetch mnist --data-root {idx_root}" in text
    assert len(file.read_bytes()) == 1000
    assert not list(own_cache.rglob("*ubyte*"))


@pytest.fixture
def served(idx_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server of this process that holds the archives of `idx_root`."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(Silent, directory=idx_root / "MNIST" / "raw")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_fetching_mnist_downloads_what_is_missing_or_damaged(
    idx_root: Path,
    served: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torchvision_class("MNIST"), "mirrors", [served])
    empty = tmp_path_factory.mktemp("empty")
    for damage in (False, True):
        if damage:
            (empty / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut")
        task("mnist").fetch(empty)
        assert [p.name for p in empty.iterdir()] == ["MNIST"]
        assert same(load("mnist", empty).train, load("mnist", idx_root).train)


def test_fetching_downloads_nothing_where_the_data_are_there(
    idx_root: Path, cifar_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision_class("MNIST"), "mirrors", [])
    monkeypatch.setattr(torchvision_class("CIFAR10"), "url", "file:///nowhere")
    task("mnist").fetch(idx_root)
    task("cifar10").fetch(cifar_root)
    (cifar_root / "cifar-10-python.tar.gz").unlink()
    task("cifar10").fetch(cifar_root)
    (cifar_root / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataUnavailable, match="cifar10 could not be downloaded"):
        task("cifar10").fetch(cifar_root)


def test_a_damaged_cache_is_named_as_such(idx_root: Path, own_cache: Path) -> None:
    load("mnist", idx_root)
    next(own_cache.rglob("train-images*")).write_bytes(b"\0\0\x08\x03")
    assert f"delete {own_cache}" in refusal("mnist", idx_root)


def test_without_a_network_fetching_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_class("FashionMNIST"), "mirrors", [f"file://{tmp_path}/nowhere/"])
    with pytest.raises(DataUnavailable, match="fashion_mnist could not be downloaded") as caught:
        task("fashion_mnist").fetch(tmp_path)
    assert "a network, or FashionMNIST/raw/train-images-idx3-ubyte.gz" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a small archive in the layout of CIFAR-10, whose md5 sums torchvision is told."""
    rng, folder = np.random.default_rng(0), tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    source = torchvision_class("CIFAR10")
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {
            "data": rng.integers(0, 256, (20, 3072), dtype=np.uint8),
            "labels": rng.permutation(20) % 10,
        }
        (folder / name).write_bytes(pickle.dumps({**batch, "labels": batch["labels"].tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    for attribute in ("train_list", "test_list"):
        known = [[name, md5(folder / name)] for name, _ in getattr(source, attribute)]
        monkeypatch.setattr(source, attribute, known)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(folder / "batches.meta")})
    with tarfile.open(tmp_path / source.filename, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    monkeypatch.setattr(source, "tgz_md5", md5(tmp_path / source.filename))
    return tmp_path


def test_cifar10_is_read_from_the_archive_and_from_its_folder(cifar_root: Path) -> None:
    folder = cifar_root / "cifar-10-batches-py"
    batches = [
        pickle.loads((folder / n).read_bytes())
        for n in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    ]
    images = [np.moveaxis(b["data"].reshape(-1, 3, 32, 32), 1, 3) for b in batches]
    splits = load("cifar10[validation_rows=5]", cifar_root)
    assert_images_are_pixels(splits, np.concatenate(images[:5]), images[5], np.arange(0, 20, 4))
    assert splits.validation.targets.tolist() == batches[5]["labels"][::4]
    (cifar_root / "cifar-10-python.tar.gz").unlink()
    assert same(load("cifar10[validation_rows=5]", cifar_root).train, splits.train)


def test_a_damaged_cifar10_is_refused_before_anything_of_it_is_unpickled(cifar_root: Path) -> None:
    archive = cifar_root / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-10])
    assert str(archive) in refusal("cifar10", cifar_root)
    archive.unlink()
    # Opcodes that would end this process if they were unpickled.
    (cifar_root / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cos\nabort\n(tR.")
    assert str(cifar_root / "cifar-10-batches-py") in refusal("cifar10", cifar_root)


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
        ("fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("char_lm", "tinyshakespeare/input.txt"),
        ("hub_text", "fancyzhx/ag_news/test.parquet"),
    ],
)
def test_absent_data_are_named_with_the_root_and_the_command(address: str, file: str, tmp_path: Path) -> None:
    text = refusal(address, tmp_path)
    assert file in text.splitlines()[0]
    assert f"data root {tmp_path}\n" in text
    assert text.endswith(f" universality data fetch {address} --data-root {tmp_path}")


def test_the_text_of_absent_data_is_complete() -> None:
    assert refusal("char_lm", Path("/nowhere/at all")) == (
        "no tinyshakespeare/input.txt\n"
        "  where: data root /nowhere/at all\n"
        "  do:    universality data fetch char_lm --data-root '/nowhere/at all'"
    )


# arrays


def test_arrays_of_images_are_standardised_in_channel_first_order(root: Path) -> None:
    with np.load(root / "images.npz") as arrays:
        splits = load("arrays[path=images.npz]", root)
        shown = drawn(arrays["test_x"], arrays["test_y"], 512)
        assert sorted(shown) == [*range(20)] != list(shown)
        assert_images_are_pixels(splits, arrays["train_x"], arrays["test_x"], np.arange(20), shown)
        assert splits.train.targets.tolist() == arrays["train_y"].tolist()
    assert (splits.inputs.kind, splits.inputs.shape, splits.outputs) == ("image", (3, 5, 6), 4)


def test_the_reference_of_arrays_is_drawn_and_the_same_in_whatever_order_the_file_has_its_rows(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    y = np.sort(np.arange(3000) % 5)
    x = rng.standard_normal((3000, 8)).astype(np.float32)
    x[1000:1100] = x[0]  # equal rows are drawn one by one
    found = []
    for name, order in (
        ("sorted", np.arange(3000)),
        ("interleaved", np.argsort(np.arange(3000) % 600, kind="stable")),
    ):
        save_arrays(
            tmp_path / f"{name}.npz",
            train_x=x[:40] + 100,
            train_y=np.arange(40) % 5,
            test_x=x[order],
            test_y=y[order],
        )
        found.append(load(f"arrays[path={name}.npz]", tmp_path).reference)
    assert same(*found)
    assert len(found[0]) == 512
    assert found[0].targets.bincount().min() > 70  # of 102 expected; the first 512 rows are of one class
    assert found[0].targets[:64].bincount(minlength=5).min() > 4  # some probes take the first of them
    doubled = int((found[0].inputs == torch.from_numpy(x[0])).all(1).sum())
    assert 5 < doubled < 35  # of 17 expected


def test_runs_of_arrays_that_were_compared_on_the_first_rows_are_other_runs(tmp_path: Path) -> None:
    file = save_arrays(tmp_path / "a.npz")
    assert task("arrays[path=a.npz]").content(tmp_path) != hashlib.sha256(file.read_bytes()).hexdigest()


def test_arrays_take_an_absolute_path(root: Path, tmp_path: Path) -> None:
    absolute = load(f"arrays[path={root / 'images.npz'}]", tmp_path)
    assert same(absolute.train, load("arrays[path=images.npz]", root).train)


def test_arrays_of_vectors_and_tokens_are_taken_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 7))
    save_arrays(tmp_path / "v.npz", train_x=x[:40], test_x=x[40:])
    vectors = load("arrays[path=v.npz]", tmp_path)
    np.testing.assert_array_equal(vectors.train.inputs, x[:40].astype(np.float32))
    assert (vectors.inputs.kind, vectors.inputs.shape) == ("vector", (7,))
    t = rng.integers(0, 9, (60, 4), dtype=np.int16)
    t[50, 0] = 11
    save_arrays(tmp_path / "t.npz", train_x=t[:40], test_x=t[40:])
    tokens = load("arrays[path=t.npz]", tmp_path)
    np.testing.assert_array_equal(tokens.validation.inputs, t[40:])
    assert (tokens.inputs.kind, tokens.inputs.shape, tokens.inputs.vocabulary) == ("tokens", (4,), 12)


def test_arrays_of_two_axes_of_uint8_must_say_what_they_are(tmp_path: Path) -> None:
    x = np.arange(240, dtype=np.uint8).reshape(60, 4)
    save_arrays(tmp_path / "a.npz", train_x=x[:40], test_x=x[40:])
    text = refusal("arrays[path=a.npz]", tmp_path, BadParameter)
    assert "the kind of input cannot be told" in text
    assert "arrays[path=a.npz,kind=image|vector|tokens|sequence]" in text
    assert load("arrays[path=a.npz,kind=tokens]", tmp_path).inputs.vocabulary == 240
    assert load("arrays[path=a.npz,kind=vector]", tmp_path).inputs.kind == "vector"


def bad_rows(value: float, dtype: Any = np.float64) -> np.ndarray:
    x = np.zeros((40, 3), dtype=dtype)
    x[7, 1] = value
    return x


VECTORS = {"train_x": np.zeros((40, 3)), "test_x": np.zeros((20, 3))}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train_y": np.arange(40) % 4 + 1}, "class 0 has no training rows"),
        ({"train_y": np.arange(40) % 4 * 2}, "class 1 has no training rows"),
        ({"train_y": np.arange(40) % 4 - 1}, "the smallest of the training labels is -1"),
        (
            {"train_y": np.arange(40) / 7, "test_y": np.where(np.arange(20) == 3, np.nan, 0.5)},
            "1 of the test targets are not finite in float32",
        ),
        ({"train_y": np.ones(40) / 2}, "1 columns are constant over the training rows: 0"),
        ({"train_y": np.ones((40, 2)) / 2}, "training targets of shape [40, 2], test targets [20]"),
        ({"train_y": np.zeros((40, 1), dtype=int)}, "training labels are int64 of shape [40, 1]"),
        ({"train_y": np.array(["a", "b"] * 20)}, "training labels are <U1"),
        ({"train_y": np.zeros(40, dtype=int)}, "there is only one class"),
        ({"train_y": np.arange(39) % 4}, "training inputs of shape [40, 5, 6, 3] with labels of shape [39]"),
        ({"test_y": np.arange(20) % 5}, "test class 4 has no training rows"),
        ({"test_x": np.zeros((0, 5, 6, 3), np.uint8), "test_y": np.zeros(0, int)}, "there are no test rows"),
        ({"test_x": np.zeros((20, 6, 5, 3), np.uint8)}, "test inputs uint8 [20, 6, 5, 3]"),
        ({"train_x": np.full((40, 5, 6, 3), 7, np.uint8)}, "all pixels are equal"),
        (
            {"train_x": np.zeros((40, 3, 5, 6), np.uint8), "test_x": np.zeros((20, 3, 5, 6), np.uint8)},
            "1 to 4 channels",
        ),
        (VECTORS | {"train_x": bad_rows(np.nan)}, "1 of the training inputs are not finite"),
        (VECTORS | {"train_x": bad_rows(np.inf)}, "1 of the training inputs are not finite"),
        (VECTORS | {"train_x": bad_rows(1e300)}, "1 of the training inputs are not finite"),
        ({"train_x": bad_rows(-5, int), "test_x": np.zeros((20, 3), int)}, "the token -5"),
        ({"train_x": None}, "an archive with train_y, test_x, test_y"),
        ({"train_y": np.array([{}] * 40, dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    file = save_arrays(tmp_path / "bad.npz", **changes)
    message = refusal("arrays[path=bad.npz]", tmp_path)
    assert text in message
    assert str(file) in message


IMAGES = np.random.default_rng(0).random((60, 5, 6, 3))
CONVERTIBLE = {
    "floats up to 1": (IMAGES, "np.rint(x * 255).astype(np.uint8)"),
    "floats up to 255": (IMAGES * 255, "np.rint(x).astype(np.uint8)"),
    "standardised": (IMAGES - 0.5, "np.rint((x - x.min()) / (x.max() - x.min()) * 255).astype(np.uint8)"),
    "channels first": (
        np.rint(IMAGES * 255).astype(np.uint8).transpose(0, 3, 1, 2),
        "x = x.transpose(0, 2, 3, 1)",
    ),
    "float32 with channels first": (
        IMAGES.astype(np.float32).transpose(0, 3, 1, 2),
        "x = x.transpose(0, 2, 3, 1); x = np.rint(x * 255).astype(np.uint8)",
    ),
    "one channel": (IMAGES[..., 0], "np.rint(x * 255).astype(np.uint8)"),
}


@pytest.mark.parametrize("kind", ["", ",kind=image"])
@pytest.mark.parametrize(("x", "steps"), CONVERTIBLE.values(), ids=CONVERTIBLE)
def test_what_is_advised_for_images_works(x: np.ndarray, steps: str, kind: str, tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", train_x=x[:40], test_x=x[40:])
    text = refusal(f"arrays[path=a.npz{kind}]", tmp_path, Exception)
    assert steps in text
    advised = text.partition("training rows: ")[2].partition(". Or make")[0]
    images = {"np": np, "x": x}
    exec(advised, images)
    save_arrays(tmp_path / "b.npz", train_x=images["x"][:40], test_x=images["x"][40:])
    assert load("arrays[path=b.npz]", tmp_path).inputs == InputSpec(
        "image", (3, 5, 6) if x.ndim == 4 else (1, 5, 6)
    )
    flat = x.reshape(len(x), -1).astype(float)
    save_arrays(tmp_path / "c.npz", train_x=flat[:40], test_x=flat[40:])
    assert "x.reshape(len(x), -1)" in text
    assert load("arrays[path=c.npz]", tmp_path).inputs.kind == "vector"


def test_more_channels_than_images_have_are_advised_to_be_vectors(tmp_path: Path) -> None:
    x = np.zeros((60, 8, 6, 7))
    save_arrays(tmp_path / "a.npz", train_x=x[:40], test_x=x[40:])
    assert "make vectors of all arrays: x.reshape(len(x), -1)" in refusal(
        "arrays[path=a.npz]", tmp_path, Exception
    )


def cut(file: Path, keep: float) -> Path:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    return file


@pytest.mark.parametrize("keep", [0, 0.01, 0.5, 0.99])
def test_a_truncated_npz_is_named(keep: float, tmp_path: Path) -> None:
    file = cut(save_arrays(tmp_path / "cut.npz"), keep)
    assert str(file) in refusal("arrays[path=cut.npz]", tmp_path)


def test_an_npz_with_flipped_bytes_is_named(tmp_path: Path) -> None:
    file = save_arrays(tmp_path / "flipped.npz")
    content = bytearray(file.read_bytes())
    content[600] ^= 0xFF
    file.write_bytes(content)
    assert "Bad CRC-32" in refusal("arrays[path=flipped.npz]", tmp_path)


def test_a_file_that_is_no_npz_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert str(tmp_path / "text.npz") in refusal("arrays[path=text.npz]", tmp_path)
    assert "a single array" in refusal("arrays[path=single.npy]", tmp_path)
    assert refusal("arrays[path=absent.npz]", tmp_path).startswith("no absent.npz")


# next character


def test_windows_are_the_text_followed_by_its_next_character(root: Path) -> None:
    text = (root / "letters.txt").read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    splits = load("char_lm[path=letters.txt,rows=2600,context=5,validation_rows=40]", root)
    assert splits.outputs == splits.inputs.vocabulary == len(alphabet)
    cut_at = 2700

    def decoded(split: Split) -> list[str]:
        rows = torch.cat([split.inputs, split.targets[:, None]], dim=1).tolist()
        return ["".join(alphabet[code] for code in row) for row in rows]

    windows = [text[i : i + 6] for i in range(cut_at - 5)]
    train = decoded(splits.train)
    assert len(set(train) - set(windows)) == 0
    # Draws are without replacement: no window occurs more often than in the text.
    assert all(train.count(w) <= windows.count(w) for w in set(train))
    starts = [cut_at + i * 295 // 40 for i in range(40)]
    assert decoded(splits.validation) == [text[i : i + 6] for i in starts]


def test_characters_outside_ascii_count_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("äö𝛼" * 40, encoding="utf-8")
    splits = load("char_lm[path=a.txt,rows=50,context=2]", tmp_path)
    assert splits.outputs == 3
    assert torch.equal(splits.train.targets, (splits.train.inputs[:, 1] + 1) % 3)


def test_a_text_that_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for letters in ("ab", "abc"):
        file.write_text(letters * 300)
        os.utime(file, (1, 1))
        assert load("char_lm[path=a.txt,rows=50]", tmp_path).outputs == len(letters)


def test_reading_text_prints_nothing_warns_of_nothing_and_leaves_nothing_behind(
    root: Path, own_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("char_lm[path=letters.txt,rows=200]", root)
        load("hub_text[dataset=reviews]", root)
    assert capfd.readouterr() == ("", "")
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "an empty file"), (b"caf\xe9 \xff" * 99, "UnicodeDecodeError")],
    ids=["empty", "latin-1"],
)
def test_a_text_that_cannot_be_read_is_named(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    message = refusal("char_lm[path=a.txt]", tmp_path)
    assert text in message
    assert str(tmp_path / "a.txt") in message


def test_a_text_too_short_for_its_windows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 50)
    message = refusal("char_lm[path=a.txt,context=8]", tmp_path, BadParameter)
    assert "100 characters, rows=20000, context=8" in message
    assert "rows <= 82 and context < 10" in message
    assert len(load("char_lm[path=a.txt,context=8,rows=82]", tmp_path).train) == 82


def test_a_truncated_tiny_shakespeare_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("First Citizen:\n" * 5000)
    assert "expected: sha256 86c4e6aa9db7" in refusal("char_lm", tmp_path)


def test_fetching_tiny_shakespeare_checks_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server.txt"
    server.write_text("to be or not " * 3000)
    monkeypatch.setattr(texts, "URL", server.as_uri())
    with pytest.raises(DataUnavailable, match="the download is not tiny shakespeare"):
        task("char_lm").fetch(tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    monkeypatch.setattr(texts, "SHA256", hashlib.sha256(server.read_bytes()).hexdigest())
    task("char_lm").fetch(tmp_path / "root")
    assert load("char_lm", tmp_path / "root").outputs == len(set("to be or not "))
    server.unlink()
    task("char_lm").fetch(tmp_path / "root")
    with pytest.raises(DataUnavailable, match="could not be downloaded"):
        task("char_lm").fetch(tmp_path / "other")


# next word


def test_words_are_numbered_by_their_frequency_in_the_training_part(tmp_path: Path) -> None:
    words = "B b, b-a <unk> it's " * 9 + "c c c c c c b b b-a zz zz"
    (tmp_path / "a.txt").write_text(words)
    splits = load("word_lm[path=a.txt,vocabulary=3,context=2,rows=50]", tmp_path)
    # 65 words, of which the first 58 count: b 20, then "," and b-a and it's, 9 each, and c 4
    numbers = {"b": 1, ",": 2, "b-a": 3}
    found = re.findall(r"<unk>|[^ ,]+|,", words.lower())
    coded = [numbers.get(word, 0) for word in found]
    assert len(coded) == 65
    windows = [coded[i : i + 3] for i in range(63)]
    for part, known in ((splits.train, windows[:56]), (splits.validation, windows[58:])):
        rows = torch.cat([part.inputs, part.targets[:, None]], dim=1).tolist()
        assert all(row in known for row in rows)
    assert splits.validation.targets.tolist() == coded[60:]
    assert (splits.outputs, splits.inputs) == (4, InputSpec("tokens", (2,), 4))


def test_what_project_gutenberg_writes_around_a_book_is_left_out(tmp_path: Path) -> None:
    book = "one two three " * 40
    for name, text in (
        (
            "book",
            f"free ebook\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n{book}\n*** END OF THIS\nlicence",
        ),
        ("plain", book),
    ):
        (tmp_path / f"{name}.txt").write_text(text)
    a, b = (load(f"word_lm[path={name}.txt,rows=50,context=2]", tmp_path) for name in ("book", "plain"))
    assert same(a.train, b.train)
    assert a.outputs == b.outputs == 4


# text classification


def test_words_become_tokens_by_frequency(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    frame = pd.DataFrame({"text": ["The the THE b b a", "a c", "zzz"], "label": [0, 1, 0]})
    frame.to_parquet(folder / "train-00000.parquet")
    frame.iloc[::-1].to_parquet(folder / "test-00000.parquet")
    splits = load("hub_text[dataset=d,vocabulary=3,context=4]", tmp_path)
    # the: 3 times, then a and b, twice each, in alphabetical order; c and zzz are unknown
    assert splits.train.inputs.tolist() == [[2, 2, 2, 4], [3, 1, 0, 0], [1, 0, 0, 0]]
    assert splits.validation.inputs.tolist() == splits.train.inputs.flip(0).tolist()
    assert splits.validation.targets.tolist() == [0, 1, 0]
    assert (splits.inputs.vocabulary, splits.outputs) == (5, 2)


def test_every_fifth_row_of_a_single_parquet_file_is_held_out(root: Path) -> None:
    splits = load("hub_text[dataset=reviews/train.parquet]", root)
    assert (len(splits.train), len(splits.validation)) == (24, 6)
    assert splits.validation.targets.tolist() == [i % 2 for i in range(4, 30, 5)]


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_parquet_file_is_named(keep: float, tmp_path: Path) -> None:
    file = cut(save_reviews(tmp_path / "d") / "test.parquet", keep)
    message = refusal("hub_text[dataset=d]", tmp_path)
    assert str(file) in message
    assert "delete the file, then universality data fetch 'hub_text[dataset=d]'" in message


def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_reviews(tmp_path / "d", stars=[1, 2, 3] * 10, topic=["a", "b"] * 15, gap=[1, None] * 15)
    assert "among text, label, stars, topic, gap" in refusal(
        "hub_text[dataset=d,text_column=body]", tmp_path, BadParameter
    )
    assert "strings in every row" in refusal("hub_text[dataset=d,text_column=stars]", tmp_path, BadParameter)
    assert "class 0 has no training rows" in refusal("hub_text[dataset=d,label_column=stars]", tmp_path)
    assert "training labels are <U1" in refusal("hub_text[dataset=d,label_column=topic]", tmp_path)
    assert "training labels are object" in refusal("hub_text[dataset=d,label_column=gap]", tmp_path)


def test_fetching_stores_the_hub_data_as_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    parts = {
        part: datasets.Dataset.from_dict({"text": ["a b", "c"] * 3, "label": [0, 1] * 3})
        for part in ("train", "test")
    }
    asked = []

    def hub(name: str, **_: Any) -> Any:
        asked.append(name)
        return datasets.DatasetDict(parts)

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load_dataset", hub)
        task("hub_text").fetch(tmp_path)
    assert asked == ["fancyzhx/ag_news"]
    assert len(load("hub_text", tmp_path).train) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["fancyzhx"]

    def offline(name: str, **_: Any) -> Any:
        raise ConnectionError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load_dataset", offline)
        with pytest.raises(DataUnavailable, match="owner/other could not be downloaded") as caught:
            task("hub_text[dataset=owner/other]").fetch(tmp_path)
    assert str(caught.value).endswith(
        f"universality data fetch 'hub_text[dataset=owner/other]' --data-root {tmp_path}"
    )


# places and unpacking


def test_the_data_root_is_given_or_from_the_environment_or_in_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNIVERSALITY_DATA", str(tmp_path))
    assert data.data_root("/elsewhere") == Path("/elsewhere")
    assert data.data_root() == tmp_path
    monkeypatch.delenv("UNIVERSALITY_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.data_root() == tmp_path / ".cache" / "universality" / "data"
    monkeypatch.delenv("UNIVERSALITY_CACHE")
    assert data.cache_root() == tmp_path / ".cache" / "universality"
    monkeypatch.chdir(tmp_path)
    assert data.data_root("here") == tmp_path / "here"


def test_folders_published_at_once_appear_whole_and_leave_nothing_else(tmp_path: Path) -> None:
    racers = 4
    all_filled = threading.Barrier(racers, timeout=30)

    def fill(folder: Path) -> None:
        (folder / "file").write_text("whole")
        all_filled.wait()

    with ThreadPoolExecutor(racers) as pool:
        made = list(pool.map(lambda _: data.filled_once(tmp_path / "made", fill), range(racers)))
    assert made == [tmp_path / "made"] * racers
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["made", "made/file"]


def test_a_folder_that_fails_to_fill_is_not_published(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(DataUnavailable, match="unpacking failed") as caught:
        data.filled_once(tmp_path / "made", fill)
    assert "No space left on device" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataUnavailable, match="cannot be written") as caught:
        data.filled_once(tmp_path / "file" / "made", lambda folder: None)
    assert "UNIVERSALITY_CACHE" in str(caught.value)


# the real files, where they are


@real_data
@pytest.mark.parametrize(
    ("address", "folder", "zeros"), [("mnist", "MNIST", 5923), ("fashion_mnist", "FashionMNIST", 6000)]
)
def test_the_official_idx_files_are_read_from_a_shared_folder(address: str, folder: str, zeros: int) -> None:
    raw = Path(REAL) / folder / "raw"
    if not (raw / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no {raw}")
    before = sorted(raw.iterdir())
    splits = load(address, Path(REAL))
    assert sorted(raw.iterdir()) == before
    assert (len(splits.train), len(splits.validation), len(splits.reference)) == (60_000, 2000, 512)
    assert int((splits.train.targets == 0).sum()) == zeros
    test = pixels(raw / "t10k-images-idx3-ubyte.gz")
    train = pixels(raw / "train-images-idx3-ubyte.gz")
    mean, std = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    np.testing.assert_allclose(splits.validation.inputs[:, 0], (test[::5] - mean) / std, atol=1e-6)


@real_data
def test_real_arrays_are_read() -> None:
    path = "mnist1d/mnist1d_data.npz"
    if not (Path(REAL) / path).is_file():
        pytest.skip(f"no {path}")
    splits = load(f"arrays[path={path}]", Path(REAL))
    assert (len(splits.train), len(splits.validation), splits.inputs.size) == (4000, 1000, 40)
    assert (splits.inputs.kind, splits.outputs) == ("vector", 10)


@real_data
def test_tiny_shakespeare_has_65_characters() -> None:
    if not (Path(REAL) / "tinyshakespeare" / "input.txt").is_file():
        pytest.skip("no tinyshakespeare")
    splits = load("char_lm", Path(REAL))
    assert (splits.outputs, len(splits.train), len(splits.validation)) == (65, 20_000, 2000)
    words = load("word_lm", Path(REAL))
    assert (words.outputs, len(words.train), len(words.validation)) == (1001, 20_000, 2000)
    assert float((words.train.targets == 0).float().mean()) == pytest.approx(0.145, abs=0.01)


# whitened, power_law


def test_whitened_inputs_are_white_and_a_linear_map_with_these_singular_values_fits_exactly(
    root: Path,
) -> None:
    splits = load("whitened[modes=3,top=4,ratio=2,rows=20]", root)
    for split in (splits.train, splits.validation):
        x, y = split.inputs.double(), split.targets.double()
        torch.testing.assert_close(x.T @ x / 20, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
        singular = torch.linalg.svdvals(y.T @ x / 20)
        torch.testing.assert_close(
            singular, torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(x @ splits.reference.targets.double(), y, atol=1e-5, rtol=0)


def test_power_laws_are_those_of_variances_and_coefficients(root: Path) -> None:
    train = load("power_law[rows=40000,dim=4,spectrum=1,target=2]", root).train
    x, y = train.inputs.double(), train.targets.double()
    variance = x.square().mean(0)
    torch.testing.assert_close(variance, 1 / torch.arange(1.0, 5.0).double(), rtol=0.05, atol=0)
    power = ((y.T @ (x / variance.sqrt())) / len(x)).square()[0]
    expected = torch.arange(1.0, 5.0).double() ** -2
    torch.testing.assert_close(power, expected / expected.sum(), atol=0.02, rtol=0)
