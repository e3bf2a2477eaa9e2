"""Conformance of a phenomenon, checked when it is registered: nothing of it needs a cell."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields
from itertools import combinations
from typing import get_args

from universality.errors import BadParameter, unknown_name
from universality.plugin.bounds import Most, Within, unfit
from universality.plugin.charts import MAX_CHARTS, Chart
from universality.plugin.claim import Claim
from universality.plugin.controls import Setting
from universality.plugin.phenomenon import Phenomenon, Sense, Strand
from universality.plugin.readings import Requirement
from universality.plugin.runs import RunSet
from universality.text import is_printable

_CHARTS = get_args(Chart)

MAX_TEXT = 300
"""Characters of a title, a source, a unit or the name of a control."""


def check_phenomenon(cls: type[Phenomenon]) -> None:
    """That a phenomenon claims what can be missed, of runs of its own, with charts and controls.

    Raises `BadParameter` or `UnknownName`, which name the file and the line.
    """
    name, place = cls.name or cls.__name__, _place(cls)
    if not cls.claims:
        raise BadParameter(
            f"phenomenon '{name}' claims nothing", where=place, expected="name = claim(Within(...), ...)"
        )
    _check_texts(cls, name, place)
    for attribute, options in (("sense", get_args(Sense)), ("strand", get_args(Strand))):
        value = getattr(cls, attribute, None)
        if value not in options:
            raise BadParameter(
                f"phenomenon '{name}' needs a {attribute}",
                where=place,
                got=repr(value),
                expected=" or ".join(options),
            )
    for attribute, expected in (("asks", "asks = (classes(3),)"), ("gates", "gates = (require(...),)")):
        if not isinstance(getattr(cls, attribute), tuple | list):
            raise BadParameter(
                f"the {attribute} of phenomenon '{name}' are no tuple",
                where=place,
                got=repr(getattr(cls, attribute))[:80],
                expected=expected,
            )
    _check_asks(f"phenomenon '{name}'", cls.asks, place)
    for claim_name, claim in cls.claims.items():
        _check_claim(f"{name}.{claim_name}", claim)
    sets = {claim.runs for claim in cls.claims.values()}
    for first, second in combinations(sorted(sets, key=lambda runs: runs.where), 2):
        if first.name == second.name:
            raise BadParameter(
                f"two run sets of phenomenon '{name}' have one name",
                where=f"{first.where} and {second.where}",
                got=first.name,
                do="rename one of them; a trailing _runs does not count",
            )
    for requirement in cls.gates:
        _check_requirement(f"a gate of phenomenon '{name}'", requirement, place)
    if not isinstance(cls.controls, tuple | list) or not all(isinstance(s, Setting) for s in cls.controls):
        raise BadParameter(
            f"the controls of phenomenon '{name}' are not settings",
            where=place,
            got=repr(cls.controls)[:80],
            expected="controls = (positive(...), negative(...))",
        )
    for setting in cls.controls:
        _check_setting(cls, name, setting)
    names = [(setting.sign, setting.name) for setting in cls.controls]
    for setting in cls.controls:
        if names.count((setting.sign, setting.name)) > 1:
            raise BadParameter(
                f"two {setting.sign} controls of phenomenon '{name}' have one name",
                where=setting.where,
                got=setting.name,
                do="give each a name that says what it changes",
            )
    judged = {claim for s in cls.controls for claim in (cls.claims if s.claims is None else s.claims)}
    for claim_name, claim in cls.claims.items():
        if claim_name not in judged:
            raise BadParameter(
                f"no control judges the claim {name}.{claim_name}",
                where=claim.where,
                do="add a positive and a negative control to `controls`: without them nobody knows that it is measured right",
            )


def _check_texts(cls: type[Phenomenon], name: str, place: str) -> None:
    """That what is stored of it can be read again: nothing checks a type before that."""
    texts = {name: (getattr(cls, name), place) for name in ("title", "source", "dispute")}
    texts = {f"the {name}": text for name, text in texts.items()}
    for claim_name, claim in cls.claims.items():
        texts[f"the title of the claim {claim_name}"] = (claim.title, claim.where)
        texts[f"the unit of the claim {claim_name}"] = (getattr(claim.bound, "unit", ""), claim.where)
    for setting in cls.controls if isinstance(cls.controls, tuple | list) else ():
        if isinstance(setting, Setting):
            texts[f"the name of the control {setting.name!r}"[:80]] = (setting.name, setting.where)
    for what, (text, where) in texts.items():
        if not isinstance(text, str) or len(text) > MAX_TEXT or not is_printable(text):
            raise BadParameter(
                f"{what} of phenomenon '{name}' is no text of at most {MAX_TEXT} characters in one line, all of which can be seen",
                where=where,
                got=repr(text)[:80],
            )
    if type(cls.version) is not int or not 1 <= cls.version < 10**6:
        raise BadParameter(
            f"the version of phenomenon '{name}' is no number of one",
            where=place,
            got=repr(cls.version)[:80],
            expected="1, 2, ...",
        )


def _check_claim(name: str, claim: Claim) -> None:
    if not isinstance(claim.bound, Within | Most):
        raise BadParameter(
            f"the claim {name} has no bound",
            where=claim.where,
            got=repr(claim.bound),
            expected="Within(low=..., high=...) or Most(at_least=...)",
        )
    if wrong := unfit(claim.bound):
        raise BadParameter(
            f"the claim {name} is one that no effect can meet or every one does",
            where=claim.where,
            got=f"{claim.bound!r}: {wrong}",
            expected="bounds low < high, one of them finite, positive ones on the log scale",
        )
    if not isinstance(claim.runs, RunSet):
        raise BadParameter(
            f"the claim {name} is bound to no runs",
            where=claim.where,
            got=repr(claim.runs),
            expected="runs=a method under @per_seed, @per_pair or @per_partner",
        )
    if not callable(claim.effect):
        raise BadParameter(
            f"the claim {name} measures nothing",
            where=claim.where,
            got=repr(claim.effect),
            do="make it the decorator of the method that measures its effect, or give it a function",
        )
    if not claim.charts or not all(isinstance(chart, _CHARTS) for chart in claim.charts):
        raise BadParameter(
            f"the claim {name} has no chart",
            where=claim.where,
            got=repr(claim.charts),
            expected=f"chart={' or '.join(f'{kind.__name__}(...)' for kind in _CHARTS)}",
        )
    if len(claim.charts) > MAX_CHARTS:
        raise BadParameter(
            f"the claim {name} has too many charts",
            where=claim.where,
            got=str(len(claim.charts)),
            expected=f"at most {MAX_CHARTS}, the most telling first",
        )
    if claim.pooled and claim.runs.scope != "seed":
        raise BadParameter(
            f"the claim {name} pools pairs", where=claim.where, expected="a run set under @per_seed"
        )
    _check_asks(f"the claim {name}", claim.asks, claim.where)
    for requirement in (*claim.gates, *claim.criteria):
        _check_requirement(f"a gate or criterion of {name}", requirement, claim.where)


def _check_asks(what: str, asks: Sequence[object], where: str) -> None:
    for ask in asks:
        if not callable(ask):
            raise BadParameter(
                f"an ask of {what} cannot be asked",
                where=where,
                got=repr(ask)[:80],
                expected="a function of a cell that gives a reason, or nothing: classes(3)",
            )


def _check_requirement(what: str, requirement: Requirement, where: str) -> None:
    if not isinstance(requirement, Requirement):
        raise BadParameter(
            f"{what} is none",
            where=where,
            got=repr(requirement),
            expected="require(name, value, at_least=...)",
        )


def _check_setting(cls: type[Phenomenon], name: str, setting: Setting) -> None:
    what = f"{setting.sign} control '{setting.name}' of {name}"
    for claim_name in setting.claims or ():
        if claim_name not in cls.claims:
            raise unknown_name("claim", claim_name, cls.claims, where=f"{setting.where}, {what}")
    known = [f.name for f in fields(cls) if f.init]
    for parameter in setting.changes:
        if parameter not in known:
            raise unknown_name(
                f"parameter of phenomenon '{name}'", parameter, known, where=f"{setting.where}, {what}"
            )
    for kind, address in zip(
        ("architecture", "task"),
        (setting.architecture or cls.reference[0], setting.task or cls.reference[1]),
        strict=True,
    ):
        if not address:
            raise BadParameter(
                f"the {what} names no {kind}",
                where=setting.where,
                do=f"give it {kind}=..., or the phenomenon reference = (architecture, task)",
            )


def _place(cls: type[Phenomenon]) -> str:
    """File and line of a class."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"
