"""Suites: which phenomena are asked of which architectures on which tasks, as TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from universality.errors import BadSuite, unknown_name

DEFAULT_SEEDS = 5
"""The fewest with which a claim about the share of runs can be decided."""

_FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossSpec:
    """Every phenomenon in every architecture on every task, over `seeds` seeds."""

    phenomena: tuple[str, ...]
    architectures: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int = DEFAULT_SEEDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of crosses. With `controls`, every phenomenon's controls run beside its cells.

    `sweeps` ask for cells that map where a claim ends, e.g. along a parameter of the phenomenon. They
    are shown, judged by the controls of the cross of the same phenomenon, and not counted.
    """

    name: str
    crosses: tuple[CrossSpec, ...]
    sweeps: tuple[CrossSpec, ...] = ()
    description: str = ""
    controls: bool = True

    def toml(self) -> str:
        """The text that `parse` reads back."""
        lines = [
            f"name = {_quoted(self.name)}",
            f"description = {_quoted(self.description)}",
            f"controls = {json.dumps(self.controls)}",
        ]
        for title, cross in (*(("cross", c) for c in self.crosses), *(("sweep", c) for c in self.sweeps)):
            lines += ["", f"[[{title}]]"]
            lines += [
                f"{key} = [{', '.join(map(_quoted, getattr(cross, key)))}]"
                for key in ("phenomena", "architectures", "tasks")
            ]
            lines.append(f"seeds = {cross.seeds}")
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, but TOML knows no surrogate pairs and no bare DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def builtin() -> dict[str, Path]:
    """The suites that come with the package."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load(name: str) -> Suite:
    """A built-in suite by name, or any suite by the path of its file.

    Raises `UnknownName` or `BadSuite`.
    """
    path = builtin().get(name) or Path(name)
    if not path.is_file():
        if path.suffix == ".toml":
            raise BadSuite("no such suite file", got=name)
        raise unknown_name("suite", name, builtin())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSuite("a suite cannot be read", where=str(path), got=str(error)) from None
    return parse(text, where=str(path))


def parse(text: str, *, where: str) -> Suite:
    """A suite from TOML. Raises `BadSuite` for anything that is not exactly a suite."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSuite("a suite is not valid TOML", where=where, got=str(error)) from None
    _known_keys(raw, {"name", "description", "controls", "cross", "sweep"}, where)
    crosses, sweeps = raw.get("cross", []), raw.get("sweep", [])
    name = raw.get("name", "")
    if not isinstance(name, str):
        raise BadSuite("a suite's name is text", where=where, got=f"name = {name!r}")
    check_name(name, where=where)
    if not isinstance(raw.get("controls", True), bool):
        raise BadSuite("controls is true or false", where=where, got=repr(raw["controls"]))
    if not isinstance(raw.get("description", ""), str):
        raise BadSuite("description is text", where=where, got=repr(raw["description"]))
    if not isinstance(crosses, list) or not crosses:
        raise BadSuite("a suite without [[cross]] asks for nothing", where=where)
    if not isinstance(sweeps, list):
        raise BadSuite("sweeps are tables", where=where, got=repr(sweeps), expected="[[sweep]]")
    return Suite(
        name=name,
        description=raw.get("description", ""),
        controls=raw.get("controls", True),
        crosses=tuple(_cross(c, "cross", f"{where}, cross {i + 1}") for i, c in enumerate(crosses)),
        sweeps=tuple(_cross(c, "sweep", f"{where}, sweep {i + 1}") for i, c in enumerate(sweeps)),
    )


def check_name(name: str, *, where: str = "") -> str:
    """`name` itself where it can be the name of a results folder."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise BadSuite(
            "a suite needs a name of letters, digits, - and _", where=where, got=f"name = {name!r}"
        )
    return name


def _cross(raw: Any, title: str, where: str) -> CrossSpec:
    if not isinstance(raw, dict):
        raise BadSuite(f"a {title} is a table", where=where, got=repr(raw), expected=f"[[{title}]]")
    _known_keys(raw, {f.name for f in fields(CrossSpec)}, where)
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("phenomena", "architectures", "tasks"):
        value = raw.get(key, [])
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise BadSuite(
                f"a {title} needs {key}", where=where, got=repr(value), expected="a list of names, not empty"
            )
        lists[key] = tuple(dict.fromkeys(value))
    seeds = raw.get("seeds", DEFAULT_SEEDS)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise BadSuite("seeds is a number of replicates", where=where, got=repr(seeds), expected=">= 1")
    return CrossSpec(**lists, seeds=seeds)


def _known_keys(raw: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in raw:
        if key not in known:
            unknown = unknown_name("key of a suite", key, known)
            raise BadSuite(unknown.what, where=where, expected=unknown.expected, do=unknown.do)
