"""Measurements made by hand, for the tests of what is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.stored import write_lines
from universality.judge.resultset import ResultSet
from universality.plan.plan_json import PlanRecord
from universality.plan.runs_file import PlannedRun
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.controls import ControlId, Decidable, Sign
from universality.plugin.outcome import Check, Outcome
from universality.plugin.phenomenon import About, Sense
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.files import encode_json
from universality.store.folder import Manifest
from universality.store.layout import SCHEMA_VERSION, Layout

UNIT = Within(low=0, high=1)
DELAY = Most(at_least=5)


def about(sense: Sense = "number", **claims: str) -> About:
    return About(title="Edge", strand="laws", sense=sense, source="Toy 2020", claims=claims)


PHENOMENA = {"edge": about()}


def group(
    index: int,
    effect: float | None = 0.5,
    *,
    state: RunState = "done",
    gate: float | None = None,
    criterion: bool = True,
    censored: bool = False,
    units: tuple[str, ...] | None = None,
    problem: str = "",
) -> GroupRecord:
    outcome = Outcome(
        effect=effect,
        gates=() if gate is None else (Check("train accuracy", gate, at_least=0.99),),
        criteria=(Check("loss falls", float(criterion), at_least=1),),
        censored=censored,
        details={"index": float(index)},
    )
    return GroupRecord(
        key=f"s{index}",
        units=(str(index),) if units is None else units,
        runs={"run": f"r{index}"},
        state=state,
        outcome=outcome if state == "done" else None,
        problem=Problem("training", problem) if problem else None,
    )


def cell(
    groups: Sequence[GroupRecord],
    claim: Bound = UNIT,
    *,
    architecture: str = "mlp",
    task: str = "digits",
    control: ControlId | None = None,
    expects: tuple[Decidable, ...] = (),
    not_applicable: str = "",
    variant: str = "",
    swept: bool = False,
) -> CellRecord:
    return CellRecord(
        phenomenon="edge",
        version=1,
        claim_name="ratio",
        claim=claim,
        architecture=architecture,
        task=task,
        groups=tuple(groups),
        control=control,
        expects=expects,
        not_applicable=not_applicable,
        variant=variant,
        swept=swept,
    )


def effects(*values: float) -> list[GroupRecord]:
    return [group(i, value) for i, value in enumerate(values)]


def control(sign: Sign, effect: float, *expects: Decidable) -> CellRecord:
    return cell(
        effects(*[effect] * 3),
        architecture=f"{sign} net",
        control=ControlId(sign, "toy"),
        expects=expects,
    )


PASSING = [control("positive", 0.5, "present"), control("negative", 3.0, "absent", "inconclusive")]


def plan_of(
    records: Sequence[CellRecord] = (),
    *,
    suite: str = "toy",
    phenomena: Mapping[str, About] = PHENOMENA,
    settings: Sequence[Component] = (),
    components: Sequence[tuple[Component, Component]] = (),
) -> PlanRecord:
    """A plan that asks for these records; `components` are the architecture and the task of each run."""
    specs = [RunSpec(*pair, Recipe(steps=10, lr=0.1), 0) for pair in components]
    return PlanRecord(
        suite=suite,
        description="",
        plugins=(),
        data_root=False,
        wall_seconds=0.0,
        run_seconds=90.0,
        probe_seconds=0.0,
        environment={"universality": "0.1.0", "commit": "c0ffee", "torch": "2", "device": "cpu"},
        phenomena=phenomena,
        settings={str(part): part for part in settings},
        tiers={},
        cells=tuple(record.id for record in records),
        runs={spec.id: PlannedRun(spec=spec, observe={}) for spec in specs},
    )


MANIFEST = Manifest(schema_version=SCHEMA_VERSION, created="2026-01-01T00:00:00+00:00", environment={})


def set_of(
    records: Sequence[CellRecord], *, label: str = "toy", phenomena: Mapping[str, About] = PHENOMENA
) -> ResultSet:
    """A result set that is on no disk."""
    plan = plan_of(records, suite=label, phenomena=phenomena)
    return ResultSet(Layout(Path("nowhere")), label, MANIFEST, plan, tuple(records))


def publish(root: Path, records: Sequence[CellRecord], *, phenomena: Mapping[str, About] = PHENOMENA) -> Path:
    """A folder that holds what `ResultSet.load` reads."""
    layout = Layout(root)
    root.mkdir(parents=True)
    layout.manifest.write_bytes(encode_json(msgspec.to_builtins(MANIFEST)))
    layout.plan.write_bytes(plan_of(records, suite=root.name, phenomena=phenomena).file())
    write_lines(root, records)
    return root
