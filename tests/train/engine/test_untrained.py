"""A run of no updates is its initialisation, observed once, and is stored like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from universality.output.page.series import fit
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.schedules import At, Every, LogSpaced
from universality.plugin.spec import Recipe, RunSpec
from universality.store.recording import Recording
from universality.store.store import Store
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, build_network
from universality.train.messages import Engine

CPU = torch.device("cpu")


def members(recipe: Recipe, count: int = 2) -> list[Member]:
    net = registry.resolve("architecture", "resnet[width=4,blocks=1,stages=2]")
    task = registry.resolve("task", "digits[subset=40]")
    probes = dict.fromkeys(("accuracy", "weights", "taps", "collapse"), (0,))
    return [
        Member(
            RunSpec(component(net), component(task), recipe, seed),
            net,
            task.load(np.random.default_rng(seed), Path("nowhere")),
            probes,
        )
        for seed in range(count)
    ]


@pytest.mark.parametrize("engine", ["auto", "loop", "fused", "separate"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("batch_size", [0, 16])
def test_an_untrained_run_is_its_initialisation(engine: Engine, optimizer: str, batch_size: int) -> None:
    recipe = Recipe(steps=0, optimizer=optimizer, batch_size=batch_size)  # type: ignore[arg-type]
    asked = members(recipe)
    for one, run in zip(asked, train_stack(asked, CPU, engine), strict=True):
        net = build_network(one.spec, one.architecture, one.splits)
        assert run.state == "done"
        for name, tensor in net.state_dict().items():
            assert torch.equal(run.net.state_dict()[name], tensor), name
            assert np.array_equal(run.arrays[f"weights.{name}", 0], tensor.numpy()), name
        assert (len(run.series["train_loss"]), run.facts["lr"], run.facts["learning_rate_sum"]) == (
            0,
            0.0,
            0.0,
        )
        with torch.no_grad():
            right = (net.eval()(one.splits.train.inputs).argmax(1) == one.splits.train.targets).double()
        assert run.series["accuracy.train"].at(0) == pytest.approx(float(right.mean()))


def test_milestones_and_warmup_of_nothing_are_nothing_and_a_rate_is_kept() -> None:
    recipe = Recipe(steps=0, lr=0.1, milestones=(0.0, 0.5, 1.0), warmup=0.5)
    (run,) = train_stack(members(recipe, 1), CPU)
    assert (run.state, run.facts["lr"], run.facts["learning_rate_sum"]) == ("done", 0.1, 0.0)


def test_a_rate_is_derived_where_it_is_asked_for() -> None:
    (run,) = train_stack(members(Recipe(steps=0, lr_over_stability=2.0, loss="mse"), 1), CPU)
    assert run.facts["lr"] == pytest.approx(1 / run.facts["initial_sharpness"])
    assert len(run.series["train_loss"]) == 0


@pytest.mark.parametrize("schedule", [At(0.0, 0.3, 1.0), Every(20), LogSpaced()])
def test_every_schedule_of_no_updates_is_the_start(schedule: At | Every | LogSpaced) -> None:
    assert schedule.steps(0) == (0,)


def test_an_untrained_run_is_stored_read_and_put_on_the_page(tmp_path: Path) -> None:
    (one,) = members(Recipe(steps=0), 1)
    (run,) = train_stack([one], CPU)
    store = Store.create(tmp_path / "results")
    store.publish(
        Recording(
            spec=one.spec,
            state=run.state,
            series=run.series,
            arrays=run.arrays,
            observed=one.observe,
            facts=run.facts,
            seconds=run.seconds,
        )
    )
    stored = Store.open(tmp_path / "results").trajectory(one.spec.id, one.observe)
    assert stored is not None
    assert len(stored.series("train_loss")) == 0
    assert stored.steps("train_loss") == ()
    drawn = fit({one.spec.id: (stored, {"accuracy.train": True, "train_loss": False})}, 1000)
    accuracy = stored.series("accuracy.train").at(0)
    expected = {"accuracy.train": [[0], [float(f"{accuracy:.4g}")]], "train_loss": [[], []]}
    assert drawn[one.spec.id]["series"] == expected
