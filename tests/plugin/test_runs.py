"""Runs are built call by call, and swept over anything that has the name of the axis."""

from __future__ import annotations

from typing import Any

import pytest

from universality.errors import BadParameter, UnknownName
from universality.plugin import At, Every, Phenomenon, Recipe, Run, per_pair, per_partner, per_seed, registry
from universality.plugin.registry import component
from universality.plugin.runs import Sweep, role
from universality.plugin.spec import RunSpec

registry.load_plugins()


def a_run(architecture: str = "mlp", task: str = "digits", seed: int = 3) -> Run:
    return Run(registry.resolve("architecture", architecture), registry.resolve("task", task), seed)


def test_a_run_is_its_cell_with_a_recipe_and_observations() -> None:
    run = a_run().trained(steps=10, lr=0.1).observing(accuracy=Every(2)).observing({"taps[rows=8]": At(1)})
    request = run.request()
    assert (request.recipe, request.seed) == (Recipe(steps=10, lr=0.1), 3)
    assert [(o.probe, o.at) for o in request.observe] == [("accuracy", Every(2)), ("taps[rows=8]", At(1))]
    assert (dict(request.streams), request.fork) == ({}, None)


def test_a_recipe_given_is_the_start_of_further_changes() -> None:
    sgd = Recipe(steps=10, lr=0.1)
    assert a_run().trained(sgd).trained(steps=20).recipe == Recipe(steps=20, lr=0.1)
    assert a_run().trained(sgd, lr=0.2).recipe == Recipe(steps=10, lr=0.2)


def test_every_call_leaves_the_run_that_it_was_called_on() -> None:
    run = a_run().trained(steps=10, lr=0.1)
    run.on(subset=50), run.built(width=3), run.seeded(9), run.forked(2, 1), run.streams(init=0)
    assert (run.task.subset, run.seed, run.fork, dict(run.other_streams)) == (0, 3, None, {})


def test_streams_and_forks_reach_the_request() -> None:
    request = a_run().trained(steps=10, lr=0.1).streams(init=0).streams(batches=7).forked(4, 2).request()
    assert (dict(request.streams), request.fork) == ({"init": 0, "batches": 7}, (4, 2))


def test_modifiers_are_put_on_and_changed_by_name() -> None:
    run = a_run("mlp[width=8]").modified("output_scale", alpha=3.0)
    assert str(component(run.architecture)) == "mlp[width=8]+output_scale[alpha=3.0]"
    assert str(component(run.modified("output_scale", centred=True).architecture)) == (
        "mlp[width=8]+output_scale[alpha=3.0,centred=true]"
    )
    assert str(component(run.scaled(2.0).architecture)) == "mlp[width=16]+output_scale[alpha=3.0]"


@pytest.mark.parametrize(
    ("axis", "values", "read"),
    [
        ("lr", (0.1, 0.2), lambda run: run.recipe.lr),
        ("batch_size", (8, 16), lambda run: run.recipe.batch_size),
        ("subset", (50, 100), lambda run: run.task.subset),
        ("label_noise", (0.1, 0.3), lambda run: run.task.label_noise),
        ("depth", (1, 2), lambda run: run.architecture.inner.depth),
        ("alpha", (10.0, 30.0), lambda run: run.architecture.modifiers[0].alpha),
        ("scale", (1.0, 2.0), lambda run: run.architecture.inner.width / 64),
    ],
)
def test_an_axis_is_whatever_has_its_name(axis: str, values: tuple[Any, ...], read: Any) -> None:
    run = a_run("mlp[width=64]+output_scale").trained(steps=10, lr=0.1)
    sweep = run.vary(**{axis: values})
    assert (sweep.axes, list(sweep)) == ((axis,), list(values))
    assert [read(each) for each in sweep.values()] == list(values)
    assert {each.seed for each in sweep.values()} == {3}


def test_several_axes_are_crossed_and_keys_are_in_their_order() -> None:
    sweep = a_run().trained(steps=10, lr=0.1).vary(scale=(1, 2), lr=(0.1, 0.2, 0.4))
    assert list(sweep) == [(f, lr) for f in (1, 2) for lr in (0.1, 0.2, 0.4)]
    run = sweep[2, 0.4]
    assert run.recipe is not None
    assert (run.recipe.lr, run.architecture) == (0.4, a_run().scaled(2).architecture)
    assert [role(key, sweep.axes) for key in sweep][:2] == ["scale=1, lr=0.1", "scale=1, lr=0.2"]


