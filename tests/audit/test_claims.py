"""Bounds are those of their version, and no link is followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from universality.audit.claims import TABLE, builtin_claims, check_claims
from universality.audit.findings import Audit
from universality.commands.report import report
from universality.errors import StoreError
from universality.plugin import registry
from universality.plugin.bounds import Most, Within
from universality.plugin.loading import home
from universality.store import measurements
from universality.store.cells import CellRecord
from universality.store.files import encode_json
from universality.store.store import Store

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "quick-cpu"
EDGE = registry.plugin_class("phenomenon", "edge_of_stability").version


def records() -> list[CellRecord]:
    return sorted(measurements.read(PUBLISHED / "measurements.jsonl.gz"), key=lambda record: record.id)


def audit_of(measurements: list[CellRecord]) -> Audit:
    audit = Audit(PUBLISHED)
    check_claims(audit, measurements)
    return audit


def problems(measurements: list[CellRecord]) -> list[str]:
    return [str(problem) for problem in audit_of(measurements).problems]


def test_the_table_of_builtin_claims_is_up_to_date() -> None:
    """A changed bound needs a new version; then add what this prints to the table."""
    for name in registry.names("phenomenon"):
        phenomenon = registry.resolve("phenomenon", name)
        if home(type(phenomenon)) is not None:  # of another test
            continue
        versions = {str(phenomenon.version): {name: claim.bound for name, claim in phenomenon.claims.items()}}
        text = encode_json(msgspec.to_builtins({name: versions})).decode()
        assert builtin_claims()[name].items() >= versions.items(), text


def test_the_table_of_builtin_claims_has_the_stored_form_and_no_other() -> None:
    assert TABLE.read_bytes() == encode_json(msgspec.to_builtins(builtin_claims()))


def test_the_published_set_claims_what_it_must() -> None:
    assert problems(records()) == []


def test_a_forged_bound_at_an_unchanged_version_is_found() -> None:
    forged = [
        replace(r, claim=replace(r.claim, high=99.0))
        if r.claim_name == "gd" and isinstance(r.claim, Within)
        else r
        for r in records()
    ]
    texts = problems(forged)
    assert len(texts) == sum(r.claim_name == "gd" for r in forged) > 0
    for text in texts:
        assert "edge_of_stability.gd claims Within(low=0.9, high=99.0," in text
        assert f"version {EDGE} claims Within(low=0.9, high=1.15," in text


@pytest.mark.parametrize(
    "change",
    [
        {"low": 0.8},
        {"high": 1.1500000001},
        {"high": float("inf")},
        {"unit": "sharpness"},
        {"scale": "linear"},
        None,
    ],
)
def test_a_claim_is_its_kind_bounds_unit_and_scale(change: dict[str, object] | None) -> None:
    record = next(r for r in records() if r.claim_name == "gd")
    claim = Most(at_least=0.9, unit=record.claim.unit) if change is None else replace(record.claim, **change)
    assert len(problems([replace(record, claim=claim)])) == 1


def test_a_claim_that_its_version_does_not_make_is_found() -> None:
    record = next(r for r in records() if r.claim_name == "gd")
    (text,) = problems([replace(record, claim_name="rprop")])
    assert f"version {EDGE} claims nothing of that name" in text


def test_bounds_that_differ_within_a_set_are_found_for_unknown_phenomena_too() -> None:
    a, b, *_ = (replace(r, phenomenon="own", variant="own") for r in records() if r.claim_name == "gd")
    audit = audit_of([a, replace(b, claim=Within(low=0.0))])
    assert len(audit.problems) == 1
    assert any("not built in" in note for note in audit.notes)


@pytest.mark.parametrize("name", ["evidence.csv", "report", "plan.json.gz", "measurements.jsonl.gz"])
def test_report_refuses_a_set_with_links_and_writes_nothing_through_them(name: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(PUBLISHED, tmp_path / "quick-cpu"))
    part, outside = root / name, tmp_path / "outside"
    part.rename(outside)
    before = sorted((p, p.stat().st_mtime_ns) for p in [outside, *outside.rglob("*")])
    part.symlink_to(outside)
    with pytest.raises(StoreError, match="symbolic link") as refused:
        report(root)
    assert refused.value.where == str(part)
    with pytest.raises(StoreError, match="symbolic link"):
        Store.open(root, writable=True)
    assert sorted((p, p.stat().st_mtime_ns) for p in [outside, *outside.rglob("*")]) == before
