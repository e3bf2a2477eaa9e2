"""Rows are taken of a loader, and the training draws those that it would have drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)

from universality.watching.redrawn import OTHERS, PERHAPS
from universality.watching.rows import take_rows

ROWS = 32
OF_THE_FILE = np.random.default_rng(0)


class Numbered(Dataset[Any]):
    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return torch.full((4,), float(row)) + self.noise(), torch.tensor(row % 2)

    def noise(self) -> float:
        return 0.0


class Augmented(Numbered):
    """By a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def noise(self) -> float:
        return float(self.rng.normal())


class OfTheFile(Numbered):
    def noise(self) -> float:
        return float(OF_THE_FILE.normal())


class Counting(Numbered):
    calls = 0

    def noise(self) -> float:
        self.calls += 1
        return 1000.0 * self.calls


class Locked(Counting):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Streaming(Numbered):
    def __init__(self) -> None:
        self.stream = (1000.0 * k for k in range(10**6))

    def noise(self) -> float:
        return next(self.stream)


class Shuffled(Sampler[int]):
    def __init__(self) -> None:
        self.rng, self.epoch = np.random.default_rng(1), 0

    def __len__(self) -> int:
        return ROWS

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter((self.rng.permutation(ROWS) + ROWS * self.epoch) % ROWS)


class Wrapped:
    """A loader around a loader, as those have it that move batches to a device."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __iter__(self) -> Iterator[Any]:
        for x, y in self.inside:
            yield x + 1, y


def persistent() -> Any:
    generator = torch.Generator().manual_seed(1)
    loader: Any = DataLoader(
        Numbered(), 8, shuffle=True, num_workers=1, persistent_workers=True, generator=generator
    )
    list(loader)  # as for a mean and a deviation
    return loader


LOADERS: dict[str, Callable[[], Any]] = {
    "a generator of the data set": lambda: DataLoader(Augmented(), 8),
    "of a subset": lambda: DataLoader(Subset(Augmented(), range(16)), 8, shuffle=True),
    "of the file": lambda: DataLoader(OfTheFile(), 8),
    "a counter": lambda: DataLoader(Counting(), 8),
    "a sampler of one's own": lambda: DataLoader(Numbered(), 8, sampler=Shuffled()),
    "a generator of the loader": lambda: DataLoader(
        Numbered(), 8, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "workers that persist": persistent,
    "a loader inside": lambda: Wrapped(persistent()),
}
REDRAWN = ("a generator of the data set", "of a subset", "of the file", "a counter")


def rows_of(loader: Any) -> list[float]:
    return [float(value) for x, _ in loader for value in x[:, 0]]


@pytest.mark.parametrize("kind", LOADERS)
def test_a_training_draws_the_rows_that_it_would_have_drawn(kind: str) -> None:
    found = []
    for taking in (False, True):
        OF_THE_FILE.bit_generator.state = np.random.default_rng(0).bit_generator.state
        torch.manual_seed(0)
        loader = LOADERS[kind]()
        if taking:
            taken = take_rows(loader, 12, torch.device("cpu"), where="a test")
            assert taken.redrawn == (OTHERS if kind in REDRAWN else PERHAPS if "inside" in kind else "")
            told = "the first 12 rows of one pass through the loader, taken once"
            assert taken.note == "; ".join(filter(None, [told, taken.redrawn]))
        found.append((rows_of(loader), torch.rand(1).item()))
    assert found[0] == found[1]


class Mirrored(Numbered):
    """By the global generator, every other row."""

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = super().__getitem__(row)
        return (-x if torch.rand(1) < 0.5 else x), y


class ByBatch(Numbered):
    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return torch.full((8, 4), float(row)), torch.arange(8)


class Fresh(IterableDataset[Any]):
    """Rows that are made as they are asked for; `fixed`: always the same."""

    def __init__(self, *, fixed: bool) -> None:
        self.fixed = fixed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        own = torch.Generator().manual_seed(5) if self.fixed else None
        return ((torch.randn(4, generator=own), torch.tensor(row % 2)) for row in range(ROWS))


class Orders:
    """A loader of one's own, that shuffles."""

    def __iter__(self) -> Iterator[Any]:
        x, y = torch.arange(ROWS * 4.0).reshape(ROWS, 4), torch.arange(ROWS) % 2
        return ((x[rows], y[rows]) for rows in torch.randperm(ROWS).split(10))


class OfDicts(Wrapped):
    def __iter__(self) -> Iterator[Any]:
        for batch in self.inside:
            yield batch["x"], batch["y"]


def named(rows: list[Any]) -> dict[str, Tensor]:
    return {"x": torch.stack([row[0] for row in rows]), "y": torch.stack([row[1] for row in rows])}


def mixed(rows: list[Any]) -> tuple[Tensor, Tensor]:
    x, y = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
    return x + torch.rand(1) * x.flip(0), y


def numbered(**options: Any) -> Any:
    return DataLoader(Numbered(), **{"batch_size": 10, **options})


