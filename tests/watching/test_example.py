"""The example of the documentation runs as it is."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "watch_your_own_loop.py"

if not EXAMPLE.exists():
    pytest.skip("the examples are in a checkout only", allow_module_level=True)


def test_the_example_reports_every_claim_and_the_course_of_sharpness() -> None:
    text = runpy.run_path(str(EXAMPLE))["main"](steps=200)
    assert text.startswith("After 200 of 200 updates.")
    for claim in ("nc1", "nc2_norms", "nc2_angles", "nc3"):
        assert f"neural_collapse.{claim} " in text
    assert "failed" not in text
    assert "Sharpness: " in text
