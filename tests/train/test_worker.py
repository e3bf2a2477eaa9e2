"""A worker trains on the GPU of its slot, and only what was planned."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.errors import DataUnavailable, StoreError, UniversalityError
from universality.plan.runs_file import PlannedRun
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.sources import edition, sources_of
from universality.plugin.spec import Recipe, RunSpec
from universality.store.store import Store
from universality.train import printed, worker
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


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("error", [DataUnavailable, StoreError])
def test_what_a_machine_lacks_fails_no_run(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int, error: type[UniversalityError]
) -> None:
    def absent(*args: object) -> None:
        raise error("not on this machine")

    monkeypatch.setattr(worker, "load_splits", absent)
    parts = {
        kind: component(registry.resolve(kind, name))
        for kind, name in (("architecture", "toy_net"), ("task", "toy_points"))
    }
    specs = [
        RunSpec(**parts, recipe=Recipe(steps=2, lr=0.1), seed=seed, sources=sources_of(*parts.items()))
        for seed in range(members)
    ]
    settings = WorkerSettings(store_root=tmp_path / "r", device="cpu", plugins=(), data_root=tmp_path)
    stack = [PlannedRun(spec=spec, observe={}) for spec in specs]
    with pytest.raises(error, match="not on this machine"):
        list(worker.replies(stack, Store.create(tmp_path / "r"), settings))


def test_data_that_differs_from_that_of_the_plan_is_not_trained_on(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        kind: component(registry.resolve(kind, name))
        for kind, name in (("architecture", "toy_net"), ("task", "toy_points"))
    }
    spec = RunSpec(**parts, recipe=Recipe(steps=2, lr=0.1), seed=0, sources=sources_of(*parts.items()))
    monkeypatch.setattr(registry.plugin_class("task", "toy_points"), "content", lambda task, root: "f" * 64)
    settings = WorkerSettings(store_root=tmp_path / "r", device="cpu", plugins=(), data_root=tmp_path)
    with pytest.raises(DataUnavailable, match="another than these runs were planned with") as caught:
        list(worker.replies([PlannedRun(spec=spec, observe={})], Store.create(tmp_path / "r"), settings))
    assert (caught.value.got, caught.value.expected) == ("content ffffffffffff", "none")


PRINTING = """
from dataclasses import dataclass
from universality.plugin import Probe, register

@register("printing")
@dataclass(kw_only=True)
class Printing(Probe):
    fail: bool = False

    def record(self, training):
        print("a line\\n" * 1000 + f"at step {training.step}")
        if self.fail:
            raise ValueError("no")
        return {"step": float(training.step)}
"""


@pytest.mark.parametrize("fail", [False, True])
def test_what_is_printed_in_a_training_is_kept_with_it_in_part(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fail: bool
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "printing.py").write_text(PRINTING)
    registry.load_plugins([tmp_path / "more"])
    parts = {
        kind: component(registry.resolve(kind, name))
        for kind, name in (("architecture", "toy_net"), ("task", "toy_points"))
    }
    spec = RunSpec(**parts, recipe=Recipe(steps=2, lr=0.1), seed=0, sources=sources_of(*parts.items()))
    planned = PlannedRun(spec=spec, observe={edition(f"printing[fail={fail}]"): (0, 2)})
    settings = WorkerSettings(store_root=tmp_path / "r", device="cpu", plugins=(), data_root=tmp_path)
    store = Store.create(tmp_path / "r")
    (reply,) = worker.replies([planned], store, settings)
    assert reply.state == ("failed" if fail else "done")
    kept = reply.traceback if fail else next(store.recordings(spec.id)).folder.joinpath("log.txt").read_text()
    assert re.search(r"printed, the last 2000 of [\d,]+ characters:\n", kept)
    assert kept.endswith(f"a line\nat step {0 if fail else 2}\n")
    assert len(kept) < 10_000
    assert "at step 0" in capsys.readouterr().out
    assert not isinstance(sys.stdout, printed._Kept)
