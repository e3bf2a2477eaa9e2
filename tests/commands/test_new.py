"""`universality new` writes plugins that work as they are, and overwrites nothing."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import get_args

import pytest

from universality.audit.plugins.check import check_plugin
from universality.commands import main as cli
from universality.commands.new import Kind, Written, new
from universality.errors import BadParameter, StoreError, UnknownName
from universality.plugin import registry

KINDS = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("clean_registry")
def test_what_it_writes_keeps_its_contract(kind: Kind, tmp_path: Path) -> None:
    written = new(kind, "quite_new", into=tmp_path / "mine")
    assert written.path == tmp_path / "mine" / "quite_new.py"
    registry.load_plugins([written.path.parent])
    (answers,) = check_plugin("quite_new", tmp_path).values()
    assert len(answers) > 5
    assert [str(a) for a in answers if a.wrong or a.skipped] == []
    assert "example" not in written.path.read_text().lower()


def test_every_kind_of_plugin_has_a_template() -> None:
    assert set(KINDS) == set(registry.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_that_it_names_can_be_typed(kind: Kind, tmp_path: Path) -> None:
    check, other = new(kind, "quite_new", into=tmp_path / "a folder").commands
    for command in (check, other):
        program, *arguments = shlex.split(command)
        assert program == "universality"
        options = vars(cli.build_parser().parse_args(arguments))
        assert str(tmp_path / "a folder") in map(str, (*options.get("plugins", ()), options.get("into")))


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("precious")
    with pytest.raises(BadParameter, match="there is such a file already"):
        new("task", "mine", into=tmp_path)
    assert (tmp_path / "mine.py").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("my-net", "my_net"),
        ("3d", "my_3d"),
        ("class", "my_class"),
        ("_hidden", "hidden"),
        ("a/b", "a_b"),
        ("größe", "gr__e"),
        ("", "mine"),
        ("mlp", "my_mlp"),
        ("sharpness", "my_sharpness"),
        ("grokking", "my_grokking"),
        ("mup", "my_mup"),
    ],
)
def test_a_name_that_does_not_do_gets_another(name: str, suggestion: str, tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        new("architecture", name, into=tmp_path)
    assert caught.value.do == f"call it {suggestion}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "title"), [("nested_case", "NestedCase"), ("tensor", "TensorPlugin"), ("none", "NonePlugin")]
)
def test_its_class_hides_nothing_that_it_uses(name: str, title: str, tmp_path: Path) -> None:
    text = new("architecture", name, into=tmp_path).path.read_text()
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert title in classes
    assert len(classes) == len(set(classes)) == 2


def test_a_kind_that_there_is_not_and_a_folder_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown kind of plugin 'phenomena'"):
        new("phenomena", "mine", into=tmp_path)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        new("task", "mine", into=tmp_path / "file")


def test_it_says_where_the_file_is_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "probe", "mine", "--into", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'mine.py'}: ")
    assert [line.strip().split()[1] for line in lines[1:]] == ["check", "new"]


def test_it_can_be_called_from_python(tmp_path: Path) -> None:
    assert isinstance(new("modifier", "mine", into=tmp_path), Written)
