"""What the number of replicates alone forbids, said before anything is trained."""

from __future__ import annotations

import math

from universality.judge.crossed import Prevalence, prevalence
from universality.judge.decide import MIN_UNITS
from universality.judge.statistics import clopper_pearson, effective_trials
from universality.plan.plan import Plan
from universality.plugin.bounds import Bound, Within
from universality.text import percent

MISSED_BY_ALL = 5
"""The fewest independent runs of which all miss a criterion that tell that most do: 2^-5 < .05."""


def least_replicates(bound: Bound) -> int:
    """The fewest independent replicates over which the rule of a claim can decide it, all of them agreeing.

    `Within`: as many as an interval takes. `Most`: n with 0.05^(1/n) > 1/2, the one-sided Clopper-Pearson bound
    of n out of n.

    >>> from universality.plugin.bounds import Most
    >>> least_replicates(Within(high=1.0)), least_replicates(Most(at_least=5.0))
    (3, 5)
    """
    n = MIN_UNITS
    if not isinstance(bound, Within):
        while clopper_pearson(n, n, side="lower")[0] <= 0.5:
            n += 1
    return n


def too_few_replicates(plan: Plan) -> list[str]:
    """A line for each phenomenon with claims that no cell of so many seeds can decide, whatever is measured."""
    short: dict[tuple[str, int, int, str], dict[str, None]] = {}
    for cell in plan.cells:
        for name, claim in cell.phenomenon.claims.items() if cell.control is None else ():
            units = [group.units for group in cell.groups if group.bears_on(claim)]
            seeds = len({unit for names in units for unit in names})
            needed = least_replicates(claim.bound)
            if units and not isinstance(claim.bound, Within):
                needed = math.ceil(needed * seeds / effective_trials(units))
            what = "can never decide {}, whatever is measured"
            if seeds >= needed and isinstance(claim.bound, Within) and claim.criteria:
                needed, what = MISSED_BY_ALL, "can never call {} absent for a criterion, though all miss it"
            if units and seeds < needed:
                short.setdefault((cell.phenomenon.name, seeds, needed, what), {})[name] = None
    return [
        f"{phenomenon}: {seeds} {'seed' if seeds == 1 else 'seeds'} {what.format(', '.join(claims))}; "
        f"at least {needed} are needed"
        for (phenomenon, seeds, needed, what), claims in short.items()
    ]


def foreseen_prevalence(plan: Plan) -> list[str]:
    """A line for each phenomenon with several cells: what the interval of its prevalence would be if all of them held, and if half did.

    At best: cells that are not decided, and claims that some cells cannot be asked, make it wider. Calibrations have none.
    """
    cells: dict[str, list[tuple[str, str]]] = {}
    for cell in plan.cells:
        crossed = cell.control is None and not cell.swept and not cell.not_applicable
        if crossed and not cell.phenomenon.calibration:
            cells.setdefault(cell.phenomenon.name, []).append((cell.architecture, cell.task))
    lines = []
    for name, asked in cells.items():
        networks, tasks = ([pair[i] for pair in asked] for i in (0, 1))
        order = [list(dict.fromkeys(names)) for names in (networks, tasks)]
        mixed = [(order[0].index(a) + order[1].index(t)) % 2 == 0 for a, t in asked]
        if len(asked) > 1:
            lines.append(
                f"{name}: {len(asked)} cells, {len(order[0])} networks on {len(order[1])} tasks; prevalence at best "
                f"{_interval(prevalence([True] * len(asked), networks, tasks))} if all hold, "
                f"{_interval(prevalence(mixed, networks, tasks))} if half do"
            )
    return lines


def _interval(share: Prevalence) -> str:
    return f"[{percent(share.low)}, {percent(share.high)}]"
