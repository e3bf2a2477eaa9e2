"""All pilots, trained and measured from suite to verdict."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from universality.commands.run import Finished, run
from universality.judge.decide import CellVerdict

HERE = Path(__file__).parent
ALL = tomllib.loads((HERE / "pilots.toml").read_text())["cross"]


def finished(suite: str, folder: Path) -> Finished:
    file = folder / "suite.toml"
    file.write_text(suite)
    result = run(suite=str(file), results=folder, device="cpu", workers=0, plugins=[HERE / "plugins"])
    assert isinstance(result, Finished)
    assert not result.failed
    assert not result.unmeasured
    return result


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted({cross["phenomena"][0] for cross in ALL}))
def test_controls_come_out_as_they_must(pilots: Path, tmp_path: Path, name: str) -> None:
    """Over five seeds; the positive ones present, the negative ones absent."""
    cross = next(cross for cross in ALL if cross["phenomena"] == [name])
    lines = [f"{axis} = {cross[axis]}".replace("'", '"') for axis in ("phenomena", "architectures", "tasks")]
    result = finished("\n".join([f'name = "{name}"', "[[cross]]", *lines]), tmp_path)
    controls: list[CellVerdict] = [v for v in result.results.verdicts if v.record.control]
    wrong = [
        f"{v.record.control}, {v.record.claim_name}: {v.raw}, {v.reason}"
        for v in controls
        if v.control_result != "passed"
    ]
    assert not wrong
    assert {v.record.control.sign for v in controls if v.record.control} == {"positive", "negative"}
