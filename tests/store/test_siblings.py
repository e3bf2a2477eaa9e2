"""Runs of one set serve another: taken over where they are the same run of a like machine, else trained."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.test_store import a_recording, a_spec
from universality.plugin.spec import RunSpec
from universality.store.environment import environment
from universality.store.siblings import take_over
from universality.store.store import Store

HERE = environment("cpu")
OBSERVED = a_recording().observed


def a_set(folder: Path, *seeds: int, device: str = "cpu") -> Store:
    store = Store.create(folder)
    for seed in seeds:
        store.publish(a_recording(spec=a_spec(seed)), device=device)
    return store


def wanted(*seeds: int) -> dict[str, object]:
    return {a_spec(seed).id: OBSERVED for seed in seeds}


def test_what_a_set_beside_this_one_holds_is_taken_over_once(tmp_path: Path) -> None:
    first, _ = a_set(tmp_path / "first", 0, 1), a_set(tmp_path / "second", 1, 2)
    store = a_set(tmp_path / "mine", 3)
    assert take_over(wanted(0, 1, 2, 4), store, HERE) == {"first": 2, "second": 1}
    assert store.run_ids() == sorted(a_spec(seed).id for seed in (0, 1, 2, 3))
    found = store.trajectory(a_spec(0).id, OBSERVED)
    assert found is not None
    assert found.folder.parent == store.layout.runs
    assert os.stat(found.folder / "arrays.safetensors").st_nlink == 2
    first.discard({a_spec(0).id})
    assert Store.open(tmp_path / "mine").covers(a_spec(0).id, OBSERVED)


def test_files_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("links are not supported")

    a_set(tmp_path / "first", 0)
    store = a_set(tmp_path / "mine")
    monkeypatch.setattr(os, "link", refuse)
    assert take_over(wanted(0), store, HERE) == {"first": 1}
    found = store.trajectory(a_spec(0).id, OBSERVED)
    assert found is not None
    assert os.stat(found.folder / "arrays.safetensors").st_nlink == 1


def test_runs_of_another_machine_or_that_observed_less_or_are_damaged_are_trained(tmp_path: Path) -> None:
    a_set(tmp_path / "elsewhere", 0, device="cuda")
    less = Store.create(tmp_path / "less")
    less.publish(replace(a_recording(spec=a_spec(1)), observed={}, arrays={}), device="cpu")
    damaged = a_set(tmp_path / "damaged", 2)
    facts = damaged.layout.recording(a_spec(2).id, 1) / "facts.json"
    facts.write_bytes(facts.read_bytes()[:-3])
    store = a_set(tmp_path / "mine")
    assert take_over(wanted(0, 1, 2), store, HERE) == {}
    assert store.run_ids() == []


def test_folders_that_are_no_sets_or_of_another_version_are_passed_over(tmp_path: Path) -> None:
    a_set(tmp_path / "old", 0)
    manifest = tmp_path / "old" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    (tmp_path / "notes" / "runs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "old")
    store = a_set(tmp_path / "mine")
    spec: RunSpec = a_spec(0)
    assert take_over({spec.id: OBSERVED}, store, HERE) == {}
