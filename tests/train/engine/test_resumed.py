"""A run that is taken up again ends as if nothing had been, to the last bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from tests.train.engine import test_hidden_state as between
from tests.train.engine.test_ensemble import assert_the_same_run
from tests.train.engine.test_loop import CPU, Dropping, made_up_splits, spec_of
from universality.plugin import registry
from universality.plugin.probe import Probe
from universality.plugin.spec import Recipe
from universality.store.checkpoints import CheckpointHeader
from universality.train import interruption
from universality.train.checkpoints import decode, encode
from universality.train.engine import loop_steps, pulse, saving
from universality.train.engine.loop import train_each, train_stack
from universality.train.engine.member import Member, Trained
from universality.train.engine.snapshot import BadSnapshot, Snapshot
from universality.train.interruption import Stopped
from universality.train.messages import Engine

SMALL = "mlp[width=6,depth=2,activation=tanh]"
STEPS = 12


@pytest.fixture(autouse=True)
def _saved_after_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "EVERY", 0.0)
    monkeypatch.setattr(loop_steps, "TURN", 0.0)


def member(
    address: str, recipe: Recipe, observe: Mapping[str, Sequence[int]] | None = None, seed: int = 0
) -> Member:
    architecture = registry.resolve("architecture", address)
    return Member(spec_of(address, recipe, seed), architecture, made_up_splits(seed), observe or {})


def saved(
    members: Sequence[Member], engine: Engine = "auto", at: Sequence[int] = ()
) -> tuple[list[Trained], dict[int, dict[int, Snapshot]]]:
    """What the members leave, and their snapshots by step (those `at`, or all), written and read again."""
    snapshots: defaultdict[int, dict[int, Snapshot]] = defaultdict(dict)

    def keep(member: Member, snapshot: Snapshot) -> None:
        if at and snapshot.step not in at:
            return
        header = CheckpointHeader(
            code="", spec=member.spec, observed={}, step=snapshot.step, draws=snapshot.draws, run=snapshot.run
        )
        header, tensors = decode(encode(header, snapshot.tensors))
        number = next(n for n, each in enumerate(members) if each.spec == member.spec)
        snapshots[snapshot.step][number] = Snapshot(header.step, header.draws, header.run, tensors)

    runs = dict(train_each(members, CPU, engine, keep=keep))
    return [runs[number] for number in range(len(members))], snapshots


def check(members: Sequence[Member], engine: Engine = "auto", at: Sequence[int] = (1, 7, STEPS)) -> None:
    """Runs that were never saved, that were, and that go on from snapshots, are the same."""
    whole = dict(train_each(members, CPU, engine))
    runs, snapshots = saved(members, engine, at)
    for number, run in enumerate(runs):
        assert_the_same_run(run, whole[number])
    assert set(at) == set(snapshots)
    for step in at:
        parts = snapshots[step]
        again = train_stack([replace(members[n], snapshot=s) for n, s in parts.items()], CPU, engine)
        for number, run in zip(parts, again, strict=True):
            assert_the_same_run(run, whole[number])
            assert run.facts["resumed_at"] == [step]
            assert f"resumed after update {step}\n" in run.log
            same = {k: v for k, v in whole[number].facts.items() if k not in OF_THE_ATTEMPT}
            assert {k: v for k, v in run.facts.items() if k not in OF_THE_ATTEMPT} == same


OF_THE_ATTEMPT = {"seconds", "probe_seconds", "peak_memory_bytes", "resumed_at", "engine"}

RECIPES = {
    "gradient descent": Recipe(steps=STEPS, lr=0.1),
    "heavy ball, batches": Recipe(steps=STEPS, lr=0.05, momentum=0.9, weight_decay=0.01, batch_size=10),
    "adamw, warmup and milestones": Recipe(
        steps=STEPS,
        lr=0.01,
        optimizer="adamw",
        weight_decay=1.0,
        warmup=0.4,
        milestones=(0.5, 0.75),
        gamma=0.3,
    ),
    "rmsprop": Recipe(steps=STEPS, lr=0.01, optimizer="rmsprop", momentum=0.5, batch_size=10),
    "derived rate": Recipe(steps=STEPS, lr_over_stability=2.0),
    "range test": Recipe(steps=STEPS, lr_below_best=3.0, memory=0.1),
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_optimizer_goes_on_as_if_nothing_had_been(name: str) -> None:
    check([member(SMALL, RECIPES[name])])


@pytest.mark.parametrize(
    "address", ["resnet[width=4,blocks=1,stages=1]", "lstm[width=4]", "transformer[dim=8,heads=2]"]
)
def test_every_kind_of_network_goes_on_as_if_nothing_had_been(address: str) -> None:
    check([member(address, RECIPES["adamw, warmup and milestones"], {"accuracy": (3, 7, 9)})], at=(7,))


def test_what_probes_have_recorded_and_keep_goes_on() -> None:
    """Every probe: one that keeps what cannot be saved would leave all runs that observe it without checkpoints."""
    recipe = Recipe(steps=STEPS, lr=0.05, batch_size=10)
    check(
        [member("mlp[width=4,depth=1]", recipe, dict.fromkeys(registry.names("probe"), (0, 5, 8, 12)))],
        at=(7,),
    )


@pytest.mark.parametrize("engine", ["loop", "fused", "separate"])
def test_a_stack_goes_on_as_if_nothing_had_been(engine: Engine) -> None:
    recipes = [replace(RECIPES["adamw, warmup and milestones"], lr=lr) for lr in (0.01, 0.01, 0.02)]
    members = [member(SMALL, recipe, {"accuracy": (0, 5, 9)}, seed) for seed, recipe in enumerate(recipes)]
    check(members, engine, at=(STEPS,) if engine == "fused" else (7,))


def test_a_member_goes_on_beside_others_or_alone() -> None:
    members = [
        member(SMALL, RECIPES["heavy ball, batches"], {"sharpness": (2, 8)}, seed) for seed in range(3)
    ]
    runs, snapshots = saved(members)
    parts = snapshots[5]
    for chosen in ([1], [2, 0]):
        again = train_stack([replace(members[n], snapshot=parts[n]) for n in chosen], CPU)
        for number, run in zip(chosen, again, strict=True):
            assert_the_same_run(run, runs[number])


def test_a_run_that_ends_when_it_is_fitted_ends_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        loop_steps, "TURN", 1e9
    )  # saved at looks alone, of which there is one every 10 updates
    recipe = Recipe(steps=640, lr=0.01, optimizer="adam", fitted=0.9)
    one = member("mlp[width=16]", recipe, {"accuracy": (0, 100, 640)})
    (run,), snapshots = saved([one])
    fitted = run.facts["fitted_at"]
    assert max(snapshots) == 2 * fitted < 640
    for step in (fitted - 10, fitted, fitted + 10, 2 * fitted):
        (again,) = train_stack([replace(one, snapshot=snapshots[step][0])], CPU)
        assert_the_same_run(again, run)
        assert (again.facts["fitted_at"], again.facts["ended_at"]) == (fitted, 2 * fitted)


def test_a_run_that_diverges_diverges_again_at_the_same_update() -> None:
    one = member("mlp[width=6,depth=2]", Recipe(steps=60, lr=1e3, loss="mse"), {"accuracy": (0, 50)})
    (run,), snapshots = saved([one])
    assert run.state == "diverged"
    assert max(snapshots) == 50, "the losses are looked at then"
    for step in (2, 49):
        assert (step < run.facts["diverged_at"]) == (step == 2)
        (again,) = train_stack([replace(one, snapshot=snapshots[step][0])], CPU)
        assert_the_same_run(again, run)


def test_a_network_that_draws_goes_on_with_its_own_random_numbers() -> None:
    network = Dropping()
    one = replace(member(SMALL, RECIPES["heavy ball, batches"]), architecture=network)
    (run,), snapshots = saved([one])
    assert snapshots[7][0].draws
    torch.manual_seed(1)
    (again,) = train_stack([replace(one, snapshot=snapshots[7][0])], CPU)
    assert_the_same_run(again, run)


@pytest.mark.parametrize("kind", ["python_random", "numpy_random"])
def test_generators_of_the_process_go_on(kind: str, clean_registry: None) -> None:
    registry.register("between", accepts={"vector"})(between.Between)
    one = between.member(kind, 0)
    (run,), snapshots = saved([one])
    (again,) = train_stack([replace(one, snapshot=snapshots[7][0])], CPU)
    assert_the_same_run(again, run)
    assert again.facts["generators"] == run.facts["generators"]


@pytest.mark.parametrize("kind", ["counted", "listed", "of_class", "own_torch"])
def test_what_cannot_be_written_is_not_saved_and_says_so(kind: str, clean_registry: None) -> None:
    registry.register("between", accepts={"vector"})(between.Between)
    (run,), snapshots = saved([between.member(kind, 0)])
    assert snapshots == {}
    assert "no checkpoint: forward changes what torch does not list" in run.log


@dataclass(kw_only=True)
class Keeping(Probe):
    _kept: Any = field(default=None, init=False)

    def record(self, training: Any) -> dict[str, float]:
        weight = next(training.net.parameters())
        self._kept = {"object": object(), "twice": [weight.detach().clone()] * 2, "live": weight.detach()}[
            KIND
        ]
        return {}


KIND = ""


@pytest.mark.parametrize("kind", ["object", "twice", "live"])
def test_a_probe_that_keeps_what_cannot_be_written_is_not_saved(
    kind: str, clean_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("keeping")(Keeping)
    monkeypatch.setitem(globals(), "KIND", kind)
    (run,), snapshots = saved([member(SMALL, RECIPES["gradient descent"], {"keeping": (3,)})])
    assert max(snapshots) == 3, "until it keeps something"
    assert "no checkpoint: it keeps" in run.log


def test_members_after_different_updates_are_no_stack() -> None:
    members = [member(SMALL, RECIPES["gradient descent"], seed=seed) for seed in range(2)]
    _, snapshots = saved(members)
    mixed = [replace(members[0], snapshot=snapshots[5][0]), members[1]]
    with pytest.raises(ValueError, match="different updates"):
        train_stack(mixed, CPU)


@pytest.mark.parametrize(
    "other", ["mlp[width=7,depth=2,activation=tanh]", "mlp[width=6,depth=3,activation=tanh]"]
)
def test_nothing_goes_on_from_the_snapshot_of_another_network(other: str) -> None:
    one = member(SMALL, RECIPES["heavy ball, batches"])
    _, snapshots = saved([one])
    with pytest.raises(BadSnapshot):
        train_stack([replace(member(other, one.spec.recipe), snapshot=snapshots[5][0])], CPU)


@pytest.mark.parametrize("worth", [0.0, 1e9])
def test_a_training_that_is_asked_to_end_saves_what_is_worth_it_and_stops(
    worth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "EVERY", 1e9)
    monkeypatch.setattr(saving, "WORTH", worth)
    monkeypatch.setattr(interruption, "_asked", False)
    kept: list[int] = []
    asking = iter([False] * 4 + [True] * 100)
    monkeypatch.setattr(pulse, "_tell", lambda: interruption.ask() if next(asking) else None)
    monkeypatch.setattr(pulse, "INTERVAL", 0.0)
    with pytest.raises(Stopped):
        list(
            train_each(
                [member(SMALL, RECIPES["gradient descent"])], CPU, keep=lambda m, s: kept.append(s.step)
            )
        )
    assert len(kept) == (worth == 0.0)


def test_members_are_handed_over_as_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_steps, "TURN", 1e9)
    recipes = [Recipe(steps=60, lr=lr, loss="mse") for lr in (1e4, 0.1, 0.1)]
    observe = {"accuracy": (0, 50)}
    members = [
        member("mlp[width=6,depth=2]", recipe, observe, seed=seed) for seed, recipe in enumerate(recipes)
    ]
    seen: list[tuple[int, str]] = []
    progress = []

    def keep(member: Member, snapshot: Snapshot) -> None:
        progress.append(snapshot.step)

    for number, run in train_each(members, CPU, keep=keep):
        seen.append((number, run.state))
        if number == 0:
            assert max(progress) == 50, "the others have not gone on yet"
    assert seen == [(0, "diverged"), (1, "done"), (2, "done")]
    assert max(progress) == 60
