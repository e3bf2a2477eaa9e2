"""Conformance of plugins, checked before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar, get_args

from universality.errors import BadParameter, unknown_name
from universality.plugin import registry
from universality.plugin.claims import Most, Within, unfit
from universality.plugin.foreign import ANSWER_SECONDS, foreign
from universality.plugin.loading import home
from universality.plugin.phenomenon import Control, Decidable, Group, Phenomenon, Sense, Strand

T = TypeVar("T")

_DECIDABLE = get_args(Decidable)


def ask(plugin: registry.Plugin, method: str, call: Callable[[], T]) -> T:
    """What a method of a plugin answers; any error of its own becomes a `BadParameter` that names it."""
    cls = type(plugin)
    place = home(cls)
    with foreign(
        f"{registry.kind_of(cls)} '{plugin.name}' cannot be planned",
        where=f"{place.file if place else cls.__module__}, {method}()",
        do="check its parameters, and the method",
        # Large data of a built-in task may take its time.
        seconds=math.inf if place is None else ANSWER_SECONDS,
    ):
        return call()


def check_phenomenon(phenomenon: Phenomenon) -> Sequence[Control]:
    """Its controls, after its class attributes and theirs were found consistent. Raises `BadParameter`."""
    name = phenomenon.name
    if not phenomenon.claims or not all(isinstance(c, Within | Most) for c in phenomenon.claims.values()):
        raise BadParameter(f"phenomenon '{name}' claims nothing", expected="claims = {name: Within(...)}")
    for claim_name, claim in phenomenon.claims.items():
        if wrong := unfit(claim):
            raise BadParameter(
                f"phenomenon '{name}' claims what no effect can meet or every one does",
                where=f"claims, '{claim_name}'",
                got=f"{claim!r}: {wrong}",
                expected="bounds low < high, one of them finite, positive ones on the log scale",
            )
    for attribute, options in (("sense", get_args(Sense)), ("strand", get_args(Strand))):
        value = getattr(phenomenon, attribute, None)
        if value not in options:
            raise BadParameter(
                f"phenomenon '{name}' needs a {attribute}", got=repr(value), expected=" or ".join(options)
            )
    controls = ask(phenomenon, "controls", lambda: list(phenomenon.controls()))
    for control in controls:
        where = f"{name}, {control.sign} control '{control.name}'"
        for claim_name, verdicts in control.expects.items():
            if claim_name not in phenomenon.claims:
                raise unknown_name("claim", claim_name, phenomenon.claims, where=where)
            for verdict in verdicts:
                if verdict not in _DECIDABLE:
                    raise unknown_name("verdict", verdict, _DECIDABLE, where=where)
    return controls


def check_groups(phenomenon: Phenomenon, groups: Sequence[Group]) -> Sequence[Group]:
    """The groups themselves, if they can be told apart and name their replicates."""
    keys: set[str] = set()
    for group in groups:
        if group.key in keys or not group.units or not isinstance(group.units, tuple):
            raise BadParameter(
                f"phenomenon '{phenomenon.name}' has a malformed group",
                where="groups()",
                got=f"key {group.key!r}, units {group.units!r}",
                expected="a key of its own, and units as a tuple of names",
            )
        keys.add(group.key)
    return groups
