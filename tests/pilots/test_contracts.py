"""Each pilot is one screen of code, and keeps the contract of its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.audit.plugins.check import check_plugin
from universality.plan.planner import Planner
from universality.plan.suite import choose
from universality.plugin.kit.data import data_root

HERE = Path(__file__).parent
FILES = sorted((HERE / "plugins").glob("*.py"))
PHENOMENA = (
    "lazy_rich",
    "linear_modes",
    "conservation",
    "eigenlearning",
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_fits_on_a_screen(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert len(lines) <= (90 if file.name.startswith("p") and file.name[1].isdigit() else 45)


@pytest.mark.parametrize("name", [*PHENOMENA, "whitened", "power_law"])
def test_it_keeps_its_contract(pilots: Path, name: str) -> None:
    findings = check_plugin(name, data_root())
    assert findings
    # A rehearsal of three updates learns no mode, so that there is nothing to draw.
    answers = [finding for found in findings.values() for finding in found]
    assert not [str(f) for f in answers if f.wrong or (f.skipped and name != "linear_modes")]


def test_the_suite_asks_for_every_pilot_with_both_kinds_of_controls(pilots: Path) -> None:
    plan = Planner(data_root()).add_suite(choose(str(HERE / "pilots.toml"), (), (), (), None, None))
    assert not [cell.not_applicable for cell in plan.cells if cell.not_applicable]
    signs = {(c.phenomenon.name, c.control.sign) for c in plan.cells if c.control}
    assert signs == {(name, sign) for name in PHENOMENA for sign in ("positive", "negative")}
