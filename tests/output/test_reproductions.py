"""Published numbers are asked of what exists, and stand beside what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from universality.judge.resultset import ResultSet
from universality.output import reproductions as output
from universality.output.reproductions import Published, Reproduction
from universality.plugin import registry
from universality.plugin.phenomenon import controls_of
from universality.plugin.registry import component

registry.load_plugins()

QUICK = Path(__file__).parents[2] / "results" / "quick-cpu"


@pytest.mark.parametrize("entry", output.published(), ids=lambda entry: entry.what)
def test_a_published_number_is_asked_of_a_claim_and_of_its_control_as_that_is_declared(
    entry: Published,
) -> None:
    name, _, claim = entry.claim.partition(".")
    phenomenon = registry.resolve("phenomenon", name)
    assert claim in phenomenon.claims
    place = [component(registry.resolve(kind, getattr(entry, kind))) for kind in ("architecture", "task")]
    if entry.control:
        control = next(c for c in controls_of(phenomenon) if c.name == entry.control)
        assert claim in control.claims
        assert place == [
            component(registry.resolve(kind, getattr(control, kind))) for kind in ("architecture", "task")
        ]


def test_ours_is_the_effect_of_the_cell_with_its_interval() -> None:
    results = ResultSet.load(QUICK)
    (found,) = [r for r in output.reproductions([results]) if r.published.claim == "neural_collapse.nc3"]
    (control,) = [
        v
        for v in results.verdicts
        if v.record.claim_name == "nc3" and v.record.control and v.record.control.sign == "positive"
    ]
    assert (found.estimate, found.low, found.high) == (control.effect, control.low, control.high)
    assert found.verdict == control
    assert found.published.what in output.page([found])


def test_a_detail_has_an_interval_of_its_own_and_a_missing_cell_none(monkeypatch: pytest.MonkeyPatch) -> None:
    results = ResultSet.load(QUICK)
    first = next(entry for entry in output.published() if entry.claim == "neural_collapse.nc3")
    entries = (
        Published(
            **{f: getattr(first, f) for f in first.__struct_fields__} | {"detail": "validation_accuracy"}
        ),
        Published(**{f: getattr(first, f) for f in first.__struct_fields__} | {"task": "digits[subset=7]"}),
    )
    monkeypatch.setattr(output, "published", lambda: entries)
    detail, missing = output.reproductions([results])
    assert (detail.estimate, detail.low, detail.high) == (1.0, 1.0, 1.0)
    assert (missing.estimate, missing.verdict) == (None, None)
    text = output.page([detail, missing])
    assert text.count("digits[subset=7]") == 2, "its command, and where it stands among those not run"
    assert "| not run" not in text


def test_dots_are_ratios_or_differences_from_zero_and_bounds_have_none() -> None:
    entry: dict[str, Any] = {
        "what": "slope",
        "source": "s",
        "setting": "s",
        "claim": "a.b",
        "architecture": "mlp",
        "task": "digits",
    }
    found = [
        Reproduction(Published(value=-2.0, **entry), None, -1.0, -1.5, -0.5),
        Reproduction(Published(value=0.0, **entry), None, 0.1, 0.0, 0.2),
        Reproduction(Published(value=1.0, bound="at most", **entry), None, 0.1, 0.0, 0.2),
        Reproduction(Published(value=4.0, **entry), None, None, None, None),
    ]
    drawn = [[list(line.get_xdata()) for line in axes.lines[1:]] for axes in output.figure(found).axes]
    assert drawn == [[[0.25, 0.75], [0.5]], [[0.0, 0.2], [0.1]]]
    assert [r.agrees for r in found] == ["no", "yes", "yes", "-"]
    measured = replace(found[2], verdict=ResultSet.load(QUICK).verdicts[0])
    assert "| slope | at most 1.00 |" in output.page([measured])


def test_the_command_asks_the_setting_and_the_seeds_that_were_measured() -> None:
    results = ResultSet.load(QUICK)
    cell = next(
        v for v in results.verdicts if v.record.phenomenon == "edge_of_stability" and not v.record.control
    )
    assert cell.record.variant != "edge_of_stability", "a setting of the suite"
    entry = Published(
        what="w",
        value=1.0,
        source="s",
        setting="s",
        claim="edge_of_stability.gd",
        architecture=cell.record.architecture,
        task=cell.record.task,
    )
    found = Reproduction(entry, cell)
    assert f"--phenomena '{cell.record.variant}'" in found.command
    assert f"--seeds {len(cell.record.groups)}" in found.command
    few = replace(cell, units=2)
    assert f"2 of {len(cell.record.groups)} seeds decided" in output.page([replace(found, verdict=few)])
    alone = replace(
        found,
        published=Published(**{f: getattr(entry, f) for f in entry.__struct_fields__} | {"control": "c"}),
    )
    assert "--phenomena 'edge_of_stability' " in alone.command, "a control is planned beside its phenomenon"
