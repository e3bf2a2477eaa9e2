"""In which order runs are trained: what a first table needs first, and no long run at the very end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from universality.plan.plan import Job, Plan

TURN_SECONDS = 900.0
"""Predicted, on one core: as long as cells may wait for each other. A suite shorter than that is one turn."""


def give_turns(plan: Plan) -> None:
    """Cut the runs into turns of `TURN_SECONDS`, those of controls first: a row without them is none. The rest follows in the
    order of the suite, so that cells are complete one after another.

    Cost: linear in groups and jobs.
    """
    elapsed, given = 0.0, set[str]()
    for cell in sorted(plan.cells, key=lambda cell: cell.control is None):
        for group in cell.groups:
            for run_id in group.runs.values():
                if run_id not in given:
                    given.add(run_id)
                    plan.jobs[run_id].turn = int(elapsed / TURN_SECONDS)
                    elapsed += plan.jobs[run_id].seconds


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Calibrations, then turn by turn; in each the longest first, so that no long one is left to a single worker at its end."""
    return sorted(jobs, key=lambda job: (not job.calibrates, job.turn, -job.seconds))


def complete_after(plan: Plan, open_jobs: Sequence[Job], seconds: float) -> int:
    """Cells and controls that have all their runs once `seconds` of what is open, in its order, are trained; 0 seconds counts
    those that have them now.

    Cost: linear in groups and jobs.
    """
    lacking = {job.spec.id for job in open_jobs}
    for job in ordered(open_jobs):
        seconds -= job.seconds
        if seconds < 0:
            break
        lacking.discard(job.spec.id)
    return sum(
        not any(run_id in lacking for group in cell.groups for run_id in group.runs.values())
        for cell in plan.cells
        if cell.groups
    )
