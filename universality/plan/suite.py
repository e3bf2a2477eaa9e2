"""Suites: which phenomena are asked of which architectures on which tasks, as TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from universality.errors import BadSuite, UniversalityError, unknown_name
from universality.store.untrusted import UntrustedFile, read_bytes
from universality.text import short

DEFAULT_SEEDS = 5
"""The fewest with which a claim about the share of runs can be decided."""

AXES = ("phenomena", "architectures", "tasks")

_FOLDER = Path(__file__).parent / "suites"


Names = Annotated[tuple[str, ...], Meta(min_length=1)]


class CrossSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every phenomenon in every architecture on every task, over `seeds` seeds from `first_seed` on. Without architectures
    and tasks it asks for the controls of its phenomena alone."""

    phenomena: Names
    architectures: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    seeds: Annotated[int, Meta(ge=1)] = DEFAULT_SEEDS
    first_seed: Annotated[int, Meta(ge=0, lt=10**6)] = 0

    @property
    def replicates(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    def __post_init__(self) -> None:
        for axis in AXES:
            force_setattr(self, axis, tuple(dict.fromkeys(getattr(self, axis))))
        if bool(self.architectures) != bool(self.tasks):
            raise ValueError("architectures without tasks, or tasks without architectures")

    @property
    def has_cells(self) -> bool:
        return bool(self.tasks)


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named list of crosses. With `controls`, every phenomenon's controls run beside its cells, over `control_seeds`
    seeds; 0 is as many as each control says.

    `sweeps` ask for cells that map where a claim ends, e.g. along a parameter of the phenomenon. They
    are shown, judged by the controls of the cross of the same phenomenon, and not counted.
    """

    name: str
    crosses: Annotated[tuple[CrossSpec, ...], Meta(min_length=1)] = msgspec.field(name="cross")
    sweeps: tuple[CrossSpec, ...] = msgspec.field(name="sweep", default=())
    description: str = ""
    controls: bool = True
    control_seeds: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.control_seeds and not self.controls:
            raise ValueError("control_seeds where controls = false")
        if not all(sweep.has_cells for sweep in self.sweeps):
            raise ValueError("a [[sweep]] without architectures and tasks")
        if not self.controls and not all(cross.has_cells for cross in self.crosses):
            raise ValueError("a [[cross]] without architectures and tasks, and controls = false")

    def toml(self) -> str:
        """The text that `parse` reads back."""
        lines = [
            f"name = {_quoted(self.name)}",
            f"description = {_quoted(self.description)}",
            f"controls = {json.dumps(self.controls)}",
        ]
        if self.control_seeds:
            lines.append(f"control_seeds = {self.control_seeds}")
        for title, cross in (*(("cross", c) for c in self.crosses), *(("sweep", c) for c in self.sweeps)):
            lines += ["", f"[[{title}]]"]
            lines += [f"{key} = [{', '.join(map(_quoted, getattr(cross, key)))}]" for key in AXES]
            lines.append(f"seeds = {cross.seeds}")
            lines += [f"first_seed = {cross.first_seed}"] if cross.first_seed else []
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
            raise BadSuite(
                "no such suite file",
                got=name,
                do="check the path; `universality list suites` names those that come along",
            )
        raise unknown_name("suite", name, builtin())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSuite(
            "a suite cannot be read",
            where=str(path),
            got=str(error),
            do="check that the file is yours to read, and is text",
        ) from None
    return parse(text, where=str(path))


def choose(
    suite: str | None,
    architectures: Sequence[str],
    tasks: Sequence[str],
    phenomena: Sequence[str],
    seeds: int | None,
    name: str | None,
) -> Suite:
    """The suite named, or a cross of the user's own, as on the command line. Raises `BadSuite` for a mixture."""
    axes = {"phenomena": tuple(phenomena), "architectures": tuple(architectures), "tasks": tuple(tasks)}
    options = [f"--{key}" for key, names in axes.items() if names]
    if not options:
        if seeds is not None:
            raise BadSuite("--seeds belongs to a cross of your own", do="set seeds in the suite's file")
        loaded = load("quick" if suite is None else str(suite))
        return loaded if name is None else msgspec.structs.replace(loaded, name=check_name(name))
    if suite or len(options) < 3:
        raise BadSuite(
            "a cross of your own needs all three axes, and no --suite",
            got=" ".join(options + (["--suite"] if suite else [])),
            expected="--phenomena ... --architectures ... --tasks ...",
        )
    replicates = DEFAULT_SEEDS if seeds is None else seeds
    if replicates < 1:
        raise BadSuite("--seeds is a number of replicates", got=str(replicates), expected=">= 1")
    cross = CrossSpec(
        phenomena=axes["phenomena"],
        architectures=axes["architectures"],
        tasks=axes["tasks"],
        seeds=replicates,
    )
    return Suite(name=check_name("custom" if name is None else name), crosses=(cross,))


def read_suite(path: Path) -> Suite:
    """The suite.toml of a result set. Raises `UntrustedFile` for anything else."""
    try:
        return parse(read_bytes(path, most=1 << 20).decode(), where=path.name)
    except UniversalityError as error:
        raise UntrustedFile(f"is damaged: {error.what}: {short(error.got, 120)}") from None
    except (RecursionError, ValueError) as error:
        raise UntrustedFile(f"is damaged: {type(error).__name__}") from None


def parse(text: str, *, where: str) -> Suite:
    """A suite from TOML. Raises `BadSuite` for anything that is not exactly a suite."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSuite(
            "a suite is not valid TOML",
            where=where,
            got=str(error),
            expected='name = "mine", then [[cross]] tables',
        ) from None
    _check_keys(raw, Suite, where)
    for title in ("cross", "sweep"):
        tables = raw.get(title)
        for number, table in enumerate(tables if isinstance(tables, list) else (), start=1):
            _check_keys(table, CrossSpec, f"{where}, {title} {number}")
    try:
        suite = msgspec.convert(raw, Suite)
    except msgspec.ValidationError as error:
        raise BadSuite(
            "a suite cannot be read",
            where=where,
            got=str(error),
            expected="name, and [[cross]] tables with phenomena, architectures and tasks: lists of names",
        ) from None
    check_name(suite.name, where=where)
    return suite


def check_name(name: str, *, where: str = "") -> str:
    """`name` itself where it can be the name of a results folder."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise BadSuite(
            "a suite needs a name of letters, digits, - and _",
            where=where,
            got=f"name = {name!r}",
            expected='such as name = "my-suite"',
        )
    return name


def _check_keys(table: Any, kind: type[msgspec.Struct], where: str) -> None:
    """An unknown key is answered with the nearest known one."""
    keys = [field.encode_name for field in msgspec.structs.fields(kind)]
    for key in table if isinstance(table, dict) else ():
        if key not in keys:
            unknown = unknown_name("key of a suite", key, keys)
            raise BadSuite(unknown.what, where=where, expected=unknown.expected, do=unknown.do)
