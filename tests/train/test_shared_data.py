"""Shared data is what the task gives, to the last bit, loaded once; what goes wrong with it costs nothing else."""

from __future__ import annotations

import errno
import gc
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from universality.errors import DataUnavailable
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.data import data_root
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.store import files
from universality.store.owner import owner_tag
from universality.store.store import Store
from universality.train import shared_data as module
from universality.train import worker
from universality.train.executors import local
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings
from universality.train.shared_data import load_shared


def some_splits(seed: int = 0, rows: int = 20) -> Splits:
    generator = torch.Generator().manual_seed(seed)

    def split(n: int) -> Split:
        return Split(
            torch.randn(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)
        )

    return Splits(split(rows), split(5), split(4), InputSpec("image", (1, 4, 4)), 3)


@dataclass
class Loader:
    splits: Splits
    calls: int = 0

    def __call__(self) -> Splits:
        self.calls += 1
        return self.splits


def assert_the_same_data(found: Splits, expected: Splits) -> None:
    assert (found.inputs, found.outputs) == (expected.inputs, expected.outputs)
    for part in ("train", "validation", "reference"):
        for kind in ("inputs", "targets"):
            a, b = (getattr(getattr(splits, part), kind) for splits in (found, expected))
            assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
            assert a.numpy().tobytes() == b.numpy().tobytes()


def is_mapped(tensor: torch.Tensor, folder: Path) -> bool:
    """Whether the tensor's numbers are those of a file in the folder, by the kernel's own account."""
    address = tensor.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            return str(folder) in line
    return False


BUILT_IN = (
    "digits",
    "modular[p=7]",
    "sparse_parity",
    "gaussian_mixture[dim=4]",
    "digits[label_noise=0.2]",
)


@pytest.mark.parametrize("address", BUILT_IN)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_mapped_is_what_was_loaded(address: str, seed: int, tmp_path: Path) -> None:
    task = registry.resolve("task", address)
    loader = Loader(task.load(np.random.default_rng(seed), tmp_path))
    for _ in range(2):
        found = load_shared(tmp_path, "data", loader)
        assert_the_same_data(found, loader.splits)
        assert is_mapped(found.train.inputs, tmp_path)
        assert found.train.inputs.data_ptr() % 64 == 0
    assert loader.calls == 1


def test_equal_tensors_are_one_file_and_one_tensor_and_different_ones_are_not(tmp_path: Path) -> None:
    one = some_splits()
    noisy = replace(one, train=Split(one.train.inputs.clone(), (one.train.targets + 1) % 3))
    a, b = load_shared(tmp_path, "a", Loader(one)), load_shared(tmp_path, "b", Loader(noisy))
    assert a.train.inputs is b.train.inputs
    assert a.train.targets is not b.train.targets
    assert_the_same_data(b, noisy)
    assert len([path for path in tmp_path.iterdir() if path.suffix != ".json"]) == 7


def test_the_same_bytes_of_another_form_are_another_tensor(tmp_path: Path) -> None:
    one = some_splits(rows=16)
    flat = Split(one.train.inputs.reshape(16, 16), one.train.inputs.reshape(-1)[:16].view(torch.int32).long())
    bits = Split(one.train.inputs.view(torch.int32), one.train.targets)
    other = replace(one, train=flat, validation=bits)
    load_shared(tmp_path, "one", Loader(one))
    assert_the_same_data(load_shared(tmp_path, "other", Loader(other)), other)


def test_writing_to_mapped_data_reaches_neither_the_file_nor_the_next(tmp_path: Path) -> None:
    loader = Loader(some_splits())
    expected = loader.splits.train.inputs.clone()
    mine = load_shared(tmp_path, "data", loader)
    mine.train.inputs.zero_()
    del mine
    gc.collect()
    assert torch.equal(load_shared(tmp_path, "data", loader).train.inputs, expected)
    assert loader.calls == 1


def transposed() -> Splits:
    one = some_splits()
    return replace(one, train=Split(one.train.inputs.transpose(2, 3), one.train.targets))


