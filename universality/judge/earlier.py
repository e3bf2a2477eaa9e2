"""Cells that an earlier command measured, of the same runs by the same code: they are not measured again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from universality.plan.plan import PlannedCell, PlannedGroup
from universality.plugin.registry import component
from universality.plugin.sources import source
from universality.plugin.spec import digest
from universality.store.cells import CellRecord
from universality.store.environment import code_digest
from universality.store.journal import Journal
from universality.store.layout import MANIFEST
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile


class EarlierCells:
    """What is known of a results folder, in its `Journal`; without that, everything is measured.

    A cell is known where nothing changed that its records follow from: what is asked, the recordings of its runs or how
    these failed, and the code. Code is that of the phenomenon, of this package, and the versions of `environment.LIBRARIES`: any
    edit counts. What could not be measured is not kept.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._journal = store, Journal(store)
        self._now: dict[str, None] = {}

    def records(self, cell: PlannedCell) -> list[CellRecord] | None:
        """Of a cell whose records are stored, and intact."""
        key = self._key(cell)
        if key is None or (known := self._journal.get(key)) is None:
            return None
        try:
            records = list(map(CellRecord.read, known))
        except UntrustedFile:
            return None
        self._now[key] = None
        return records

    def keep(self, cell: PlannedCell, records: Sequence[CellRecord]) -> None:
        """Save what was measured."""
        problems = [group.problem for record in records for group in record.groups if group.problem]
        key = self._key(cell)
        if key is not None and not any(problem.stage == "measuring" for problem in problems):
            self._journal.add(key, [record.line() for record in records])
            self._now[key] = None

    def drop_others(self) -> None:
        """Forget what none of these cells follows from."""
        self._journal.keep(self._now)

    def _key(self, cell: PlannedCell) -> str | None:
        """None for a phenomenon that no file declares, whose code nobody knows."""
        if (about := source("phenomenon", cell.phenomenon.name)) is None:
            return None
        asked = [str(component(cell.phenomenon)), cell.phenomenon.version, cell.architecture, cell.task]
        control = None if cell.control is None else [str(cell.control.id), list(cell.control.claims)]
        groups = [
            [group.key, group.units, group.run_set, repr(group.keys), group.left_out, self._runs(group)]
            for group in cell.groups
        ]
        state = [*asked, cell.not_applicable, dict(cell.left_out), control, cell.swept, groups]
        return digest([about.sha256, code_digest(), state], 32)

    def _runs(self, group: PlannedGroup) -> list[list[object]]:
        """Of each run: its role, its id, what it had to observe, and the recording that has this, or how it failed."""
        found: list[list[object]] = []
        for role, run_id in group.runs.items():
            run = self._store.trajectory(run_id, group.observe[role])
            if run is not None:
                state = hashlib.sha256((run.folder / MANIFEST).read_bytes()).hexdigest()
            else:
                state = "; ".join(
                    f"{each.kind}: {each.message}" for each in self._store.failures(run_id)[-1:]
                )
            found.append([role, run_id, dict(group.observe[role]), state])
        return found
