"""Pages of phenomena are what the phenomena declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.output import handbook
from universality.plugin import registry

registry.load_plugins()

FOLDER = Path(__file__).parents[2] / "docs" / "phenomena"
PHENOMENA = registry.names("phenomenon")


def test_the_pages_in_docs_are_those_that_are_written_today(tmp_path: Path) -> None:
    """After a change: `universality list phenomena --write docs/phenomena`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in handbook.write(tmp_path)}
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")} == written


@pytest.mark.parametrize("name", PHENOMENA)
def test_a_page_has_every_claim_gate_and_control(name: str) -> None:
    cls = registry.plugin_class("phenomenon", name)
    text = handbook.page(cls).replace("\\", "")
    for claim_name, claim in cls.claims.items():
        assert f"| {claim_name} | {claim.title} | {claim.bound} |" in text
    for setting in cls.controls:
        assert f"| {setting.sign}: {setting.name} |" in text
    assert all(f"| {gate.name} |" in text for gate in cls.gates)


def test_pages_of_phenomena_that_are_no_more_are_deleted(tmp_path: Path) -> None:
    old = tmp_path / "phlogiston.md"
    old.write_text("of old")
    handbook.write(tmp_path)
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == len(PHENOMENA) + 1
