"""Claims and checks say what they must: bounds are those of their version, and `met` follows from its number."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from universality.audit.findings import Audit
from universality.judge.resultset import clipped
from universality.plugin.claims import claim_record
from universality.plugin.records import CellRecord, Check
from universality.store.files import decode_json

TABLE = Path(__file__).with_name("claims.json")
"""Per built-in phenomenon and version, its claims as `claim_record` gives them. Versions are only added."""

_NEEDS = re.compile(r"(?P<op>>=|<=|<|>)\s*(?P<bound>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?P<percent>\s*%)?")
_COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}
_ROUNDING = 1e-5
"""Relative; a bound is written with six digits or more, so that a value this close may fall on either side."""


@cache
def builtin_claims() -> dict[str, dict[str, dict[str, Any]]]:
    """Phenomenon, version, claim: read from `TABLE`, so that neither torch nor a plugin is loaded."""
    table: dict[str, dict[str, dict[str, Any]]] = decode_json(TABLE.read_bytes())
    return table


def check_claims(found: Audit, records: Sequence[CellRecord]) -> None:
    """Bounds agree within the set, and with those that a built-in phenomenon has at that version."""
    first: dict[tuple[str, str, int, str], CellRecord] = {}
    unknown: dict[str, None] = {}
    table = builtin_claims()
    for r in records:
        name = f"measurements/{r.id}.json"
        claim = clipped(f"{r.phenomenon}.{r.claim_name}")
        other = first.setdefault((r.phenomenon, r.variant, r.version, r.claim_name), r)
        if other.claim != r.claim:
            found.say(name, f"{claim} claims {_bounds(r)}, in measurements/{other.id}.json {_bounds(other)}")
        known = table.get(r.phenomenon, {}).get(str(r.version))
        if known is None:
            unknown[f"{r.phenomenon}, version {r.version}"] = None
        elif known.get(r.claim_name) != claim_record(r.claim):
            held = known.get(r.claim_name)
            found.say(
                name,
                f"{claim} claims {_bounds(r)}; version {r.version} claims {held or 'nothing of that name'}",
            )
    for phenomenon in unknown:
        found.notes.append(f"bounds were not compared, as this is not built in: {clipped(phenomenon)}")


def _bounds(record: CellRecord) -> str:
    return clipped(str(claim_record(record.claim)))


def check_checks(found: Audit, records: Sequence[CellRecord]) -> None:
    """Where a gate or criterion needs `>= 0.8` and the like, whether it was met follows from its value."""
    for record in records:
        for group in record.groups:
            for check in _wrong(group.outcome.gates + group.outcome.criteria if group.outcome else ()):
                found.say(
                    f"measurements/{record.id}.json",
                    f"{clipped(group.key)}: {clipped(repr(check.name))} is {check.value:g} and needs "
                    f"{clipped(check.needs)}, but is said to be {'met' if check.met else 'unmet'}",
                )


def _wrong(checks: Sequence[Check]) -> Iterator[Check]:
    for check in checks:
        match = _NEEDS.fullmatch(check.needs.strip()) if isinstance(check.needs, str) else None
        if match is None:
            continue
        bound = float(match["bound"]) / (100 if match["percent"] else 1)
        exact = check.value == bound or not math.isclose(check.value, bound, rel_tol=_ROUNDING)
        if exact and check.met != _COMPARE[match["op"]](check.value, bound):
            yield check
