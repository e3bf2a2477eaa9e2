"""Representation similarity on networks that are trained: settings of its controls, at half of their budget."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from universality.judge.decide import CellVerdict, decide
from universality.judge.measure import measure_cell
from universality.phenomena.representation_similarity import RepresentationSimilarity
from universality.plan.planner import Planner
from universality.plan.runs_file import PlannedRun
from universality.plan.suite import parse
from universality.plugin import registry
from universality.plugin.phenomenon import controls_of
from universality.store.store import Store
from universality.train.messages import WorkerSettings
from universality.train.worker import replies

registry.load_plugins()

CONTROLS = {control.name: control for control in controls_of(RepresentationSimilarity())}


def verdicts(architecture: str, folder: Path) -> dict[str, CellVerdict]:
    """Of the claims about five seeds on digits."""
    suite = parse(
        f'name = "s"\ncontrols = false\n[[cross]]\nphenomena = ["representation_similarity[steps=300]"]\n'
        f'architectures = ["{architecture}"]\ntasks = ["digits[subset=1000]"]\nseeds = 5\n',
        where="test",
    )
    plan = Planner(folder).add_suite(suite)
    store = Store.create(folder / "results")
    settings = WorkerSettings(store_root=store.layout.root, device="cpu", plugins=(), data_root=folder)
    stacks = defaultdict(list)
    for job in plan.jobs.values():
        stacks[job.spec.task].append(PlannedRun(spec=job.spec, observe=job.observe))
    for stack in stacks.values():
        assert {reply.state for reply in replies(stack, store, settings)} == {"done"}
    (cell,) = plan.cells
    decided = map(decide, measure_cell(cell, store))
    return {v.record.claim_name: v for v in decided if not v.record.not_applicable}


@pytest.mark.slow  # the controls of `test_controls.py` at half of their budget
@pytest.mark.parametrize(
    ("control", "verdict"), [("large initial weights", "absent"), ("three layers", "present")]
)
def test_networks_of_three_layers_are_alike_and_told_apart_unless_they_are_lazy(
    control: str, verdict: str, tmp_path: Path
) -> None:
    found = verdicts(CONTROLS[control].architecture, tmp_path)
    assert {name: v.verdict for name, v in found.items()} == dict.fromkeys(
        ("cka_seeds", "knn_seeds", "cka_beyond_labels", "knn_beyond_labels", "layers_cka"), verdict
    )
    # Every group met its gates: no verdict is that of a gate.
    groups = dict.fromkeys(found, 10) | {"layers_cka": 5}
    assert (
        {name: v.decided for name, v in found.items()}
        == {name: v.groups for name, v in found.items()}
        == groups
    )
    assert found["layers_cka"].details["identified_untrained"] == pytest.approx(1 / 3)
