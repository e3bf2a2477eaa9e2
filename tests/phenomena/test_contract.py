"""What every registered phenomenon owes: controls for each claim, names that exist, observations that suffice."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import pytest

from universality.plan.groups import Group, groups_of
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.phenomenon import Control, Cross, Phenomenon, controls_of
from universality.plugin.registry import component
from universality.plugin.spec import RunSpec
from universality.plugin.task import Signature

registry.load_plugins()

BUILT_IN = tuple(registry.names("phenomenon"))


def phenomenon(name: str) -> Phenomenon:
    plugin: Phenomenon = registry.resolve("phenomenon", name)
    return plugin


@functools.cache
def signature(task: str) -> Signature:
    shapes: Signature = registry.resolve("task", task).signature(Path())
    return shapes


def cell_of(control: Control) -> Cell:
    return Cell(
        registry.resolve("architecture", control.architecture),
        registry.resolve("task", control.task),
        signature(control.task),
    )


CONTROLS = [
    pytest.param(control, id=f"{name}: {control.name}")
    for name in BUILT_IN
    for control in controls_of(phenomenon(name))
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_claim_has_a_positive_and_a_negative_control(name: str) -> None:
    plugin = phenomenon(name)
    assert plugin.claims
    for claim in plugin.claims:
        signs = {control.sign for control in controls_of(plugin) if claim in control.claims}
        assert signs == {"positive", "negative"}, claim


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_phenomenon_says_what_it_is_and_where_it_is_from(name: str) -> None:
    plugin = phenomenon(name)
    assert plugin.title
    assert plugin.version >= 1
    assert "arXiv:" in plugin.source
    assert plugin.strand in ("solvable", "limits", "laws", "hyperparameters", "universality")
    assert plugin.sense in ("number", "form", "sign")
    assert type(plugin).__doc__
    assert len({control.name for control in plugin.controls}) == len(plugin.controls)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_claim_has_a_short_title_of_its_own_for_tables(name: str) -> None:
    plugin = phenomenon(name)
    titles = plugin.about.claims
    assert titles == {name: claim.title for name, claim in plugin.claims.items()}
    assert len(set(titles.values())) == len(titles)
    assert all(0 < len(title) <= 40 for title in titles.values())


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_tables_say_of_a_phenomenon_is_what_it_says_of_itself(name: str) -> None:
    plugin = phenomenon(name)
    about = plugin.about
    assert (about.title, about.strand, about.sense, about.source) == (
        plugin.title,
        plugin.strand,
        plugin.sense,
        plugin.source,
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_judges_claims_that_exist_and_must_decide_them(control: Control) -> None:
    assert control.claims
    assert set(control.claims) <= set(control.phenomenon.claims)
    assert control.id.expects == {"positive": "present", "negative": "absent"}[control.sign]
    assert control.why


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_can_be_built_and_its_phenomenon_applies(control: Control) -> None:
    cell = cell_of(control)
    assert cell.architecture.reject(cell.signature.inputs) == ""
    assert control.phenomenon.applies(cell) == ""
    net = cell.architecture.build(cell.signature.inputs, cell.signature.outputs)
    assert cell.architecture.readout(net).out_features == cell.signature.outputs


@pytest.mark.parametrize("control", CONTROLS)
def test_the_groups_of_a_control_speak_to_every_claim_that_it_judges(control: Control) -> None:
    partners = [registry.resolve("architecture", p) for p in control.partners]
    groups = groups_of(control.phenomenon, cell_of(control), Cross(range(5), partners))
    assert len({group.key for group in groups}) == len(groups)
    for claim in control.claims:
        speaking = [g for g in groups if g.bears_on(control.phenomenon.claims[claim])]
        assert len({unit for g in speaking for unit in g.units}) == 5, claim


@pytest.mark.parametrize("control", CONTROLS)
def test_requests_are_trainings_of_probes_that_exist_at_steps_of_their_budget(control: Control) -> None:
    partners = [registry.resolve("architecture", p) for p in control.partners]
    for group in groups_of(control.phenomenon, cell_of(control), Cross(range(2), partners)):
        assert group.units
        for request in group.runs.values():
            parts = component(request.architecture), component(request.task)
            spec = RunSpec(*parts, request.recipe, request.seed)
            assert msgspec.convert(msgspec.to_builtins(spec), RunSpec).id == spec.id
            for observe in request.observe:
                registry.resolve("probe", observe.probe)
                steps = observe.at.steps(request.recipe.steps)
                assert steps
                assert 0 <= steps[0] <= steps[-1] <= request.recipe.steps


@pytest.mark.parametrize("name", BUILT_IN)
def test_asking_twice_gives_the_same_groups(name: str) -> None:
    control = controls_of(phenomenon(name))[0]
    partners = [registry.resolve("architecture", p) for p in control.partners]

    def planned() -> list[Group]:
        return groups_of(control.phenomenon, cell_of(control), Cross(range(3), partners))

    assert planned() == planned()
