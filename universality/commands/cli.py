"""From a typed function to its command line: options, defaults, choices and help follow from the signature.

    def compare(first: Path, second: Path, *, out: Path | None = None) -> Comparison

becomes `compare first second [--out PATH]`. Parameters in front of the star are positional, the others are
options; the docstring's `Args:` explain each. argparse, since `--help` then answers in 0.08 s: libraries
that read the whole signature import what a command returns, and with it scipy, for 1.6 s.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar

COMMON = {
    "plugins": "load every .py file in this folder too; may be given several times",
    "data_root": "where data sets lie (default: $UNIVERSALITY_DATA, else ~/.cache/universality/data)",
}
"""Options that mean the same in every command."""

T = TypeVar("T")
_METAVARS = {int: "N", float: "X", Path: "PATH", str: "NAME"}


def several(values: Sequence[T]) -> tuple[T, ...]:
    """`values` as a tuple; one text or path stands for itself, not for its letters.

    >>> several("mlp"), several(["mlp", "cnn"])
    (('mlp',), ('mlp', 'cnn'))
    """
    return (values,) if isinstance(values, str | Path) else tuple(values)  # type: ignore[return-value]


def program(*arguments: str, plugins: Sequence[str | Path], data_root: Path) -> list[str]:
    """What gives a command with these arguments in another process, in whatever folder that starts."""
    command = [sys.executable, "-m", "universality", *arguments, "--data-root", str(data_root.resolve())]
    for folder in plugins:
        command += ["--plugins", str(Path(folder).resolve())]
    return command


def add_arguments(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Every parameter of `function` as an argument of `parser`."""
    helps = COMMON | explained(function)
    for parameter in inspect.signature(function).parameters.values():
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        name = parameter.name if positional else f"--{parameter.name.replace('_', '-')}"
        optional = parameter.default is not parameter.empty
        options: dict[str, Any] = {"help": helps[parameter.name]}
        if optional:
            options["default"] = parameter.default
        options |= _reading(_evaluated(parameter.annotation, function), positional, optional)
        parser.add_argument(name, **options)


def explained(function: Callable[..., Any]) -> dict[str, str]:
    """The `Args:` of a docstring, by name, each in one line."""
    section = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    # argparse reads a percent sign as a place for a value.
    return {name: re.sub(r"\s+", " ", text).replace("%", "%%") for name, text in entries}


def examples(function: Callable[..., Any]) -> list[str]:
    """The command lines under the `Examples:` of a docstring."""
    section = inspect.cleandoc(function.__doc__ or "").partition("\nExamples:\n")[2].partition("\n\n")[0]
    return [line.strip() for line in section.splitlines()]


def summary(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring, in one line."""
    return re.sub(r"\s+", " ", inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0])


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    # One at a time: what the function returns may be a name that only type checkers import.
    return eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation


def _reading(kind: Any, positional: bool, optional: bool) -> dict[str, Any]:
    """How argparse reads a value of the type `kind`."""
    inner = [each for each in typing.get_args(kind) if each is not NoneType]
    if kind is bool:
        return {"action": "store_true"}
    if typing.get_origin(kind) is Literal:
        return {"choices": list(inner)} | ({"nargs": "?"} if positional and optional else {})
    if typing.get_origin(kind) is Sequence:
        return _list(inner[0], positional, optional)
    if NoneType in typing.get_args(kind):
        return _reading(inner[0], positional, optional)
    return {"type": kind} | ({} if positional else {"metavar": _METAVARS[kind]})


def _list(item: type, positional: bool, optional: bool) -> dict[str, Any]:
    if positional:
        return {"type": item, "nargs": "*" if optional else "+"}
    if item is Path:  # an option of its own for each, so that no name behind it is taken for a folder
        return {"type": item, "metavar": "PATH", "action": "append", "default": []}
    return {"type": item, "metavar": _METAVARS[item], "nargs": "+"}
