"""Runs that an edit of a plugin leaves behind are counted, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from universality.plan.edited import edited_plugins
from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.store import Recording, Store

NEW, OLD = "b" * 64, "a" * 64


def spec(seed: int = 0, **more: Any) -> RunSpec:
    base = RunSpec(Component("net"), Component("points"), Recipe(steps=4, lr=0.1), seed)
    return replace(base, **{"sources": (("architecture net", NEW), ("task points", OLD)), **more})


def store_with(root: Path, runs: Sequence[tuple[RunSpec, Mapping[str, Sequence[int]]]]) -> Store:
    store = Store.create(root / "r")
    for each, observed in runs:
        store.publish(
            Recording(spec=each, state="done", series={}, arrays={}, observed=observed, facts={}, seconds=1.0)
        )
    return store


def job(seed: int = 0, probe: str = "accuracy", **more: Any) -> Job:
    return Job(spec(seed, **more), {probe: (0,)})


BEFORE = (("architecture net", OLD), ("task points", OLD))


@pytest.mark.parametrize(
    ("stored", "lines"),
    [
        ([], []),
        ([spec(0), spec(1)], []),
        (
            [spec(0, sources=BEFORE)],
            ["architecture net was edited since 1 stored run was made: it is trained again"],
        ),
        (
            [spec(0, sources=BEFORE), spec(1, sources=BEFORE)],
            ["architecture net was edited since 2 stored runs were made: they are trained again"],
        ),
        ([spec(7, sources=BEFORE)], []),
        ([spec(0, sources=BEFORE, recipe=Recipe(steps=5, lr=0.1))], []),
        (
            [spec(0, sources=UNSET)],
            [
                f"{name} was edited since 1 stored run was made: it is trained again"
                for name in ("architecture net", "task points")
            ],
        ),
    ],
    ids=["nothing", "the same", "one", "two", "another seed", "another recipe", "made without sources"],
)
def test_runs_of_an_earlier_edition_are_counted(
    tmp_path: Path, stored: list[RunSpec], lines: list[str]
) -> None:
    store = store_with(tmp_path, [(each, {"accuracy": (0,)}) for each in stored])
    assert edited_plugins([job(0), job(1)], store) == lines


def test_runs_that_nothing_is_missing_of_are_not_spoken_of(tmp_path: Path) -> None:
    store = store_with(tmp_path, [(spec(0, sources=BEFORE), {})])
    assert edited_plugins([], store) == []
    assert edited_plugins([job(0, sources=UNSET)], store) == [], "a built-in network has no source"


@pytest.mark.parametrize(
    ("observed", "count"),
    [("mine@" + 16 * "1", 1), ("mine@" + 16 * "2", 0), ("mine", 1), ("other@" + 16 * "1", 0)],
)
def test_recordings_of_an_earlier_edition_of_a_probe_are_counted(
    tmp_path: Path, observed: str, count: int
) -> None:
    store = store_with(tmp_path, [(spec(0), {observed: (0,)})])
    lines = edited_plugins([job(0, "mine@" + 16 * "2")], store)
    assert lines == count * ["probe mine was edited since 1 stored run was made: it is trained again"]
    assert store.covers(spec(0).id, {"mine@" + 16 * "2": (0,)}) == (observed == "mine@" + 16 * "2")


def test_a_damaged_run_is_passed_over(tmp_path: Path) -> None:
    old = spec(0, sources=BEFORE)
    store = store_with(tmp_path, [(old, {})])
    (store.layout.recording(old.id, 1) / "spec.json").write_text("{}")
    assert edited_plugins([job(0)], store) == []
