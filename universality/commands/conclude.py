"""From stored runs to a table: measure a plan, and write plan and measurements of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from universality.judge.adopted import Adopted
    from universality.plan.plan import Plan
    from universality.plan.suite import Suite
    from universality.store.cells import CellRecord
    from universality.store.store import Store
    from universality.train.messages import WorkerSettings


def conclude(
    plan: Plan,
    suite: Suite,
    store: Store,
    settings: WorkerSettings,
    adopted: Adopted,
    *,
    slots: int,
    timeout_s: float,
    data_root: bool,
    wall_seconds: float,
) -> list[CellRecord]:
    """Measure all cells from what is stored, and write suite, plan and measurements; until then the earlier ones stand.

    Args:
        adopted: has marked the plan.
        slots, timeout_s: of `judge.measuring.measure_all`.
        data_root: whether it was given.
        wall_seconds: of the command so far.

    Raises:
        UniversalityError: as `measure_all`, and where the disk refuses.
    """
    from universality.judge.measuring import measure_all
    from universality.plan.plan_json import PlanRecord
    from universality.store.environment import environment

    records = measure_all(plan, store, settings, slots=slots, timeout_s=timeout_s)
    sittings = adopted.sittings(plan)
    record = PlanRecord.of(
        plan,
        suite,
        environment(settings.device),
        plugins=list(settings.plugins),
        data_root=data_root,
        cells=[each.id for each in records],
        wall_seconds=round(wall_seconds, 1),
        run_seconds=round(store.seconds(plan.jobs) + sum(each.run_seconds for each in sittings), 1),
        probe_seconds=round(store.probe_seconds(plan.jobs) + sum(each.probe_seconds for each in sittings), 1),
        untrained=sum(
            not (store.covers(run_id, job.observe) or store.attempts(run_id))
            for run_id, job in plan.open_jobs.items()
        ),
        sittings=sittings,
        peak_memory_bytes=store.peak_memory_bytes(plan.jobs),
        ended=_ended(records, store) | adopted.times(plan),
    )
    store.write(store.layout.suite, suite.toml())
    store.write_measurements(records, record.file())
    return records


def _ended(records: Sequence[CellRecord], store: Store) -> dict[str, str]:
    """By measurement, when the first of its runs had ended; of none of which any run does not say."""
    known: dict[str, str] = {}
    times: dict[str, str] = {}
    for record in records:
        runs = {run for group in record.groups if group.outcome for run in group.runs.values()}
        ended = [known[run] if run in known else known.setdefault(run, store.ended(run)) for run in runs]
        if ended and all(ended):
            times[record.id] = min(ended)
    return times
