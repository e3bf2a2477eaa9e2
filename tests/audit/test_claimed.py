"""Bounds are those of their version, `met` follows from its number, and no link is followed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from universality.audit.claimed import TABLE, builtin_claims, check_checks, check_claims
from universality.audit.findings import Audit
from universality.errors import StoreError
from universality.plugin import registry
from universality.plugin.claims import Within, claim_record
from universality.plugin.records import CellRecord, Check
from universality.report.build import show
from universality.store.files import decode_json
from universality.store.store import Store

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "quick-cpu"


def records() -> list[CellRecord]:
    paths = sorted((PUBLISHED / "measurements").glob("*.json"))
    return [CellRecord.from_record(decode_json(path.read_bytes())) for path in paths]


def problems(found: Audit) -> list[str]:
    return [str(problem) for problem in found.problems]


def test_the_table_of_builtin_claims_is_up_to_date() -> None:
    """A changed bound needs a new version; then add what this prints to the table."""
    now = {
        name: {
            str(cls.version): {claim: claim_record(c) for claim, c in cls.claims.items()}
            for cls in [type(registry.resolve("phenomenon", name))]
        }
        for name in ("edge_of_stability", "grokking", "neural_collapse", "representation_similarity")
    }
    for name, versions in now.items():
        for version, claims in versions.items():
            assert builtin_claims()[name][version] == claims, json.dumps({name: versions})
    assert TABLE.is_file()


def test_the_published_set_claims_and_judges_as_it_must() -> None:
    found = Audit(PUBLISHED)
    check_claims(found, records())
    check_checks(found, records())
    assert problems(found) == []


def test_a_forged_bound_at_an_unchanged_version_is_found() -> None:
    forged = [
        replace(r, claim=replace(r.claim, high=99.0))
        if r.claim_name == "gd" and isinstance(r.claim, Within)
        else r
        for r in records()
    ]
    found = Audit(PUBLISHED)
    check_claims(found, forged)
    assert len(problems(found)) == sum(r.claim_name == "gd" for r in forged) > 0
    assert all("edge_of_stability.gd" in problem for problem in problems(found))


def test_bounds_that_differ_within_a_set_are_found_for_unknown_phenomena_too() -> None:
    a, b, *_ = (replace(r, phenomenon="own", variant="own") for r in records() if r.claim_name == "gd")
    found = Audit(PUBLISHED)
    check_claims(found, [a, replace(b, claim=Within(low=0.0))])
    assert len(problems(found)) == 1
    assert any("not built in" in note for note in found.notes)


@pytest.mark.parametrize(
    ("value", "needs", "met", "wrong"),
    [
        (0.94, ">= 0.8", False, True),
        (0.94, ">= 0.8", True, False),
        (0.5, "<= 0.5", True, False),
        (0.04, ">= 5 %", True, True),
        (0.06, ">= 5 %", True, False),
        (3.0, "crosses 0.95 from below", True, False),
    ],
)
def test_whether_a_check_is_met_follows_from_its_value(
    value: float, needs: str, met: bool, wrong: bool
) -> None:
    record = next(r for r in records() if r.groups and r.groups[0].outcome is not None)
    outcome = record.groups[0].outcome
    assert outcome is not None
    changed = replace(outcome, gates=(Check("gate", value, needs, met),), criteria=())
    found = Audit(PUBLISHED)
    check_checks(found, [replace(record, groups=(replace(record.groups[0], outcome=changed),))])
    assert bool(problems(found)) == wrong


@pytest.mark.parametrize("name", ["evidence.csv", "report", "plan.json", "measurements"])
def test_report_refuses_a_set_with_links_and_writes_nothing_through_them(name: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(PUBLISHED, tmp_path / "quick-cpu"))
    part, outside = root / name, tmp_path / "outside"
    part.rename(outside)
    before = sorted((p, p.stat().st_mtime_ns) for p in [outside, *outside.rglob("*")])
    part.symlink_to(outside)
    with pytest.raises(StoreError, match="symbolic link") as refused:
        show(root)
    assert refused.value.where == str(part)
    with pytest.raises(StoreError, match="symbolic link"):
        Store.open(root, writable=True)
    assert sorted((p, p.stat().st_mtime_ns) for p in [outside, *outside.rglob("*")]) == before
