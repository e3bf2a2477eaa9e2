"""Open jobs: in their order, alike ones together, and none looked at without need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from universality.plan import plan
from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.train.open_jobs import OpenJobs


def a_job(seed: int, steps: int = 10, *, stack: int = 2, seconds: float = 1.0) -> Job:
    spec = RunSpec(Component("mlp"), Component("digits"), Recipe(steps=steps, lr=0.1), seed)
    return Job(spec, {}, seconds, stack=stack)


def seeds(jobs: OpenJobs) -> list[int]:
    taken = []
    while jobs:
        taken.append(jobs.take_first().spec.seed)
    return taken


def test_jobs_come_in_their_order_and_those_put_first_before_them() -> None:
    jobs = OpenJobs([a_job(0), a_job(1), a_job(2)])
    jobs.remove(a_job(1))
    jobs.append(a_job(3))
    jobs.put_first(a_job(4))
    assert len(jobs) == 4
    assert [job.spec.seed for job in jobs.alike(a_job(0))] == [4, 0, 2, 3]
    assert seeds(jobs) == [4, 0, 2, 3]
    with pytest.raises(KeyError):
        jobs.take_first()


def test_alike_are_those_of_one_training_but_for_seed_and_rate_that_may_be_stacked() -> None:
    first, other_steps, alone = a_job(0), a_job(1, steps=11), a_job(2, stack=1)
    rate = a_job(3)
    rate.spec = replace(rate.spec, recipe=Recipe(steps=10, lr=0.2))
    jobs = OpenJobs([first, other_steps, alone, rate])
    assert [job.spec.seed for job in jobs.alike(first)] == [0, 3]
    jobs.remove(first)
    assert [job.spec.seed for job in jobs.alike(first)] == [3]


def test_the_cost_is_that_of_what_is_open() -> None:
    jobs = OpenJobs([a_job(0, seconds=0.1), a_job(1, seconds=0.2), a_job(2, seconds=0.0)])
    assert jobs.cost == pytest.approx(0.3)
    seeds(jobs)
    assert jobs.cost == 0.0


def test_what_a_job_can_be_trained_beside_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    alike = plan.alike
    monkeypatch.setattr(plan, "alike", lambda spec: asked.append(spec) or alike(spec))
    jobs = OpenJobs(a_job(seed) for seed in range(20))
    for _ in range(3):
        job = jobs.take_first()
        assert len(jobs.alike(job)) == 19
        jobs.put_first(job)
    assert len(asked) == 20