def test_a_change_to_a_whole_sweep_keeps_its_axes() -> None:
    sweep = (
        a_run().trained(steps=10, lr=0.1).vary(lr=(0.1, 0.2)).each(lambda run: run.observing(accuracy=At(1)))
    )
    assert isinstance(sweep, Sweep)
    assert sweep.axes == ("lr",)
    assert all(list(run.observe) == ["accuracy"] for run in sweep.values())


def test_a_sweep_over_a_parameter_that_does_not_exist_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="unknown parameter to sweep over 'batchsize'") as caught:
        a_run().trained(steps=10, lr=0.1).vary(batchsize=(1, 2))
    assert caught.value.do == "did you mean 'batch_size'?"
    assert "mlp on digits" in caught.value.where


def test_a_sweep_over_a_parameter_with_two_owners_is_refused() -> None:
    with pytest.raises(BadParameter, match=r"parameter of|two owners") as caught:
        a_run("mlp[output_scale=2.0]+output_scale").trained(steps=10, lr=0.1).vary(centred=(True, False))
    assert "centred" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda run: run.trained(stepz=3), "unknown field of a recipe 'stepz'"),
        (lambda run: run.on(subst=3), "unknown parameter of task 'digits' 'subst'"),
        (lambda run: run.built(widht=3), "widht"),
        (lambda run: run.modified("mupp"), "unknown modifier 'mupp'"),
        (
            lambda run: run.modified("output_scale", alfa=3),
            "unknown parameter of modifier 'output_scale' 'alfa'",
        ),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(call: Any, told: str) -> None:
    with pytest.raises(UnknownName, match=told) as caught:
        call(a_run())
    assert caught.value.do.startswith("did you mean")


def test_a_run_without_a_recipe_is_refused() -> None:
    with pytest.raises(BadParameter, match="a run without a recipe"):
        a_run().request()


def test_a_run_set_is_a_method_and_knows_its_scope_and_place() -> None:
    class Sets(Phenomenon):
        @per_seed
        def gd_runs(self, run: Run) -> Run:
            return run.trained(steps=1, lr=0.1)

        @per_pair
        def seeds(self, a: Run, b: Run) -> dict[str, Run]:
            return {"a": self.gd_runs(a), "b": self.gd_runs(b)}

        @per_partner
        def others(self, a: Run, b: Run) -> dict[str, Run]:
            return self.seeds(a, b)

    assert [(s.name, s.scope) for s in (Sets.gd_runs, Sets.seeds, Sets.others)] == [
        ("gd", "seed"),
        ("seeds", "pair"),
        ("others", "partner"),
    ]
    assert Sets.gd_runs.where.startswith(f"{__file__}:")
    assert list(Sets().others(a_run(), a_run())) == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "axes", "text"),
    [
        ("a", (), "a"),
        (10.0, ("alpha",), "alpha=10"),
        (0.1, (), "0.1"),
        (("mup", 4.0), ("kind", "scale"), "kind=mup, scale=4"),
        (1e-5, ("lr",), "lr=1e-05"),
    ],
)
def test_a_role_is_the_key_with_the_names_of_its_axes(key: Any, axes: tuple[str, ...], text: str) -> None:
    assert role(key, axes) == text


def test_a_sweep_with_a_value_twice_is_refused() -> None:
    with pytest.raises(BadParameter, match="one value twice") as caught:
        a_run().trained(steps=3, lr=0.1).vary(lr=(0.1, 0.2, 0.1))
    assert caught.value.got == "lr=(0.1, 0.2, 0.1)"
    assert list(a_run().trained(steps=3, lr=0.1).vary(lr=iter([0.1, 0.2]))) == [0.1, 0.2]


@pytest.mark.parametrize("seed", ["3", 1.0, -1, True, None])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    request = a_run().trained(steps=3, lr=0.1).seeded(seed).request()
    architecture, task = component(request.architecture), component(request.task)
    with pytest.raises(BadParameter, match="a seed is no whole number") as caught:
        RunSpec(architecture, task, request.recipe, request.seed)
    assert caught.value.got == repr(seed)
