"""jobs.json: any process with the same code finds the same jobs in it, and one with other code refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from universality.errors import BadParameter, StoreError
from universality.plan.jobs_json import JobsRecord, asked, read_jobs
from universality.plan.plan import Job, Plan
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite, parse
from universality.plugin import registry
from universality.store import untrusted
from universality.store.files import decode_json, encode_json
from universality.store.store import Store


@pytest.fixture
def planned(toys: Path, tmp_path: Path) -> tuple[Plan, Store]:
    """A plan of toys, written into a store."""
    cross = CrossSpec(phenomena=("toy_early",), architectures=("toy_net",), tasks=("toy_points",))
    suite = Suite(name="toy", crosses=(cross,))
    plan = Planner(tmp_path).add_suite(suite)
    store = Store.create(tmp_path / "toy")
    store.write(store.layout.jobs, JobsRecord.of(plan, suite, ["/home/me/toys"]).file())
    return plan, store


def edit(store: Store, change: Callable[[Any], object]) -> None:
    raw = decode_json(store.layout.jobs.read_bytes())
    change(raw)
    store.write(store.layout.jobs, encode_json(raw))


def facts(job: Job) -> tuple[Any, ...]:
    return job.spec, job.observe, job.seconds, job.parameters, job.data_bytes, job.turn


def test_the_jobs_of_a_plan_come_back_with_what_their_order_and_stacks_depend_on(
    planned: tuple[Plan, Store],
) -> None:
    plan, store = planned
    record = read_jobs(store.layout)
    assert record.plugins == ("PATH/TO/toys",)
    assert {*map(repr, map(facts, record.jobs()))} == {*map(repr, map(facts, plan.jobs.values()))}
    assert all(job.seconds > 0 and job.parameters > 0 and job.data_bytes > 0 for job in record.jobs())
    assert record.changed_here() == []
    assert asked(store.layout) == ("toy", record.runs)


def test_bounds_are_of_each_run_and_not_of_all(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand runs are more than any other file may hold."""
    plan, store = planned
    suite = parse(read_jobs(store.layout).definition, where="here")
    longest = max(len(JobsRecord.of(Plan(jobs={id: job}), suite).file()) for id, job in plan.jobs.items())
    assert len(store.layout.jobs.read_bytes()) > 2 * longest
    monkeypatch.setattr(untrusted, "MAX_BYTES", longest)
    assert set(read_jobs(store.layout).runs) == set(plan.jobs)


def test_an_id_that_is_another_here_is_of_another_version(planned: tuple[Plan, Store]) -> None:
    _, store = planned
    edit(store, lambda raw: next(iter(raw["runs"].values()))["spec"].update(seed=99))
    with pytest.raises(StoreError, match="planned by another version") as caught:
        read_jobs(store.layout).jobs()
    assert "-s99-" in caught.value.got


def test_a_plugin_that_is_not_loaded_is_named_with_the_folder_to_give(planned: tuple[Plan, Store]) -> None:
    _, store = planned
    del registry._plugins["probe"]["toy_probe"]
    with pytest.raises(BadParameter, match="is not loaded") as caught:
        read_jobs(store.layout).jobs()
    assert caught.value.where == "probe 'toy_probe'"
    assert "--plugins PATH/TO/toys" in caught.value.do


def test_a_plugin_with_another_source_is_refused_and_a_built_in_one_is_told(
    planned: tuple[Plan, Store],
) -> None:
    _, store = planned
    edit(store, lambda raw: raw["sources"]["probe"]["toy_probe"].update(sha256="0" * 64))
    with pytest.raises(BadParameter, match="is another than these runs were planned with"):
        read_jobs(store.layout).jobs()
    edit(store, lambda raw: raw["sources"]["probe"]["toy_probe"].update(builtin=True))
    assert read_jobs(store.layout).changed_here() == ["probe toy_probe"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw["runs"].update({"../x": next(iter(raw["runs"].values()))}), "'../x'"),
        (lambda raw: next(iter(raw["runs"].values())).update(parameters=-1), "parameters"),
        (lambda raw: next(iter(raw["runs"].values())).pop("seconds"), "seconds"),
        (lambda raw: raw.update(more=1), "more"),
    ],
)
def test_what_no_run_writes_is_refused(
    planned: tuple[Plan, Store], change: Callable[[Any], object], told: str
) -> None:
    _, store = planned
    edit(store, change)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        read_jobs(store.layout)
    assert re.search(re.escape(told), caught.value.got)


def test_a_truncated_file_is_refused(planned: tuple[Plan, Store]) -> None:
    _, store = planned
    data = store.layout.jobs.read_bytes()
    store.layout.jobs.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError, match="cannot be read"):
        asked(store.layout)
