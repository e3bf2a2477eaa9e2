"""The command that measures one cell again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from universality.plugin.records import CellRecord
from universality.report.page.text import shell_quoted
from universality.store.layout import PATH_TO

_Question = tuple[str, str, str]


class Commands:
    """Commands for the cells among `records`, which are in the order of their suite.

    Args:
        plan: where its run was given folders, the commands need them too.
    """

    def __init__(self, records: Sequence[CellRecord], plan: Mapping[str, Any]) -> None:
        self._folders = [word for folder in plan.get("plugins", ()) for word in ("--plugins", folder)]
        self._folders += ["--data-root", f"{PATH_TO}/DATA"] if plan.get("data_root") else []
        self._order: dict[_Question, dict[str, None]] = {}
        self._measured_by: dict[tuple[_Question, str], set[str]] = {}
        for record in records:
            if not record.control:
                question = _question(record)
                self._order.setdefault(question, {})[record.architecture] = None
                for run in _runs(record):
                    self._measured_by.setdefault((question, run), set()).add(record.architecture)

    def rerun(self, record: CellRecord) -> list[str]:
        """The words, quoted, of the `universality run` that trains and measures `record` and its controls.

        Where a claim compares architectures, cells share runs. Those partners come along in the order
        of the suite, so that the measurement keeps its id. Nothing is to be run where the question does
        not apply; controls, which run beside every cell of their phenomenon, have no command either.
        """
        if record.control or record.not_applicable:
            return []
        question = _question(record)
        together = {name for run in _runs(record) for name in self._measured_by[question, run]}
        architectures = [a for a in self._order[question] if a in together or a == record.architecture]
        units = {unit for group in record.groups for unit in group.units}
        phenomenon = record.variant or record.phenomenon
        words = ["universality", "run", "--name", f"rerun-{record.id}", "--phenomena", phenomenon]
        words += ["--architectures", *architectures, "--tasks", record.task]
        words += ["--seeds", str(len(units))] if units else []
        return list(map(shell_quoted, [*words, *self._folders]))


def _question(record: CellRecord) -> _Question:
    return record.phenomenon, record.claim_name, record.task


def _runs(record: CellRecord) -> set[str]:
    return {run for group in record.groups for run in group.runs.values()}
