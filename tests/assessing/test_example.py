"""The example of the documentation runs, shortened."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "assess_your_own_network.py"

if not EXAMPLE.exists():
    pytest.skip("the examples are in a checkout only", allow_module_level=True)


def test_the_example_gives_a_row_for_every_claim(tmp_path: Path) -> None:
    finished = runpy.run_path(str(EXAMPLE))["main"](tmp_path, controls=False, steps=20)
    assert finished.failed == finished.unmeasured == ()
    claims = {row.claim_name for row in finished.results.rows}
    assert {"errors_seeds", "answers_seeds"} <= claims
