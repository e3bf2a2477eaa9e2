"""Result sets on no disk whose plan declares charts, for the tests of what draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.judge import toy_cells
from universality.judge.resultset import ResultSet
from universality.plugin.bounds import Bound, Within
from universality.plugin.charts import Chart
from universality.plugin.outcome import Check, Outcome
from universality.plugin.phenomenon import About
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord, GroupRecord

EDGE = Within(low=0.9, high=1.15, unit="ratio")
STEPS = (0, 1, 10, 100, 1000)


def cell(
    outcomes: Sequence[Outcome | float | None],
    *,
    architecture: str = "mlp",
    task: str = "digits",
    claim_name: str = "ratio",
    claim: Bound = EDGE,
    phenomenon: str = "edge",
    runs: str = "",
    **more: Any,
) -> CellRecord:
    """A cell with a group for each outcome (a number is the effect of one), on the runs `<cell>-<seed>`."""
    name = runs or f"{architecture}-{task}-{claim_name}"
    groups = tuple(
        GroupRecord(
            key=f"s{i}",
            units=(f"s{i}",),
            runs={"run": f"{name}-{i}"},
            state="done",
            outcome=Outcome(effect=outcome) if isinstance(outcome, float) else outcome,
        )
        for i, outcome in enumerate(outcomes)
    )
    return CellRecord(
        phenomenon=phenomenon,
        variant=phenomenon,
        version=1,
        claim_name=claim_name,
        claim=claim,
        architecture=architecture,
        task=task,
        groups=groups,
        **more,
    )


def undecided(effect: float, **more: Any) -> Outcome:
    return Outcome(effect=effect, gates=(Check("fitted", 0.1, at_least=0.9),), **more)


def results(
    records: Sequence[CellRecord],
    charts: Mapping[str, Sequence[Chart]],
    titles: Mapping[str, str] | None = None,
) -> ResultSet:
    """A set in which the claims of every phenomenon have these charts."""
    about = About(
        title="Edge",
        strand="laws",
        sense="number",
        source="",
        claims=titles or {},
        charts={claim: tuple(of) for claim, of in charts.items()},
    )
    return toy_cells.set_of(records, phenomena={record.phenomenon: about for record in records})


def recorded(records: Sequence[CellRecord], *names: str, factor: float = 1.0) -> dict[str, dict[str, Series]]:
    """Series of every run, 1 / (1 + step + place of the run in its cell) times `factor`."""
    return {
        run: {
            name: Series(np.array(STEPS), factor / (1 + np.array(STEPS, dtype=float) + place))
            for name in names
        }
        for record in records
        for place, group in enumerate(record.groups)
        for run in group.runs.values()
    }
