"""The learning rate from a range test: that of a plain loop, and a run that knows nothing of the trials."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.engine.test_rate import CPU, SMALL, made_up_splits, spec_of, trained
from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.kit.decay import decay_of, memory_of_start
from universality.plugin.spec import RANGE_TEST, Recipe
from universality.plugin.streams import Streams
from universality.plugin.task import Split
from universality.train.engine import range_test as module
from universality.train.engine.batches import Batches
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained, build_network
from universality.train.engine.range_test import RangeTest, range_test

RECIPE = Recipe(steps=300, lr_below_best=3.0, momentum=0.9, batch_size=16)


def slow_trial(net: nn.Module, train: Split, rate: float, seed: int) -> float:
    """The last fifth of 200 updates of heavy ball, warming up over 60 of them, written out."""
    net = copy.deepcopy(net)
    rows = Batches(len(train), 16, seed, CPU).table(0, 200)
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    losses = []
    for step in range(200):
        loss = nn.functional.cross_entropy(net(train.inputs[rows[step]]), train.targets[rows[step]])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for p, v, g in zip(net.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(rate * min(1.0, (step + 1) / 60) * v)
        losses.append(loss.item())
    return float(np.mean(losses[-40:]))


def result_of(seed: int = 0) -> tuple[RangeTest, nn.Module, Split]:
    splits, spec = made_up_splits(), spec_of(SMALL, RECIPE, seed)
    net = build_network(spec, registry.resolve("architecture", SMALL), splits)
    return range_test(spec, net, splits.train), net, splits.train


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_of_neighbouring_rates_is_that_of_a_plain_loop(seed: int) -> None:
    found, net, train = result_of(seed)
    before = [p.clone() for p in net.parameters()]
    assert {0.1, 10**-1.5} <= set(found.rates)
    place = found.rates.index(found.best)
    for rate, loss in zip(found.rates, found.losses, strict=True):
        slow = slow_trial(net, train, rate, seed)
        # Above the best rate rounding grows: two ways to sum part.
        assert loss == pytest.approx(slow, rel=1e-2) if rate <= found.best else slow > found.losses[place]
    assert found.losses[place] == min(found.losses)
    assert 0 < place < len(found.rates) - 1  # a worse one on either side
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))


def same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.net.parameters(), other.net.parameters(), strict=True))


@pytest.mark.parametrize("address", [SMALL, "transformer[dim=8,heads=2]"])
def test_the_run_is_that_of_a_recipe_with_these_numbers(address: str) -> None:
    splits = made_up_splits()
    recipe = replace(RECIPE, steps=40, memory=0.2)
    derived = trained(address, recipe, splits)
    test, decay = derived.facts["range_test"], derived.facts["weight_decay"]
    best = test["rates"][int(np.argmin([math.inf if x is None else x for x in test["losses"]]))]
    assert derived.facts["lr"] == best / 3
    given = trained(address, recipe.at(best / 3, decay), splits)
    assert same(derived, given)
    assert "range_test" not in given.facts
    assert "weight_decay" not in given.facts


def test_a_branch_has_the_rate_of_its_run() -> None:
    splits, spec = made_up_splits(), spec_of(SMALL, RECIPE)
    net = build_network(spec, registry.resolve("architecture", SMALL), splits)
    branch = replace(spec, streams=Streams(fork=(5, 1)))
    assert range_test(branch, net, splits.train) == range_test(spec, net, splits.train)


class _Run:
    def __init__(self, recipe: Recipe, facts: dict[str, object]) -> None:
        self.spec, self.facts = spec_of(SMALL, recipe), facts


def test_decay_leaves_the_share_of_the_start_that_was_asked_for() -> None:
    recipe = replace(RECIPE, memory=0.005, warmup=0.1, milestones=(1 / 3, 2 / 3))
    run = _Run(recipe, trained(SMALL, recipe, made_up_splits()).facts)
    assert memory_of_start(run) == pytest.approx(0.005, rel=1e-12)  # type: ignore[arg-type]
    assert decay_of(run) > 0  # type: ignore[arg-type]
    given = _Run(Recipe(steps=10, lr=0.1, weight_decay=0.5), {"lr": 0.1})
    assert memory_of_start(given) == pytest.approx(math.exp(-1))  # type: ignore[arg-type]


def test_members_of_a_stack_have_rates_and_decays_of_their_own() -> None:
    recipe, architecture = replace(RECIPE, steps=60, memory=0.1), registry.resolve("architecture", SMALL)
    members = [
        Member(spec_of(SMALL, recipe, seed), architecture, made_up_splits(seed), {}) for seed in range(3)
    ]
    stacked = train_stack(members, CPU)
    assert {run.facts["engine"]["members"] for run in stacked} == {3}
    for seed, run in enumerate(stacked):
        assert same(run, trained(SMALL, recipe, made_up_splits(seed), seed))


@pytest.mark.parametrize("lowest", [3, 0])
def test_it_descends_as_long_as_the_loss_falls_or_is_not_finite(
    monkeypatch: pytest.MonkeyPatch, lowest: int
) -> None:
    def trial(spec: object, net: object, train: object, rate: float) -> float:
        k = round(2 * math.log10(rate))
        return math.inf if k > -6 else abs(k + 6 + lowest)

    monkeypatch.setattr(module, "_trial", trial)
    found, *_ = result_of()
    assert found.best == pytest.approx(10 ** ((-6 - lowest) / 2))


def test_a_network_that_no_rate_trains_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_trial", lambda *_: math.inf)
    with pytest.raises(MeasurementError, match="no learning rate was found") as refused:
        result_of()
    assert (refused.value.got, refused.value.do) == (
        f"the loss is not finite after {RANGE_TEST} updates at any rate from 1e-06 to 32",
        "give the recipe `lr`",
    )
