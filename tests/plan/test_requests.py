"""A request names one run; one that no training could tell from another, or that cannot be trained, is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from universality.errors import BadParameter
from universality.plan.cost import timed_gradient
from universality.plan.requests import spec_of
from universality.plan.stacks import alike
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.registry import component
from universality.plugin.runs import Request
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.streams import Streams
from universality.plugin.task import Signature

NET, TASK = registry.resolve("architecture", "mlp[width=4]"), registry.resolve("task", "digits[subset=60]")
RECIPE = Recipe(steps=20, lr=0.1, batch_size=16)
CLASSES = Signature(InputSpec("image", (1, 8, 8)), 10, 60, 20, 20, "content")
NUMBERS = replace(CLASSES, outputs=2, regression=True)


def request(recipe: Recipe = RECIPE, **extra: Any) -> Request:
    return Request(NET, TASK, recipe, 3, (), **extra)


def test_a_request_names_its_run() -> None:
    plain = RunSpec(component(NET), component(TASK), RECIPE, 3, "content")
    assert spec_of(request(), CLASSES) == plain
    asked = request(streams={"init": 0, "batches": 7}, fork=(5, 1))
    expected = replace(plain, streams=Streams((("batches", 7), ("init", 0)), (5, 1)))
    assert spec_of(asked, CLASSES) == expected


def test_forks_streams_and_seeds_are_trained_side_by_side() -> None:
    asked = [request(), request(fork=(5, 1)), request(streams={"init": 0}), replace(request(), seed=9)]
    assert len({alike(spec_of(each, CLASSES)) for each in asked}) == 1
    assert len({spec_of(each, CLASSES).id for each in asked}) == 4


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (request(replace(RECIPE, batch_size=0), fork=(5, 1)), "fork=(5, 1), batch_size=0, steps=20"),
        (request(replace(RECIPE, batch_size=60), fork=(5, 1)), "fork=(5, 1), batch_size=60, steps=20"),
        (
            request(replace(RECIPE, batch_size=0), streams={"batches": 0}),
            "batches of seed 0, batch_size=0, steps=20",
        ),
        (request(Recipe(steps=0, batch_size=16), streams={"batches": 0}), "batches of seed 0, batch_size=16, steps=0"),
    ],
    ids=["full batch", "as many rows", "batches of another seed", "untrained"],
)  # fmt: skip
def test_other_batches_are_refused_where_there_are_none(asked: Request, got: str) -> None:
    with pytest.raises(BadParameter) as caught:
        spec_of(asked, CLASSES)
    assert str(caught.value) == (
        "other batches for a run that sees no batches: the same training under another name\n"
        "  where:    mlp[width=4] on digits[subset=60], seed 3\n"
        f"  got:      {got}\n"
        "  expected: steps >= 1, and a batch_size from 1 to 59"
    )


def test_other_weights_and_data_need_no_batches() -> None:
    for recipe in (replace(RECIPE, batch_size=0), Recipe(steps=0)):
        assert spec_of(request(recipe, streams={"init": 0, "data": 1}), CLASSES).seed_of("init") == 0
        assert (
            spec_of(request(recipe, streams={"batches": 3}), CLASSES).streams
            == spec_of(request(recipe), CLASSES).streams
        )


def test_a_loss_of_classes_is_refused_in_regression() -> None:
    with pytest.raises(BadParameter) as caught:
        spec_of(request(), NUMBERS)
    assert str(caught.value) == (
        "a loss of classes, and a task of regression\n"
        "  where:    mlp[width=4] on digits[subset=60], seed 3\n"
        "  got:      loss=cross_entropy\n"
        "  expected: loss=mse"
    )
    assert spec_of(request(replace(RECIPE, loss="mse")), NUMBERS).recipe.loss == "mse"


@pytest.mark.parametrize("signature", [CLASSES, NUMBERS], ids=["classes", "numbers"])
@pytest.mark.filterwarnings("error")
def test_a_gradient_is_timed_on_targets_of_the_task(signature: Signature) -> None:
    assert timed_gradient(request(replace(RECIPE, loss="mse")), signature, 200).seconds > 0
