"""Training until the training set is fitted, then as long again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.engine.test_loop import CPU, assert_bit_identical, made_up_splits, spec_of, trained
from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.spec import Recipe
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member

NETWORK = "mlp[width=16]"
ADAM = Recipe(steps=640, lr=0.01, optimizer="adam", fitted=0.9)
LOOK = 10


def test_it_ends_twice_where_it_is_fitted_and_stays_as_it_is() -> None:
    splits, every = made_up_splits(), tuple(range(0, 641, LOOK))
    seen = trained(NETWORK, ADAM, splits, {"accuracy": every})
    accuracy = seen.series["accuracy.train"]
    first = int(accuracy.steps[np.argmax(accuracy.values >= 0.9)])
    assert LOOK < first < 320, "the setting must be fitted within its budget, and not at once"
    assert (seen.facts["fitted_at"], seen.facts["ended_at"]) == (first, 2 * first)
    assert len(seen.series["train_loss"].values) == 2 * first
    assert accuracy.steps.tolist() == list(every)
    assert len(set(accuracy.values[accuracy.steps >= 2 * first])) == 1
    whole = Recipe(steps=2 * first, lr=0.01, optimizer="adam")
    assert_bit_identical(seen.net, trained(NETWORK, whole, splits).net)


@pytest.mark.parametrize("engine", ["loop", "fused", "separate"])
def test_neighbours_in_a_stack_end_where_they_would_alone(engine: str) -> None:
    splits, observe = made_up_splits(), {"sharpness": (640,), "accuracy": (0, 640)}
    recipes = [ADAM, Recipe(steps=640, lr=0.003, optimizer="adam", fitted=0.9)]
    architecture = registry.resolve("architecture", NETWORK)
    alone = [trained(NETWORK, recipe, splits, observe) for recipe in recipes]
    members = [Member(spec_of(NETWORK, recipe), architecture, splits, observe) for recipe in recipes]
    together = train_stack(members, CPU, engine)
    ends = [run.facts["ended_at"] for run in alone]
    assert ends[0] < ends[1] < 640
    for one, run in zip(alone, together, strict=True):
        assert run.facts["ended_at"] == one.facts["ended_at"]
        if engine != "fused":  # whose sums are of another order
            assert_bit_identical(run.net, one.net)
        # Of the optimizer as it was: Adam's second moments would have decayed since.
        threshold = [r.series["sharpness.ratio"].values[-1] for r in (one, run)]
        assert threshold[0] == pytest.approx(threshold[1], rel=1e-2 if engine == "fused" else 1e-6)


def test_what_is_never_fitted_trains_all_its_steps() -> None:
    recipe = Recipe(steps=64, lr=1e-6, optimizer="adam", fitted=1.0)
    seen = trained(NETWORK, recipe, made_up_splits())
    assert len(seen.series["train_loss"].values) == 64
    assert not {"fitted_at", "ended_at"} & set(seen.facts)


def test_looking_changes_nothing() -> None:
    network, splits = "resnet[width=8,blocks=1,stages=2]", made_up_splits()
    plain, looked = (Recipe(steps=12, lr=1e-3, fitted=share) for share in (0.0, 1.0))
    assert_bit_identical(trained(network, plain, splits).net, trained(network, looked, splits).net)


def test_a_recipe_without_it_is_the_recipe_that_it_was() -> None:
    assert Recipe(steps=10, lr=0.1, fitted=0.0) == Recipe(steps=10, lr=0.1)
    assert (
        spec_of(NETWORK, Recipe(steps=10, lr=0.1)).id
        == spec_of(NETWORK, Recipe(steps=10, lr=0.1, fitted=0)).id
    )
    assert Recipe(steps=0).looks == range(0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fitted": 1.5}, "share of the training rows"),
        ({"fitted": -0.1}, "share of the training rows"),
        ({"fitted": 0.9, "milestones": (0.5,)}, "schedule"),
        ({"fitted": 0.9, "warmup": 0.1}, "schedule"),
    ],
)
def test_shares_and_schedules_that_make_no_sense_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(BadParameter, match=says):
        Recipe(steps=10, lr=0.1, **changes)  # type: ignore[arg-type]


def test_regression_trains_all_its_steps() -> None:
    data = registry.resolve("task", "sines").load(np.random.default_rng(0), Path())
    seen = trained(NETWORK, Recipe(steps=64, lr=1e-3, fitted=0.5, loss="mse"), data)
    assert len(seen.series["train_loss"].values) == 64
    assert torch.isfinite(next(seen.net.parameters())).all()