def test_data_whose_layout_a_file_cannot_say_is_left_as_it_is(tmp_path: Path) -> None:
    loader = Loader(transposed())
    for _ in range(2):
        assert load_shared(tmp_path, "data", loader) is loader.splits
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_where_results_would_run_out_of_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(some_splits())
    size = sum(t.nbytes for s in (loader.splits.train, loader.splits.validation, loader.splits.reference)
               for t in (s.inputs, s.targets))  # fmt: skip
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=4 * size))
    assert load_shared(tmp_path, "data", loader) is loader.splits
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=4 * size + 1))
    assert load_shared(tmp_path, "data", loader) is not loader.splits


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("damage", [cut, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("what", ["*.json", "[0-9a-f]*"])
def test_what_was_lost_or_damaged_is_loaded_anew(
    damage: Callable[[Path], object], what: str, tmp_path: Path
) -> None:
    loader = Loader(some_splits())
    load_shared(tmp_path, "data", loader)
    gc.collect()
    for path in [path for path in tmp_path.glob(what) if what == "*.json" or path.suffix != ".json"]:
        damage(path)
    assert_the_same_data(load_shared(tmp_path, "data", loader), loader.splits)


def test_a_full_disk_costs_the_sharing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(some_splits())
    monkeypatch.setattr(files.os, "replace", no_space)
    assert load_shared(tmp_path, "data", loader) is loader.splits
    assert list(tmp_path.iterdir()) == []
    assert load_shared(tmp_path / "cleared by somebody", "data", loader) is loader.splits


def test_a_mistake_of_the_task_is_its_own(tmp_path: Path) -> None:
    def load() -> Splits:
        raise DataUnavailable("no points")

    with pytest.raises(DataUnavailable, match="no points"):
        load_shared(tmp_path, "data", load)


def test_the_folder_goes_with_its_command_and_another_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    with store.work_folder() as folder:
        load_shared(folder, "data", Loader(some_splits()))
        Store.open(tmp_path, writable=True)
        assert len(list(folder.iterdir())) == 7  # of a living process
    assert list(store.layout.tmp.iterdir()) == []
    machine = owner_tag().split("-")[0]
    dead = store.layout.tmp / f"{machine}-{2**22 + 1}-0"  # beyond the largest process id
    dead.mkdir()
    load_shared(dead, "data", Loader(some_splits()))
    Store.open(tmp_path, writable=True)
    assert list(store.layout.tmp.iterdir()) == []


# ------------------------------------------------------------------------------- in a command


@dataclass
class Job:
    spec: RunSpec
    observe: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    stack: int = 1


def jobs() -> list[Job]:
    task = component(registry.resolve("task", "digits[subset=40]"))
    nets = [component(registry.resolve("architecture", f"mlp[width={width}]")) for width in (5, 6, 7)]
    recipe = Recipe(steps=6, lr=0.1)
    return [Job(RunSpec(net, task, recipe, seed), {"accuracy": (0, 6)}) for net in nets for seed in (0, 1)]


def test_runs_on_shared_data_are_those_on_loaded_data_and_nothing_is_left(tmp_path: Path) -> None:
    found = {}
    for slots in (0, 1, 2):
        root = tmp_path / str(slots)
        store = Store.create(root)
        settings = WorkerSettings(store_root=root, device="cpu", plugins=(), data_root=data_root())
        states = run_all(jobs(), settings, slots=slots, timeout_s=100.0, on_event=lambda event: None)
        assert set(states.values()) == {"done"}
        assert list(store.layout.tmp.iterdir()) == []
        found[slots] = {run: (root / "runs" / run / "arrays.safetensors").read_bytes() for run in states}
    assert found[0] == found[1] == found[2]


def test_a_task_is_read_once_for_all_workers_of_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that share a folder, one after another in this process: the second reads no data set."""
    task = registry.resolve("task", "digits[subset=40]")
    reads, read = [], type(task).read

    def counted(self: object, *arguments: object) -> Splits:
        reads.append(self)
        return read(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(task), "read", counted)
    for each in range(3):
        worker._kept.clear()  # a new process
        splits = worker._load(task, 0, tmp_path, tmp_path)
        assert len(splits.train) == 40
        assert len(reads) == 1, each
    worker._load(task, 1, tmp_path, tmp_path)
    assert len(reads) == 2
    worker._kept.clear()
    worker._load(task, 0, tmp_path, None)
    assert len(reads) == 3


def test_a_process_keeps_the_data_of_the_last_seeds_up_to_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = registry.resolve("task", "digits[subset=40]")
    worker._kept.clear()
    first = worker._load(task, 0, Path(), None)
    assert worker._load(task, 0, Path(), None) is first
    monkeypatch.setattr(worker, "KEPT", 1)
    monkeypatch.setattr(worker, "KEPT_BYTES", worker._bytes([first]) * 5 // 2)
    second = worker._load(task, 1, Path(), None)
    assert worker._load(task, 0, Path(), None) is first
    third = worker._load(task, 2, Path(), None)
    assert [id(each) for each in worker._kept.values()] == [id(first), id(third)], "the second waited longest"
    assert worker._bytes([first, first]) == worker._bytes([first]) < worker._bytes([first, second])
    monkeypatch.setattr(worker, "KEPT", 3)
    monkeypatch.setattr(worker, "KEPT_BYTES", 0)
    for seed in range(5):
        worker._load(task, seed, Path(), None)
    assert len(worker._kept) == 3, "however large"


def test_one_worker_alone_is_given_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Stop(Exception):
        pass

    def started(*arguments: object) -> None:
        settings = arguments[-1]
        assert isinstance(settings, WorkerSettings)
        folder = settings.shared_data
        given.append(folder is not None and folder.is_dir())
        raise Stop

    monkeypatch.setattr(local, "Supervisor", started)
    Store.create(tmp_path)
    settings = WorkerSettings(store_root=tmp_path, device="cpu", plugins=(), data_root=tmp_path)
    for slots in (1, 2):
        with pytest.raises(Stop):
            run_all(jobs(), settings, slots=slots, timeout_s=1.0, on_event=lambda event: None)
    assert given == [False, True]
