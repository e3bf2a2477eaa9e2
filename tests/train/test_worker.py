"""What a worker settles before it trains: precision, the GPU of its slot, what it records of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.store.environment import environment
from universality.store.store import Store
from universality.train import worker


@pytest.fixture
def tf32_restored() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    "backend", [torch.backends.cuda.matmul, torch.backends.cudnn], ids=["matmul", "cudnn"]
)
def test_tf32_is_off_whoever_turned_it_on_and_the_environment_says_which(
    backend: Any, tf32_restored: None
) -> None:
    worker.configure(threads=1)
    assert environment()["tf32"] is False
    backend.allow_tf32 = True
    assert environment()["tf32"] is True
    worker.configure(threads=1)
    assert environment()["tf32"] is False


def test_algorithms_are_deterministic_and_new_memory_is_not_filled_for_it() -> None:
    worker.configure(threads=1)
    assert environment()["deterministic"] is True
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]


class OneJob:
    """A pipe with one job."""

    def __init__(self) -> None:
        self._left: list[dict[str, Any] | None] = [{"job": 1}, None]

    def recv(self) -> Any:
        return self._left.pop(0)

    def send(self, reply: Any, /) -> None:
        pass


@pytest.mark.parametrize(
    ("device", "gpus", "slot", "expected"),
    [
        ("cuda", 2, 0, "cuda:0"),
        ("cuda", 2, 1, "cuda:1"),
        ("cuda", 2, 2, "cuda:0"),
        ("cuda", 1, 3, "cuda:0"),
        ("cuda:1", 2, 0, "cuda:1"),
        ("cpu", 0, 5, "cpu"),
    ],
)
def test_slots_take_turns_on_the_gpus_and_share_them_where_they_are_more(
    device: str, gpus: int, slot: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[worker.Place] = []

    def answers(message: Any, store: Store, place: worker.Place) -> Iterator[dict[str, Any]]:
        places.append(place)
        return iter(())

    monkeypatch.setattr(worker, "answers", answers)
    monkeypatch.setattr(worker, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    Store.create(tmp_path)
    settings = {"store_root": str(tmp_path), "device": device, "plugins": [], "data_root": "", "slot": slot,
                "engine": "fused", "prepared": ""}  # fmt: skip
    worker.main(OneJob(), settings)
    (place,) = places
    assert (str(place.device), place.engine, place.prepared) == (expected, "fused", None)
