"""What a plan would take, and that what this machine has no room for is refused before anything is trained."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from universality.errors import BadParameter, StoreError
from universality.plan import forecast
from universality.plan.forecast import Forecast
from universality.plan.plan import Job, Plan
from universality.plan.planner import RECORDING_BYTES, Planner
from universality.plan.suite import CrossSpec, Suite
from universality.plugin.architecture import InputSpec
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Signature
from universality.probes.outputs import Outputs
from universality.probes.weights import Weights
from universality.store.layout import Layout

GIB = 1 << 30
Usage = namedtuple("Usage", "free")


def plan_of(memory: float, disk: float) -> Plan:
    specs = [
        RunSpec(Component("net"), Component("points"), Recipe(steps=1, lr=0.1), seed) for seed in range(3)
    ]
    return Plan(jobs={spec.id: Job(spec, {}, bytes=memory, disk_bytes=disk) for spec in specs})


def test_more_workers_than_memory_are_refused_with_the_number_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "memory_bytes", lambda: 10 * GIB)
    plan = plan_of(3 * GIB, 0.0)
    for slots in (0, 1, 3):
        Forecast(plan, slots, "cpu", tmp_path).check_fits()
    with pytest.raises(BadParameter, match="more memory than this machine has") as refused:
        Forecast(plan, 4, "cpu", tmp_path).check_fits()
    assert (refused.value.got, refused.value.do) == ("3 GiB for each of 4 cpu worker(s)", "--workers 3")
    with pytest.raises(BadParameter, match="more memory") as refused:
        Forecast(plan_of(11 * GIB, 0.0), 0, "cpu", tmp_path).check_fits()
    assert refused.value.do.startswith("train smaller networks")
    # Memory of a GPU is not that of the machine.
    Forecast(plan, 4, "cuda", tmp_path).check_fits()


def test_runs_that_do_not_fit_on_the_disk_are_refused_and_stored_ones_need_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: Usage(5 * GIB))
    folder, plan = tmp_path / "not yet" / "there", plan_of(0.0, 2 * GIB)
    asked = Forecast(plan, 1, "cpu", folder)
    with pytest.raises(StoreError, match="more disk than is free") as refused:
        asked.check_fits()
    assert (refused.value.got, refused.value.expected) == ("5 GiB free", "about 6 GiB")
    Layout(folder).recording(next(iter(plan.jobs)), 1).mkdir(parents=True)
    assert asked.disk == 4 * GIB
    asked.check_fits()


def test_more_than_a_week_is_refused_with_what_would_fit(tmp_path: Path) -> None:
    def plan(days: float) -> Plan:
        found = plan_of(0.0, 0.0)
        for job in found.jobs.values():
            job.seconds = days * 86400
        return found

    def forecast_of(days: float, slots: int, device: str = "cpu") -> Forecast:
        return Forecast(plan(days), slots, device, tmp_path)

    # Three runs: of 4.6 days each, 13.8 days of one worker and 6.9 of two.
    for fits in (forecast_of(2.3, 1), forecast_of(4.6, 2), forecast_of(100, 1, "cuda"), forecast_of(2.3, 0)):
        fits.check_time(fits.plan.jobs.values())
        assert not any("week" in line for line in fits.lines())
    long = forecast_of(4.6, 1)
    with pytest.raises(BadParameter, match="more than a week") as refused:
        long.check_time(long.plan.jobs.values())
    assert refused.value.got == "about 14 days on 1 cpu worker(s)"
    assert refused.value.do.startswith("--shard 1/2 here and the other parts")
    assert any(line.startswith("More than a week") and "--shard 1/2" in line for line in long.lines())
    # What is stored takes no time.
    long.check_time(list(long.plan.jobs.values())[:1])


@pytest.mark.usefixtures("toys")
def test_a_recording_is_foreseen_with_its_losses_and_what_probes_leave(tmp_path: Path) -> None:
    cross = CrossSpec(phenomena=("toy_early",), architectures=("toy_net",), tasks=("toy_points",), seeds=1)
    plan = Planner(tmp_path).add_suite(Suite(name="toy", crosses=(cross,), controls=False))
    (job,) = plan.jobs.values()
    records = sum(map(len, job.observe.values()))
    assert job.disk_bytes == RECORDING_BYTES + 16 * job.spec.recipe.steps + 100 * records
    signature = Signature(InputSpec("vector", (3,)), 10, 1000, 1000, 200)
    assert Weights().stored(signature, 0.0, 850) == 4 * 850
    assert Outputs(rows=512).stored(signature, 0.0, 850) == 4 * 200 * 10
