"""`universality new`: a plugin to start from."""

from __future__ import annotations

import keyword
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["phenomenon", "architecture", "task", "probe", "modifier"]
_TEMPLATES = Path(__file__).parent / "templates"
_TRY = {
    "phenomenon": "--phenomena {name} --architectures mlp lstm --tasks 'digits[subset=300]'",
    "architecture": "--phenomena {phenomenon} --architectures {name} --tasks 'digits[subset=200]'",
    "task": "--phenomena {phenomenon} --architectures 'mlp[width=32]' --tasks {name}",
    "modifier": "--phenomena {phenomenon} --architectures 'mlp[width=32]+{name}' --tasks 'digits[subset=200]'",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A plugin that was written: its file, and commands that try it."""

    path: Path
    commands: tuple[str, ...]


def new(kind: Kind, name: str, *, into: Path = Path("my_plugins")) -> Written:
    """Write a plugin to start from: one short file that works as it is.

    Args:
        kind: of plugin
        name: by which it is addressed; the file has it too
        into: folder of the file (default: my_plugins)

    Raises:
        BadParameter: a name that is no identifier or that a built-in plugin has, or a file that is there already.
        StoreError: a folder that cannot be written.

    Examples:
        universality new phenomenon my_claim
    """
    from universality.errors import BadParameter, StoreError, unknown_name

    if kind not in get_args(Kind):
        raise unknown_name("kind of plugin", kind, get_args(Kind))
    _check_name(name)
    path = Path(into) / f"{name}.py"
    text = (_TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    if path.exists():
        raise BadParameter(
            "there is such a file already", where=str(path), do="take another name, or remove it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_named(text, name))
    except OSError as error:
        raise StoreError(
            "the plugin cannot be written",
            where=str(path),
            got=str(error),
            do="choose a folder that can be written, or another name",
        ) from None
    return Written(path, tuple(_commands(kind, name, shlex.quote(str(into)))))


def _check_name(name: str) -> None:
    from universality.errors import BadParameter
    from universality.plugin import registry

    plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "mine"
    suggestion = f"my_{plain}" if plain[0].isdigit() or keyword.iskeyword(plain) else plain
    if name != suggestion:
        raise BadParameter(
            "a plugin's name is a Python name that does not begin with _",
            got=repr(name),
            do=f"call it {suggestion}",
        )
    registry.load_plugins()
    for kind in registry.KINDS:
        if name in registry.names(kind):
            raise BadParameter(
                "a built-in plugin has this name", got=f"{kind} {name}", do=f"call it my_{name}"
            )


def _named(text: str, name: str) -> str:
    """The template, which is called `example`, under another name."""
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    taken = set(re.findall(r"\w+", text)) - {"Example"}
    title = f"{title}Plugin" if title in taken or keyword.iskeyword(title) else title
    return re.sub(r"\bExample\b", title, re.sub(r"\bexample\b", name, text))


def _commands(kind: Kind, name: str, folder: str) -> Iterator[str]:
    yield f"universality check {name} --plugins {folder}"
    if kind == "probe":
        yield f"universality new phenomenon about_{name} --into {folder}"
    else:
        from universality.plugin import registry

        phenomenon = registry.names("phenomenon")[0]  # the first that is built in: any will do
        yield f"universality run --plugins {folder} --name {name} --seeds 3 {_TRY[kind].format(name=name, phenomenon=phenomenon)}"


def show(written: Written) -> int:
    from universality.text import plain

    print(f"{plain(written.path, None)}: works as it is, edit it. Next:")
    for command in written.commands:
        print(f"  {plain(command, None)}")
    return 0
