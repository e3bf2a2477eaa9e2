"""Cells that another result set has measured, of the same runs by the same versions: their runs are not trained again.

So a large suite can be trained in several sittings, on several machines, of which only what was published is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from universality.judge.measure import unmeasured
from universality.judge.resultset import ResultSet
from universality.plan.plan import Plan, PlannedCell
from universality.plan.plan_json import PlanRecord, Sitting
from universality.plugin.sources import source
from universality.store.cells import CellRecord
from universality.store.files import storing
from universality.store.folder import entries_of
from universality.store.layout import Layout
from universality.store.store import Store

_SETTLED = ("done", "diverged")
"""States that training again would not change."""


@dataclass(frozen=True)
class Adopted:
    """Result sets whose measurements are believed: of several that have one, the first counts."""

    sets: tuple[ResultSet, ...] = ()

    @classmethod
    def of(cls, layout: Layout, given: Iterable[Path] = ()) -> Adopted:
        """What a results folder has adopted, and what it is to adopt now.

        Raises:
            StoreError: for a set that cannot be used.
        """
        kept = adopted_folders(layout)
        new = [path for path in given if not (kept and path.resolve() == layout.root.resolve())]
        return cls(tuple(map(ResultSet.load, (*kept, *new))))

    def keep(self, store: Store) -> None:
        """Copy the sets into a results folder, whose own tables may replace the ones that they are from.

        Of a set that has a page its trajectories come too: those of runs that are not trained here lie nowhere else.
        """
        for each in self.sets:
            paths = each.layout.manifest, each.layout.plan, each.layout.measurements
            with storing(each.layout.root):
                files = {path.name: path.read_bytes() for path in paths}
                page = each.layout.page.read_bytes() if each.layout.page.is_file() else b""
            digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:16]
            place = Layout(store.layout.adopted / digest)
            if each.layout.root != place.root:
                for name, data in files.items():
                    store.write(place.root / name, data)
                if page:
                    store.write(place.page, page)

    def mark(self, plan: Plan, store: Store | None) -> None:
        """Say in a plan which of its cells are measured.

        Args:
            store: a cell of which it has all runs is measured from these.

        Cost: linear in cells and runs.
        """
        known: dict[str, CellRecord] = {}
        for each in self.sets:
            usable = [name for name in each.plan.phenomena if _same_code(each.plan, name)]
            for record in each.records:
                if record.phenomenon in usable and all(group.state in _SETTLED for group in record.groups):
                    known.setdefault(record.id, record)
        for cell in plan.cells if known else ():
            if cell.groups and not (store and _stored(cell, store)):
                asked = unmeasured(cell)
                found = [known.get(record.id) for record in asked]
                records = [f for f, a in zip(found, asked, strict=True) if f and f.claim == a.claim]
                if len(records) == len(asked):
                    plan.adopted[cell.question] = records

    def sittings(self, plan: Plan) -> tuple[Sitting, ...]:
        """Where the adopted cells of a plan were measured, and how long their runs took, each sitting once."""
        left = {record.id for records in plan.adopted.values() for record in records}
        sittings: list[Sitting] = []
        for each in self.sets:
            for sitting in (*each.plan.earlier, _own(each.plan)):
                cells = [cell for cell in sitting.cells if cell in left]
                left.difference_update(cells)
                if cells:
                    sittings.append(msgspec.structs.replace(sitting, cells=tuple(cells)))
        return tuple(sittings)

    def times(self, plan: Plan) -> dict[str, str]:
        """When the first runs of the adopted cells of a plan had ended, as the sets say."""
        ids = {record.id for records in plan.adopted.values() for record in records}
        return {cell: t for each in reversed(self.sets) for cell, t in each.plan.times.items() if cell in ids}


def adopted_folders(layout: Layout) -> list[Path]:
    """Where a results folder keeps the sets that it has adopted, in the order in which they count."""
    return sorted(Path(entry.path) for entry in entries_of(layout.adopted))


def _own(plan: PlanRecord) -> Sitting:
    """What a set measured itself."""
    others = {cell for sitting in plan.earlier for cell in sitting.cells}
    return Sitting(
        environment=plan.environment,
        cells=tuple(cell for cell in plan.cells if cell not in others),
        run_seconds=max(0.0, plan.run_seconds - sum(sitting.run_seconds for sitting in plan.earlier)),
        probe_seconds=max(0.0, plan.probe_seconds - sum(sitting.probe_seconds for sitting in plan.earlier)),
    )


def _same_code(plan: PlanRecord, phenomenon: str) -> bool:
    """Whether a phenomenon has the source here that it had there; its version answers for one that is built in."""
    here = source("phenomenon", phenomenon)
    there = ({} if plan.sources is msgspec.UNSET else plan.sources).get("phenomenon", {}).get(phenomenon)
    return here is not None and (here.builtin or here == there)


def _stored(cell: PlannedCell, store: Store) -> bool:
    return all(
        store.covers(run_id, group.observe[role])
        for group in cell.groups
        for role, run_id in group.runs.items()
    )
