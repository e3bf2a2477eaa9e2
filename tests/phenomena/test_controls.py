"""Controls of every built-in phenomenon, trained and measured from suite to verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.commands.run import Finished, run
from universality.plugin import registry

registry.load_plugins()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", registry.names("phenomenon"))
def test_controls_come_out_as_they_must(name: str, tmp_path: Path) -> None:
    """The positive ones present, the negative ones absent."""
    architecture, task = registry.plugin_class("phenomenon", name).reference
    file = tmp_path / "suite.toml"
    file.write_text(
        f'name = "{name}"\n[[cross]]\nphenomena = ["{name}"]\narchitectures = ["{architecture}"]\ntasks = ["{task}"]\n'
    )
    result = run(suite=str(file), results=tmp_path, device="cpu", workers=0)
    assert isinstance(result, Finished)
    assert not result.failed
    assert not result.unmeasured
    controls = [v for v in result.results.verdicts if v.record.control]
    wrong = [
        f"{v.record.control}, {v.record.claim_name}: {v.raw}, {v.reason}"
        for v in controls
        if v.control_result != "passed"
    ]
    assert not wrong
    assert {v.record.control.sign for v in controls if v.record.control} == {"positive", "negative"}
