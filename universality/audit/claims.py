"""Claims have the bounds of their version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from universality.audit.findings import Audit, file_of, quoted
from universality.plugin.bounds import Bound
from universality.store.cells import CellRecord
from universality.store.files import decode_json
from universality.text import short

TABLE = Path(__file__).with_name("claims.json")
"""The claims of each built-in phenomenon and version, in their stored form. Versions are only added."""

Claims = Mapping[str, Mapping[str, Mapping[str, Bound]]]
"""By phenomenon, version and name."""


@cache
def builtin_claims() -> Claims:
    """Read from `TABLE`, so that neither torch nor a plugin is loaded."""
    table: Claims = msgspec.convert(decode_json(TABLE.read_bytes()), Claims)
    return table


def check_claims(audit: Audit, records: Sequence[CellRecord]) -> None:
    """Bounds agree within the set, and with those that a built-in phenomenon has at that version."""
    first: dict[tuple[str, str, int, str], CellRecord] = {}
    strangers: dict[str, None] = {}
    for r in records:
        claims = f"{short(f'{r.phenomenon}.{r.claim_name}', 120)} claims {quoted(r.claim)}"
        other = first.setdefault((r.phenomenon, r.variant, r.version, r.claim_name), r)
        if other.claim != r.claim:
            audit.problem(file_of(r), f"{claims}, in {file_of(other)} {quoted(other.claim)}")
        builtin = builtin_claims().get(r.phenomenon, {}).get(str(r.version))
        if builtin is None:
            strangers[f"{r.phenomenon}, version {r.version}"] = None
        elif (true := builtin.get(r.claim_name)) != r.claim:
            version = "nothing of that name" if true is None else quoted(true)
            audit.problem(file_of(r), f"{claims}; version {r.version} claims {version}")
    for phenomenon in strangers:
        audit.note(f"bounds were not compared, as this is not built in: {short(phenomenon, 120)}")
