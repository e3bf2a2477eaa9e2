"""A worker trains on the GPU of its slot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.store.store import Store
from universality.train import worker
from universality.train.messages import RunReply, WorkerSettings


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
    served: list[WorkerSettings] = []

    def replies(stack: Any, store: Store, settings: WorkerSettings) -> Iterator[RunReply]:
        served.append(settings)
        return iter(())

    monkeypatch.setattr(worker, "replies", replies)
    monkeypatch.setattr(worker, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    Store.create(tmp_path)
    asked = WorkerSettings(
        store_root=tmp_path, device=device, plugins=(), data_root=tmp_path, engine="fused", slot=slot
    )
    worker.prepare(asked)([])
    assert served == [replace(asked, device=expected)]
