"""Forks and seed streams share exactly what they say, to the last bit, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.train.engine.test_loop import Dropping
from universality.plan.runs_file import PlannedRun
from universality.plugin import registry
from universality.plugin.architecture import Architecture
from universality.plugin.registry import component
from universality.plugin.schedules import Every
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.streams import Axis, Streams
from universality.plugin.task import Splits
from universality.store.store import Store
from universality.train import worker
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained, build_network
from universality.train.messages import Engine, WorkerSettings
from universality.train.worker import replies

CPU = torch.device("cpu")
TASK = registry.resolve("task", "digits[subset=50]")
NET: Architecture = registry.resolve("architecture", "mlp[width=6,depth=1,activation=tanh]")
RECIPE = Recipe(steps=24, lr=0.05, optimizer="adam", batch_size=10, milestones=(0.5,))
STEPS = Every(24).steps(24)


def member(
    seed: int = 0,
    seeds: Sequence[tuple[Axis, int]] = (),
    fork: tuple[int, int] | None = None,
    net: Architecture = NET,
) -> Member:
    """A run whose weights are recorded after every update."""
    spec = RunSpec(component(net), component(TASK), RECIPE, seed)
    spec = replace(spec, streams=Streams.of(dict(seeds), fork))
    data = derive_seed("data", TASK.name, spec.seed_of("data"))
    splits = TASK.load(np.random.default_rng(data), Path("nowhere"))
    return Member(spec, net, splits, {"weights": STEPS})


def weights(run: Trained, step: int) -> Tensor:
    arrays = [array for (_, at), array in sorted(run.arrays.items()) if at == step]
    return torch.cat([torch.from_numpy(array).flatten() for array in arrays])


def parted_at(a: Trained, b: Trained) -> int:
    """The first step at which weights differ, one past the end where they never do."""
    return next((step for step in STEPS if not torch.equal(weights(a, step), weights(b, step))), 25)


@pytest.mark.parametrize("step", [0, 1, 7, 10, 23], ids="step {}".format)
@pytest.mark.parametrize("engine", ["loop", "fused", "separate"])
def test_a_fork_is_its_run_up_to_its_step_and_not_after_it(step: int, engine: Engine) -> None:
    parent, first, second = train_stack(
        [member(), member(fork=(step, 1)), member(fork=(step, 2))], CPU, engine
    )
    assert parent.facts["engine"]["mode"] == engine
    # Weights after `step` updates are the last in common: the next update sees another batch.
    assert parted_at(parent, first) == parted_at(parent, second) == parted_at(first, second) == step + 1
    assert parent.series["train_loss"].values[:step].tolist() == (
        first.series["train_loss"].values[:step].tolist()
    )


def test_a_fork_with_dropout_is_its_run_up_to_its_step() -> None:
    """Noise follows the seed of the run, whose draws so far are those of as many updates."""
    runs = train_stack([member(net=Dropping()), member(fork=(9, 1), net=Dropping())], CPU)
    assert {run.facts["engine"]["fallback"] for run in runs} == {"the networks draw random numbers"}
    assert parted_at(*runs) == 10


def test_a_fork_at_no_update_has_the_batches_of_its_branch_throughout() -> None:
    (run,) = train_stack([one := member(fork=(0, 3))], CPU)
    net = build_network(one.spec, one.architecture, one.splits)
    optimizer, data = torch.optim.Adam(net.parameters(), lr=RECIPE.lr), one.splits.train
    for step in range(RECIPE.steps):
        epoch, turn = divmod(step, 5)
        order = torch.Generator().manual_seed(derive_seed("batches", 0, epoch, 3))
        rows = torch.randperm(50, generator=order)[10 * turn :][:10]
        optimizer.param_groups[0]["lr"] = RECIPE.lr * (0.1 if step >= 12 else 1.0)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data.inputs[rows]), data.targets[rows]).backward()
        optimizer.step()
    for name, tensor in net.state_dict().items():
        assert torch.equal(run.net.state_dict()[name], tensor), name


def same_data(a: Splits, b: Splits) -> bool:
    return torch.equal(a.train.inputs, b.train.inputs) and torch.equal(a.train.targets, b.train.targets)


def test_streams_share_what_they_name_and_nothing_else() -> None:
    own, other = member(0), member(1)
    assert not same_data(own.splits, other.splits)
    mixed = {axis: member(0, [(axis, 1)]) for axis in ("init", "batches", "data")}
    starts = {name: weights(train_stack([one], CPU)[0], 0) for name, one in mixed.items()}
    first, second = (weights(train_stack([one], CPU)[0], 0) for one in (own, other))
    assert torch.equal(starts["init"], second)
    assert torch.equal(starts["batches"], first)
    assert torch.equal(starts["data"], first)
    assert [same_data(one.splits, own.splits) for one in mixed.values()] == [True, True, False]
    assert same_data(mixed["data"].splits, other.splits)


def test_all_axes_of_another_seed_make_its_training() -> None:
    imitation = member(0, [("init", 1), ("batches", 1), ("data", 1)])
    (found,), (expected,) = train_stack([imitation], CPU), train_stack([member(1)], CPU)
    assert parted_at(found, expected) == 25
    (batches,) = train_stack([member(0, [("init", 1), ("data", 1)])], CPU)
    assert parted_at(batches, expected) == 1


def test_a_stack_of_streams_and_forks_is_each_of_them_alone() -> None:
    asked = [
        member(0),
        member(1, [("init", 0)]),
        member(0, [("data", 2)], (5, 1)),
        member(2, [("batches", 0)]),
    ]
    for one, run in zip(asked, train_stack(asked, CPU), strict=True):
        assert run.facts["engine"]["members"] == 4
        assert parted_at(run, train_stack([one], CPU, "separate")[0]) == 25


@pytest.mark.parametrize("shared", [False, True])
def test_a_worker_loads_the_data_of_the_stream(shared: bool, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "results")
    settings = WorkerSettings(
        store_root=tmp_path,
        device="cpu",
        plugins=(),
        data_root=tmp_path,
        shared_data=tmp_path if shared else None,
    )
    asked = [member(0, [("data", 1)]), member(0), member(1)]
    worker._kept.clear()
    jobs = [PlannedRun(spec=one.spec, observe={"weights": STEPS}) for one in asked]
    assert [reply.state for reply in replies(jobs, store, settings)] == ["done"] * 3
    worker._kept.clear()
    for one, run in zip(asked, train_stack(asked, CPU), strict=True):
        stored = store.trajectory(one.spec.id, one.observe)
        assert stored is not None
        assert stored.spec == one.spec
        assert stored.series("train_loss").values.tolist() == run.series["train_loss"].values.tolist()
