"""Each phenomenon is one short file: what it claims of which runs, with which controls. Mathematics stands in `measures`."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality import phenomena

FILES = sorted(path for path in Path(phenomena.__file__).parent.glob("*.py") if not path.stem.startswith("_"))
LINES = 90


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_phenomenon_is_read_at_a_glance(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES, (
        f"{path.name} has {len(lines)} lines, move what is not a declaration elsewhere"
    )


def test_there_are_files_to_look_at() -> None:
    assert {"edge_of_stability", "grokking"} <= {path.stem for path in FILES}
