"""The command that measures one cell again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from universality.output.collect import run_ids
from universality.output.page.text import shell_quoted
from universality.plan.plan_json import PlanRecord
from universality.store.cells import CellRecord
from universality.store.layout import PATH_TO

_Question = tuple[str, str, str]


class Commands:
    """Commands for the cells among `records`, which are in the order of their suite.

    Args:
        plan: where its run was given folders, the commands need them too.
    """

    def __init__(self, records: Sequence[CellRecord], plan: PlanRecord) -> None:
        self._folders = [word for folder in plan.plugins for word in ("--plugins", folder)]
        self._folders += ["--data-root", f"{PATH_TO}/DATA"] if plan.data_root else []
        self._order: defaultdict[_Question, dict[str, None]] = defaultdict(dict)
        self._measured_by: defaultdict[tuple[_Question, str], set[str]] = defaultdict(set)
        for record in (r for r in records if not r.control):
            self._order[_question(record)][record.architecture] = None
            for run in run_ids([record]):
                self._measured_by[_question(record), run].add(record.architecture)

    def rerun(self, record: CellRecord) -> list[str]:
        """The words, quoted, of the `universality run` that trains and measures `record` and its controls.

        Where a claim compares architectures, cells share runs. Those partners come along in the order
        of the suite, so that the measurement keeps its id. Nothing is to be run where the question does
        not apply; controls, which run beside every cell of their phenomenon, have no command either.
        """
        if record.control or record.not_applicable:
            return []
        question = _question(record)
        together = {record.architecture}.union(
            *(self._measured_by[question, run] for run in run_ids([record]))
        )
        architectures = [a for a in self._order[question] if a in together]
        units = {unit for group in record.groups for unit in group.units}
        phenomenon = record.variant or record.phenomenon
        words = ["universality", "run", "--name", f"rerun-{record.id}", "--phenomena", phenomenon]
        words += ["--architectures", *architectures, "--tasks", record.task]
        words += ["--seeds", str(len(units))] if units else []
        return list(map(shell_quoted, [*words, *self._folders]))


def _question(record: CellRecord) -> _Question:
    return record.phenomenon, record.claim_name, record.task
