"""A worker trains on the GPU of its slot, and only what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.plan.plan_json import PlannedRun
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.sources import edition, sources_of
from universality.plugin.spec import Recipe, RunSpec
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


@pytest.mark.parametrize("edited", ["architecture", "probe", ""])
def test_a_run_whose_plugin_was_edited_meanwhile_fails_and_says_so(
    toys: Path, tmp_path: Path, edited: str
) -> None:
    parts = {
        kind: component(registry.resolve(kind, name))
        for kind, name in (("architecture", "toy_net"), ("task", "toy_points"))
    }
    sources = sources_of(*parts.items())
    probe = edition("toy_probe")
    spec = RunSpec(**parts, recipe=Recipe(steps=2, lr=0.1), seed=0, sources=sources)
    if edited == "architecture":
        spec = replace(spec, sources=(("architecture toy_net", "0" * 64), *dict(sources or ()).items())[:2])
    planned = PlannedRun(spec=spec, observe={"toy_probe@" + 16 * "0" if edited == "probe" else probe: (0, 2)})
    store = Store.create(tmp_path / "r")
    settings = WorkerSettings(
        store_root=tmp_path / "r", device="cpu", plugins=(str(toys),), data_root=tmp_path
    )
    (reply,) = worker.replies([planned], store, settings)
    if edited:
        assert (reply.state, reply.run_id) == ("failed", spec.id)
        assert reply.message.startswith("BadParameter: a plugin was edited while its runs were trained\n")
        assert f"{edited} 'toy_{'net' if edited == 'architecture' else 'probe'}'" in reply.message
        return
    assert reply.state == "done"
    (recording,) = store.recordings(spec.id)
    assert recording.observed == {probe: (0, 2)}
    assert list(recording.series("toy_probe.step").values) == [0.0, 2.0]
