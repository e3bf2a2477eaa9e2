"""Plugins by name: found by path, addressed by parameters, refused with a text that helps."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import universality
from universality.errors import BadParameter, UnknownName
from universality.plugin import registry
from universality.plugin.probe import Probe
from universality.plugin.registry import component, instantiate, register, resolve
from universality.plugin.spec import Component

CHECKOUT = Path(universality.__file__).resolve().parents[1]
PROBE = """
from dataclasses import dataclass
from universality.plugin import Probe, register

@register("{name}")
@dataclass(kw_only=True)
class Mine(Probe):
    def record(self, training):
        return {{}}
"""


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


def write_probe(folder: Path, file: str, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(PROBE.format(name=name))
    return folder


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
        plugin = resolve(kind, name + (f"[{','.join(f'{k}=x.npz' for k in required)}]" if required else ""))
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


# ---------------------------------------------------------------------------------------- plugin folders


@pytest.mark.usefixtures("clean_registry")
def test_a_folder_of_plugins_is_loaded_under_private_names(tmp_path: Path) -> None:
    folder = write_probe(tmp_path / "mine", "modular.py", "mine")
    (folder / "_helper.py").write_text("raise RuntimeError('private files are not plugins')")
    (folder / "notes.txt").write_text("not Python")
    registry.load_plugins([folder])
    module = registry.plugin_class("probe", "mine").__module__
    assert module.startswith("universality_plugins.extra_")
    assert module.endswith(".modular")
    assert "modular" not in sys.modules
    # The built-in file of the same name is another module, untouched.
    assert registry.plugin_class("task", "modular").__module__ == "universality_plugins.tasks.modular"


@pytest.mark.usefixtures("clean_registry")
def test_files_of_one_name_in_two_folders_do_not_clash(tmp_path: Path) -> None:
    folders = [write_probe(tmp_path / f, "same.py", f) for f in ("first", "second")]
    registry.load_plugins(folders)
    modules = {registry.plugin_class("probe", f.name).__module__ for f in folders}
    assert len(modules) == 2


@pytest.mark.usefixtures("clean_registry")
def test_loading_twice_executes_a_file_once(tmp_path: Path) -> None:
    folder = tmp_path / "counted"
    folder.mkdir()
    (folder / "a.py").write_text(f"with open({str(tmp_path / 'log')!r}, 'a') as file: file.write('x')")
    registry.load_plugins([folder])
    registry.load_plugins([folder, Path(os.path.relpath(folder))])
    assert (tmp_path / "log").read_text() == "x"


@pytest.mark.usefixtures("clean_registry")
def test_a_plugin_with_the_name_of_a_builtin_is_refused(tmp_path: Path) -> None:
    folder = write_probe(tmp_path / "mine", "mine.py", "accuracy")
    with pytest.raises(BadParameter) as caught:
        registry.load_plugins([folder])
    assert caught.value.what == "two plugins are called probe 'accuracy'"
    assert caught.value.where.startswith("universality.probes.accuracy.")
    assert caught.value.where.endswith(".mine.Mine")
    assert registry.plugin_class("probe", "accuracy").__module__ == "universality.probes.accuracy"


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        registry.load_plugins([tmp_path / "none"])
    assert str(caught.value) == (
        f"no such plugin folder\n  got: {tmp_path / 'none'}\n  do:  --plugins takes a folder of .py files"
    )


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("x = = 1", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
    ids=["import", "syntax", "error"],
)
def test_a_file_that_does_not_import_is_named_and_may_be_mended(
    tmp_path: Path, source: str, got: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "broken.py").write_text(source)
    with pytest.raises(BadParameter) as caught:
        registry.load_plugins([folder])
    assert str(caught.value) == (
        "a plugin does not import\n"
        f"  where: {folder / 'broken.py'}\n"
        f"  got:   {got}\n"
        "  do:    mend the file or move it out of the folder"
    )
    write_probe(folder, "broken.py", "mended")
    # Python trusts a compiled file of the same second and size.
    for compiled in folder.rglob("*.pyc"):
        compiled.unlink()
    registry.load_plugins([folder])
    assert "mended" in registry.names("probe")


# ------------------------------------------------------------------------------------------ entry points


def entry(load: Any) -> Any:
    return SimpleNamespace(name="mine", value="package:plugins", load=load)


@pytest.mark.usefixtures("clean_registry")
def test_entry_points_of_the_group_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[Any]:
        asked.append(group)
        return [entry(lambda: register("from_entry")(Knobs))]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    registry.load_plugins()
    assert asked == ["universality.plugins"]
    assert registry.plugin_class("probe", "from_entry") is Knobs


def test_an_entry_point_that_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no package")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry(broken)])
    with pytest.raises(BadParameter) as caught:
        registry.load_plugins()
    assert str(caught.value) == (
        "a plugin does not import\n"
        "  where: entry point mine = package:plugins\n"
        "  got:   ImportError: no package\n"
        "  do:    mend or uninstall the package that declares it"
    )


# ---------------------------------------------------------------------------------- from anywhere, for real


def test_the_list_works_from_any_folder_and_shows_user_plugins(tmp_path: Path) -> None:
    write_probe(tmp_path / "mine", "modular.py", "probe_of_a_user")
    # Somebody's own modules of the same names lie in the working folder and must not be picked up.
    for name in ("tasks", "architectures", "modular", "mlp"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('picked up')")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "universality", "list", "--plugins", "mine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    shown = {
        line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ") and line[2] != " "
    }
    for kind in ("architecture", "task", "phenomenon", "probe"):
        assert set(registry.names(kind)) <= shown
    assert "probe_of_a_user" in shown
    assert "quick" in shown
