"""Plugins by name: addressed by parameters, refused with a text that helps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.errors import BadParameter, UnknownName
from universality.plugin import registry
from universality.plugin.probe import Probe
from universality.plugin.registry import component, instantiate, register, resolve
from universality.plugin.spec import Component


@dataclass(kw_only=True)
class Knobs(Probe):
    count: int = 3
    rate: float = 0.5
    on: bool = True
    word: str = "a"
    choice: Literal["sum", "mean"] = "sum"
    found: tuple[int, ...] = field(default=(), init=False)

    def record(self, training: Any) -> dict[str, float]:
        return {}


@dataclass(kw_only=True)
class Needy(Probe):
    path: str

    def record(self, training: Any) -> dict[str, float]:
        return {}


@pytest.fixture
def knobs(clean_registry: None) -> None:
    register("knobs")(Knobs)
    register("needy")(Needy)


# ------------------------------------------------------------------------------------------ addresses


@pytest.mark.usefixtures("knobs")
def test_parameters_are_parsed_by_their_annotation() -> None:
    found = resolve("probe", "knobs[count=-7,rate=1e-3,on=FALSE,word=1,choice=mean]")
    values = (found.count, found.rate, found.on, found.word, found.choice)
    assert values == (-7, 1e-3, False, "1", "mean")
    assert [type(v) for v in values] == [int, float, bool, str, str]


@pytest.mark.usefixtures("knobs")
def test_a_float_written_as_an_integer_is_the_same_component() -> None:
    assert component(resolve("probe", "knobs[rate=1]")).identity() == component(Knobs(rate=1.0)).identity()
    assert component(Knobs(rate=1)).identity() == component(Knobs(rate=1.0)).identity()
    assert str(component(Knobs(rate=1))) == "knobs[rate=1.0]"


BAD_VALUES = {
    "count=3.5": "not a number\n  where:    knobs[count=3.5]\n  got:      '3.5'\n  expected: int",
    "count=many": "not a number\n  where:    knobs[count=many]\n  got:      'many'\n  expected: int",
    "count=true": "not a number\n  where:    knobs[count=true]\n  got:      'true'\n  expected: int",
    "rate=fast": "not a number\n  where:    knobs[rate=fast]\n  got:      'fast'\n  expected: float",
    "rate=nan": "not a number\n  where:    knobs[rate=nan]\n  got:      'nan'\n  expected: float",
    "rate=-inf": "not a number\n  where:    knobs[rate=-inf]\n  got:      '-inf'\n  expected: float",
    "rate=1e999": "not a number\n  where:    knobs[rate=1e999]\n  got:      '1e999'\n  expected: float",
    "on=1": "not a truth value\n  where:    knobs[on=1]\n  got:      '1'\n  expected: true or false",
    "on=yes": "not a truth value\n  where:    knobs[on=yes]\n  got:      'yes'\n  expected: true or false",
    "choice=Sum": "not a known choice\n  where:    knobs[choice=Sum]\n  got:      'Sum'\n  expected: sum or mean",
}


@pytest.mark.usefixtures("knobs")
@pytest.mark.parametrize("item", BAD_VALUES)
def test_a_value_of_another_type_is_refused_with_what_was_expected(item: str) -> None:
    with pytest.raises(BadParameter) as caught:
        resolve("probe", f"knobs[{item}]")
    assert str(caught.value) == BAD_VALUES[item]


@pytest.mark.usefixtures("knobs")
def test_an_unknown_parameter_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("probe", "knobs[choise=sum]")
    assert str(caught.value) == (
        "unknown parameter of probe 'knobs' 'choise'\n"
        "  where:    knobs[choise=sum]\n"
        "  expected: one of: choice, count, on, rate, word\n"
        "  do:       did you mean 'choice'?"
    )


@pytest.mark.usefixtures("knobs")
def test_state_of_a_plugin_is_no_parameter() -> None:
    assert set(registry.parameters(Knobs)) == {"count", "rate", "on", "word", "choice"}
    with pytest.raises(UnknownName, match="unknown parameter of probe 'knobs' 'found'"):
        resolve("probe", "knobs[found=1]")


@pytest.mark.usefixtures("knobs")
def test_a_required_parameter_is_asked_for() -> None:
    with pytest.raises(BadParameter) as caught:
        resolve("probe", "needy")
    assert str(caught.value) == (
        "probe 'needy' needs the parameter 'path'\n  where: needy\n  do:    needy[path=...]"
    )
    assert str(component(resolve("probe", "needy[path=x]"))) == "needy[path=x]"


def test_an_unknown_name_is_answered_with_the_closest_and_all_others() -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("architecture", "transfomer[dim=2]")
    assert str(caught.value) == (
        "unknown architecture 'transfomer'\n"
        f"  expected: one of: {', '.join(registry.names('architecture'))}\n"
        "  do:       did you mean 'transformer'?"
    )


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("task", "qqqqqq")
    assert "did you mean" not in str(caught.value)


@pytest.mark.usefixtures("clean_registry")
def test_a_parameter_of_a_type_that_addresses_lack_is_refused_and_not_guessed() -> None:
    @register("odd")
    @dataclass(kw_only=True)
    class Odd(Probe):
        size: int | None = None

        def record(self, training: Any) -> dict[str, float]:
            return {}

    with pytest.raises(BadParameter) as caught:
        resolve("probe", "odd[size=3]")
    assert str(caught.value) == (
        "a parameter that no address can set\n"
        "  where:    odd[size=3]\n"
        "  got:      int | None\n"
        "  expected: bool, int, float, str or a Literal of strings\n"
        "  do:       give it field(init=False), or another type"
    )


# --------------------------------------------------------------------------------------------- labels


@pytest.mark.usefixtures("knobs")
def test_a_label_shows_what_differs_from_the_defaults_and_an_identity_shows_all() -> None:
    part = component(Knobs(count=4, on=False))
    assert str(part) == "knobs[count=4,on=false]"
    assert str(component(Knobs())) == "knobs"
    assert part.params == (("choice", "sum"), ("count", 4), ("on", False), ("rate", 0.5), ("word", "a"))


def stored(part: Component) -> Component:
    """The component after it was written to a file."""
    return msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(part))), Component)


@given(
    count=st.integers(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    on=st.booleans(),
    word=st.from_regex(r"[\w./-]{1,9}", fullmatch=True),
    choice=st.sampled_from(["sum", "mean"]),
)
def test_a_label_is_an_address_of_the_same_plugin(**values: Any) -> None:
    known = dict(registry._plugins["probe"])
    try:
        register("knobs")(Knobs)
        plugin = Knobs(**values)
        assert resolve("probe", str(component(plugin))) == plugin
        assert instantiate("probe", stored(component(plugin))) == plugin
    finally:
        registry._plugins["probe"] = known


@pytest.mark.parametrize("kind", ["architecture", "task", "phenomenon", "probe"])
def test_every_builtin_survives_its_own_record(kind: str) -> None:
    for name in registry.names(kind):
        required = [
            key
            for key, entry in registry.parameters(registry.plugin_class(kind, name)).items()
            if registry.default(entry) is registry.MISSING
        ]
        plugin = resolve(kind, name + (f"[{','.join(f'{k}=x' for k in required)}]" if required else ""))
        part = component(plugin)
        assert type(instantiate(kind, stored(part))) is type(plugin)
        assert component(resolve(kind, str(part))).identity() == part.identity()


@pytest.mark.usefixtures("knobs")
def test_a_stored_parameter_that_is_gone_is_named() -> None:
    with pytest.raises(BadParameter) as caught:
        instantiate("probe", Component("knobs", (("count", 1), ("gone", 1), ("found", 2))))
    assert str(caught.value) == (
        "stored probe 'knobs' has parameters that this version does not know\n  got: gone, found"
    )


# ------------------------------------------------------------------------------------------- registering


@pytest.mark.usefixtures("knobs")
def test_registering_a_class_again_is_no_clash() -> None:
    register("knobs")(Knobs)
    assert registry.plugin_class("probe", "knobs") is Knobs


@pytest.mark.usefixtures("knobs")
def test_two_classes_of_one_file_cannot_share_a_name() -> None:
    with pytest.raises(BadParameter) as caught:
        register("knobs")(Needy)
    assert str(caught.value) == (
        "two plugins are called probe 'knobs'\n"
        f"  where: {__name__}.Knobs and {__name__}.Needy\n"
        "  do:    rename one of them"
    )


@pytest.mark.usefixtures("clean_registry")
def test_one_name_may_be_used_once_per_kind() -> None:
    name = registry.names("task")[0]
    register(name)(Knobs)
    assert registry.plugin_class("probe", name) is Knobs
    assert registry.plugin_class("task", name) is not Knobs


@pytest.mark.usefixtures("clean_registry")
def test_a_class_that_lacks_a_method_of_its_contract_is_refused_by_name() -> None:
    class Mute(Probe):
        pass

    with pytest.raises(BadParameter, match="probe 'mute' lacks what its contract asks for") as caught:
        register("mute")(Mute)
    assert caught.value.got == "no record"
    assert "mute" not in registry.names("probe")


def test_a_class_of_no_contract_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="int is no Architecture, Task, Phenomenon, Probe or Modifier"):
        register("number")(int)