ANOTHER_PASS: dict[str, tuple[Any, int, str]] = {
    "fixed": (numbered(), 99, ""),
    "a tensor with a NaN": ([(torch.full((9, 4), torch.nan), torch.arange(9))], 99, ""),
    "shuffled": (numbered(shuffle=True), 99, ""),
    "shuffled, the first rows": (numbered(shuffle=True), 12, ""),
    "shuffled, no smaller batch": (numbered(shuffle=True, drop_last=True), 99, ""),
    "shuffled, in a worker": (numbered(shuffle=True, num_workers=2), 12, ""),
    "with replacement": (numbered(sampler=RandomSampler(Numbered(), replacement=True)), 99, OTHERS),
    "mirrored": (DataLoader(Mirrored(), 10), 99, OTHERS),
    "mirrored, the first rows": (DataLoader(Mirrored(), 1, shuffle=True), 12, OTHERS),
    "mirrored, in a worker": (DataLoader(Mirrored(), 10, shuffle=True, num_workers=1), 12, OTHERS),
    "mixed": (numbered(shuffle=True, collate_fn=mixed), 12, OTHERS),
    "a batch for a key, the first": (DataLoader(ByBatch(), None, shuffle=True), 12, ""),
    "fresh rows": (DataLoader(Fresh(fixed=False), 10), 99, OTHERS),
    "fresh rows, the first": (DataLoader(Fresh(fixed=False), 10), 12, PERHAPS),
    "a stream that repeats": (DataLoader(Fresh(fixed=True), 10), 12, ""),
    "a loader of one's own": (Orders(), 99, ""),
    "a loader of one's own, the first rows": (Orders(), 12, PERHAPS),
    "a wrapped shuffle": (Wrapped(numbered(shuffle=True, drop_last=True)), 99, PERHAPS),
    "a wrapped mirror": (Wrapped(DataLoader(Mirrored(), 10)), 12, OTHERS),
    "a wrapped mirror of dicts": (OfDicts(DataLoader(Mirrored(), 10, collate_fn=named)), 12, OTHERS),
    "a wrapped shuffle of dicts": (OfDicts(numbered(shuffle=True, collate_fn=named)), 12, PERHAPS),
}


@pytest.mark.parametrize("kind", ANOTHER_PASS)
def test_whether_another_pass_gives_other_rows_is_told(kind: str) -> None:
    loader, most, told = ANOTHER_PASS[kind]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    taken = take_rows(loader, most, torch.device("cpu"), where="a test")
    assert torch.equal(torch.get_rng_state(), before)
    assert taken.redrawn == told
    assert taken.note.endswith(told or "taken once")


class InPlace:
    """Writes every pass into the same memory."""

    def __init__(self) -> None:
        self.x, self.passes = torch.zeros(9, 4), 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        yield self.x.fill_(self.passes), torch.arange(9)


def test_rows_are_those_of_the_first_pass() -> None:
    taken = take_rows(InPlace(), 99, torch.device("cpu"), where="a test")
    assert taken.redrawn == OTHERS
    assert taken.split.inputs.unique().tolist() == [1.0]


class Once(Numbered):
    """Cannot be asked again."""

    asked = 0

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        self.asked += 1
        if self.asked > ROWS:
            raise OSError("the connection was closed")
        return super().__getitem__(row)


def test_a_second_look_that_raises_is_told_and_ends_nothing() -> None:
    taken = take_rows(DataLoader(Once(), 8), 99, torch.device("cpu"), where="a test")
    assert len(taken.split) == ROWS
    assert taken.redrawn.endswith("is not known: OSError: the connection was closed")


def test_of_a_stream_that_cannot_be_put_back_no_second_look_takes_anything() -> None:
    data = Streaming()
    take_rows(DataLoader(data, 8), 12, torch.device("cpu"), where="a test")
    assert next(data.stream) == 16000.0


@pytest.mark.parametrize("wrap", [lambda loader: loader, Wrapped])
def test_an_epoch_in_course_of_workers_that_persist_loses_no_batch(wrap: Any) -> None:
    inside = DataLoader(Numbered(), 8, num_workers=1, persistent_workers=True)
    loader = wrap(inside)
    course = iter(loader)
    first = next(course)
    take_rows(loader, 12, torch.device("cpu"), where="a test")
    assert len(rows_of([first, *course])) == ROWS
    workers = inside._iterator
    assert len(rows_of(loader)) == ROWS
    assert inside._iterator is workers


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (Locked(), "dataset holds a lock, a thread or a file"),
        (Streaming(), "dataset.stream cannot be copied"),
    ],
)
def test_what_cannot_be_put_back_is_told(data: Any, note: str) -> None:
    assert note in take_rows(DataLoader(data, 8), 12, torch.device("cpu"), where="a test").note


class Odd(Numbered):
    """An object that cannot be looked into."""

    __slots__ = ("rng",)

    def __getattr__(self, name: str) -> Any:
        if name == "rng":
            raise RuntimeError("not open yet")
        raise AttributeError(name)


def test_of_a_data_set_that_cannot_be_looked_into_the_loaders_generators_are_put_back() -> None:
    loader: Any = DataLoader(Odd(), 8, shuffle=True, generator=torch.Generator().manual_seed(3))
    before = loader.generator.get_state()
    note = take_rows(loader, 12, torch.device("cpu"), where="a test").note
    assert "the loader's generators alone are put back: RuntimeError: not open yet" in note
    assert torch.equal(loader.generator.get_state(), before)


def test_the_data_themselves_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    from universality.watching.loader_state import LoaderState

    rows = TensorDataset(torch.zeros(ROWS, 4), torch.zeros(ROWS))
    samples: Any = Numbered()
    samples.names, samples.array = [{"name": str(k)} for k in range(5000)], np.zeros(8)
    for data in (rows, samples):
        saved = [kept.saved for kept in LoaderState(DataLoader(data, 8)).kept]
        assert not any(isinstance(each, Tensor | np.ndarray) for each in saved)
        assert len(saved) < 100
