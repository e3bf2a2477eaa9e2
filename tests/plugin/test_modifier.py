"""Addresses of modified architectures: the same everywhere, refused with both names, paired by construction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from universality.errors import BadParameter, UnknownName
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.modifier import Modified, Modifier, unmodified
from universality.plugin.registry import component, instantiate, modified, resolve, with_parameters
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.files import encode_record
from universality.store.layout import safe_name
from universality.store.untrusted import UntrustedFile, read_record

ADDRESS = "mlp[width=64]+mup[base=32]+output_scale[alpha=10.0,centred=true]"
VECTOR = InputSpec("vector", (5,))


def run_of(address: str) -> RunSpec:
    return RunSpec(
        component(resolve("architecture", address)), Component("digits"), Recipe(steps=1, lr=0.1), 3
    )


def test_an_address_leads_to_the_plugins_and_back() -> None:
    net = resolve("architecture", " mlp[width=64] + mup[base=32] + output_scale[alpha=10,centred=true]")
    assert isinstance(net, Modified)
    assert unmodified(net) == resolve("architecture", "mlp[width=64]")
    assert net.modifiers == (resolve("modifier", "mup[base=32]"), net.modifiers[1])
    part = component(net)
    assert str(part) == ADDRESS
    assert resolve("architecture", ADDRESS) == net == instantiate("architecture", part)
    assert (net.name, net.family, net.accepts) == ("mlp", "feedforward", unmodified(net).accepts)


def test_the_id_of_a_run_depends_on_every_modifier_their_parameters_and_their_order() -> None:
    addresses = [
        "mlp",
        "mlp+output_scale",
        "mlp+output_scale[alpha=2]",
        "mlp+pinned",
        "mlp+pinned+output_scale",
        "mlp+output_scale+pinned",
    ]
    ids = [run_of(address).id for address in addresses]
    assert len({run_id.rpartition("-")[2] for run_id in ids}) == len(addresses)
    assert ids[-1].startswith("mlp-output_scale-pinned-digits-s3-")
    assert safe_name(ids[-1]) == ids[-1]
    assert run_of("mlp+output_scale").id == run_of("mlp+output_scale[alpha=1,centred=false]").id


def test_the_id_of_a_modified_run_never_changes() -> None:
    assert run_of("mlp[width=64]+mup[base=32]").id == "mlp-mup-digits-s3-a41afbe446b8"


def test_a_stored_run_holds_its_modifiers_and_a_plain_one_no_word_of_them(tmp_path: Any) -> None:
    path = tmp_path / "spec.json"
    for address in ("mlp", ADDRESS):
        path.write_bytes(encode_record(run_of(address)))
        back = read_record(path, RunSpec)
        assert (back, back.id, str(back.architecture)) == (run_of(address), run_of(address).id, address)
        assert (b"modifiers" in path.read_bytes()) == (address != "mlp")


def test_a_stored_form_that_is_not_written_is_refused(tmp_path: Any) -> None:
    plain, nested = msgspec.to_builtins(run_of("mlp")), msgspec.to_builtins(run_of(ADDRESS))
    plain["architecture"]["modifiers"] = []
    first, second = nested["architecture"]["modifiers"]
    first["modifiers"] = [second]
    path = tmp_path / "spec.json"
    path.write_bytes(encode_record(plain))
    with pytest.raises(UntrustedFile, match="not in the form that universality writes"):
        read_record(path, RunSpec)
    path.write_bytes(encode_record(nested))
    with pytest.raises(UntrustedFile, match="a modifier is modified"):
        read_record(path, RunSpec)


@pytest.mark.parametrize(
    ("kind", "address", "text"),
    [
        (
            "task",
            "digits[subset=9]+output_scale",
            "a task takes no modifier\n"
            "  where: digits[subset=9]+output_scale\n"
            "  got:   +output_scale\n"
            "  do:    modify an architecture",
        ),
        (
            "phenomenon",
            "grokking+pinned[start=1]",
            "a phenomenon takes no modifier\n"
            "  where: grokking+pinned[start=1]\n"
            "  got:   +pinned[start=1]\n"
            "  do:    modify an architecture",
        ),
        (
            "architecture",
            "output_scale[alpha=3]",
            "'output_scale' is a modifier, no architecture\n"
            "  where: output_scale[alpha=3]\n"
            "  do:    ARCHITECTURE+output_scale[alpha=3]",
        ),
        (
            "architecture",
            "mlp+mup",
            "modifier 'mup' needs the parameter 'base'\n  where: mup\n  do:    mup[base=...]",
        ),
        (
            "architecture",
            "mlp+",
            "malformed address\n"
            "  where:    mlp+\n"
            "  got:      ''\n"
            "  expected: name or name[parameter=value,...]; package.module:factory for a network of your own",
        ),
        (
            "architecture",
            "mlp+pinned+output_scale+pinned[start=1]",
            "a modifier is given twice\n  where: mlp+pinned+output_scale+pinned[start=1]\n  got:   pinned\n  do:    give it once",
        ),
    ],
    ids=["task", "phenomenon", "alone", "required", "empty", "twice"],
)
def test_a_wrong_address_is_answered_with_what_is_wrong(kind: str, address: str, text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        resolve(kind, address)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("address", "what", "do"),
    [
        ("mlp+outputscale", "unknown modifier 'outputscale'", "'output_scale'"),
        ("mlp+output_scale[alhpa=2]", "unknown parameter of modifier 'output_scale' 'alhpa'", "'alpha'"),
        ("mpl+output_scale", "unknown architecture 'mpl'", "'mlp'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(address: str, what: str, do: str) -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("architecture", address)
    assert caught.value.what == what
    assert do in caught.value.do


def test_a_plus_inside_of_brackets_belongs_to_the_value() -> None:
    assert resolve("task", "arrays[path=a+b.npz]").path == "a+b.npz"
    assert str(component(resolve("architecture", "mlp+output_scale[alpha=1e+30]"))) == (
        "mlp+output_scale[alpha=1e+30]"
    )


def test_a_stored_task_with_a_modifier_is_refused() -> None:
    part = Component("digits", modifiers=(Component("pinned"),))
    with pytest.raises(BadParameter, match="a stored task has a modifier"):
        instantiate("task", part)


def test_modifiers_are_added_and_changed_by_name() -> None:
    net = resolve("architecture", "mlp[width=8]")
    lazy = modified(net, "output_scale", centred=True)
    assert str(component(lazy)) == "mlp[width=8]+output_scale[centred=true]"
    assert str(component(modified(lazy, "output_scale", alpha=3.0))) == (
        "mlp[width=8]+output_scale[alpha=3.0,centred=true]"
    )
    assert str(component(modified(lazy, "mup", base=4))).endswith("+output_scale[centred=true]+mup[base=4]")
    with pytest.raises(UnknownName, match="unknown parameter of modifier 'mup' 'width'"):
        modified(net, "mup", width=4)
    with pytest.raises(BadParameter, match="modifier 'mup' needs the parameter 'base'"):
        modified(net, "mup")


def test_a_parameter_finds_its_owner_or_is_refused() -> None:
    net = resolve("architecture", "mlp+output_scale+pinned")
    assert str(component(with_parameters(net, width=8, alpha=2.0, start=1))) == (
        "mlp[width=8]+output_scale[alpha=2.0]+pinned[start=1]"
    )
    assert with_parameters(unmodified(net), width=8) == resolve("architecture", "mlp[width=8]")
    with pytest.raises(UnknownName) as caught:
        with_parameters(net, alhpa=2.0)
    assert caught.value.what == "unknown parameter of 'mlp+output_scale+pinned' 'alhpa'"
    with pytest.raises(BadParameter) as refused:
        with_parameters(net, centred=True)
    assert str(refused.value) == (
        "'centred' is a parameter of mlp and of output_scale\n"
        "  where: mlp+output_scale+pinned\n"
        "  do:    write the address out"
    )


def test_scaling_and_rejecting_are_those_of_the_architecture() -> None:
    net = resolve("architecture", "cnn[width=4]+output_scale[alpha=2]")
    assert net.scaled(2.0) == resolve("architecture", "cnn[width=8]+output_scale[alpha=2]")
    assert net.reject(VECTOR) == unmodified(net).reject(VECTOR) != ""


@dataclass(frozen=True, kw_only=True)
class Wrapped(Modifier):
    """Around the network, except where it is a transformer; keeps what it was given."""

    number: int = 0

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        outer = nn.Sequential(net)
        outer.before = str(component(architecture))  # type: ignore[assignment]
        return outer

    def unwrap(self, net: nn.Module) -> nn.Module:
        assert isinstance(net, nn.Sequential)
        return net[0]

    def refuses(self, architecture: Architecture, inputs: InputSpec, outputs: int) -> str:
        return "it attends" if architecture.name == "transformer" else ""


@dataclass(frozen=True, kw_only=True)
class Again(Wrapped):
    """A second one."""


@pytest.mark.usefixtures("clean_registry")
def test_modifiers_are_applied_from_left_to_right_and_unwrapped_again() -> None:
    registry.register("wrapped", source="a test")(Wrapped)
    registry.register("again")(Again)
    net = resolve("architecture", "mlp[width=4,output_scale=3.0]+wrapped+again[number=2]")
    built = net.build(VECTOR, 2)
    assert built.before == "mlp[width=4,output_scale=3.0]+wrapped"
    assert built[0].before == "mlp[width=4,output_scale=3.0]"
    assert list(net.taps(built)) == ["layer1", "layer2"]
    assert net.readout(built) is unmodified(net).readout(built[0][0])
    assert registry.plugin_class("modifier", "wrapped").source == "a test"


@pytest.mark.usefixtures("clean_registry")
def test_an_architecture_that_a_modifier_refuses_is_an_error_with_both_names() -> None:
    registry.register("wrapped")(Wrapped)
    with pytest.raises(BadParameter) as caught:
        resolve("architecture", "transformer[dim=8]+wrapped").build(VECTOR, 2)
    assert str(caught.value) == (
        "wrapped cannot modify transformer\n  where: transformer[dim=8]+wrapped\n  got:   it attends"
    )


@pytest.mark.parametrize("name", registry.bare_addresses("architecture"))
@pytest.mark.parametrize(
    "address",
    ["output_scale[alpha=3.0,centred=true]", "init_scale[scale=2]", "pinned", "mup[base=8]", "normalised"],
)
def test_every_architecture_keeps_its_taps_and_its_readout(name: str, address: str) -> None:
    small = resolve("architecture", name).scaled(0.25)
    net = Modified(small, (resolve("modifier", address),))
    inputs = InputSpec("image", (1, 8, 8))
    torch.manual_seed(0)
    built = net.build(inputs, 3)
    inside = set(map(id, built.modules()))
    taps = net.taps(built)
    assert list(taps) == list(small.taps(small.build(inputs, 3)))
    assert {id(module) for module in (*taps.values(), net.readout(built))} <= inside
    assert built(torch.randn(2, 1, 8, 8)).shape == (2, 3)


def test_the_defaults_of_a_modifier_ask_nothing_of_recipe_and_seed() -> None:
    net = resolve("architecture", "mlp+output_scale+pinned[start=7]")
    net.check_recipe(Recipe(steps=1, lr=0.1, optimizer="adam"))
    assert net.init_seed(3) == 7
    assert replace(net, modifiers=net.modifiers[:1]).init_seed(3) == 3
