"""Where a live function or class is defined: the text of its `def` or `class`, also of a cell of a notebook."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

_FUTURE = __future__.annotations.compiler_flag


@dataclass(frozen=True, slots=True)
class Definition:
    """A `def` or `class` statement with its decorators, at the margin.

    Args:
        later: whether annotations are not evaluated there (`from __future__ import annotations`).
        closed_over: variables of functions around it that it reads.
    """

    name: str
    text: str
    later: bool
    closed_over: tuple[str, ...]


def definition_of(value: FunctionType | type) -> Definition | None:
    """None where no source is found, and where the source is no longer what was executed.

    Cost: a parse of the file or the cell.
    """
    functions = list(_functions(value))
    for function in functions:
        code = function.__code__
        text = "".join(linecache.getlines(code.co_filename, function.__globals__))
        try:
            tree = ast.parse(text) if text else None
        except (SyntaxError, ValueError):
            tree = None
        node = _node(tree, value, code) if tree is not None else None
        if node is None:
            continue
        if not _is_executed(text, code):
            return None
        # Lines and not `ast.get_source_segment`: decorators stand above the statement.
        lines = text.splitlines(keepends=True)[_first_line(node) - 1 : node.end_lineno]
        outside = {name for each in functions for name in each.__code__.co_freevars if name != "__class__"}
        later = any(each.__code__.co_flags & _FUTURE for each in functions)
        return Definition(
            node.name, textwrap.dedent("".join(lines)).rstrip() + "\n", later, tuple(sorted(outside))
        )
    return None


def _functions(value: FunctionType | type) -> Iterator[FunctionType]:
    """The function itself, or the methods that the body of a class defines."""
    if isinstance(value, FunctionType):
        yield value
        return
    for each in vars(value).values():
        each = each.fget if isinstance(each, property) else getattr(each, "__func__", each)
        if isinstance(each, FunctionType):
            each = inspect.unwrap(each)
            if each.__qualname__ == f"{value.__qualname__}.{each.__name__}":
                yield each


_Node = ast.FunctionDef | ast.ClassDef


def _node(tree: ast.Module, value: FunctionType | type, code: CodeType) -> _Node | None:
    place = code.co_name, code.co_firstlineno
    for node in ast.walk(tree):
        if isinstance(value, type):
            here = isinstance(node, ast.ClassDef) and node.name == value.__name__
            if here and node.lineno < code.co_firstlineno <= (node.end_lineno or 0):  # type: ignore[attr-defined]
                return node  # type: ignore[return-value]
        elif isinstance(node, ast.FunctionDef) and (node.name, _first_line(node)) == place:
            return node
    return None


def _first_line(node: _Node) -> int:
    return min(each.lineno for each in (node, *node.decorator_list))


def _is_executed(text: str, code: CodeType) -> bool:
    """Whether compiling the source gives this code: a script may have been edited since it was started."""
    compiled = compile(text, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
    return any(_same(each, code) for each in _codes(compiled))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, CodeType) or not isinstance(other, CodeType):
        return type(one) is type(other) and bool(one == other)
    attributes = ("co_name", "co_code", "co_names", "co_varnames", "co_freevars")
    if any(getattr(one, each) != getattr(other, each) for each in attributes):
        return False
    constants = one.co_consts, other.co_consts
    return len(constants[0]) == len(constants[1]) and all(map(_same, *constants))
