"""Which stored trainings a claim is about: those that its run set asks for, found among what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from universality.errors import described, first_line
from universality.plan.groups import Group, replicates
from universality.plugin.cell import Cell
from universality.plugin.claim import Claim
from universality.plugin.phenomenon import Cross, Phenomenon
from universality.plugin.runs import Request
from universality.plugin.spec import Recipe
from universality.plugin.task import Task
from universality.replaying.stored import StoredSeries
from universality.replaying.subject import Subject
from universality.watching.selection import departures, reasons_against

NEEDS_NETWORK = "needs features, or the network of these weights and its data"


@dataclass(frozen=True, slots=True)
class Replicate:
    """One group of a claim, with the series of each role and the steps at which each probe of it is read."""

    group: Group
    series: Mapping[str, StoredSeries]
    steps: Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class AskedClaim:
    """A claim that stored trainings of one network can speak to.

    Args:
        left_out: replicates that are not there, each with the reason.
        otherwise: how a training differs from the recipe of the run set.
    """

    network: str
    phenomenon: Phenomenon
    name: str
    claim: Claim
    replicates: tuple[Replicate, ...]
    left_out: Mapping[str, str]
    otherwise: str

    @property
    def address(self) -> str:
        return f"{self.phenomenon.name}.{self.name}"


def asked(
    phenomenon: Phenomenon, network: str, subjects: Mapping[str, Subject], series: Sequence[StoredSeries]
) -> tuple[list[AskedClaim], dict[str, str]]:
    """The claims that the series of one network can speak to, and by address those that they cannot, with the reason.

    Args:
        subjects: by name of the network; partners are the others.
    """
    cell = subjects[network].cell
    claims: list[AskedClaim] = []
    left_out: dict[str, str] = {}
    reasons = (
        dict.fromkeys(phenomenon.claims, NEEDS_NETWORK) if cell is None else reasons_against(phenomenon, cell)
    )
    for name, claim in phenomenon.claims.items():
        address = f"{phenomenon.name}.{name}"
        answer: str | AskedClaim = reasons.get(name, "")
        if not answer and cell is not None:
            answer = _asked(phenomenon, name, claim, network, cell, subjects, series)
        if isinstance(answer, AskedClaim):
            claims.append(answer)
        else:
            left_out[address] = answer
    return claims, left_out


def _asked(
    phenomenon: Phenomenon,
    name: str,
    claim: Claim,
    network: str,
    cell: Cell,
    subjects: Mapping[str, Subject],
    series: Sequence[StoredSeries],
) -> AskedClaim | str:
    own = [each for each in series if each.manifest.network == network]
    seeds = sorted({each.seed for each in own})
    partners = {other: subject.architecture for other, subject in subjects.items() if other != network}
    if claim.runs.scope == "partner" and not partners:
        return "compares networks: give series of several, each with its network in manifest.json"
    if claim.runs.scope == "pair" and len(seeds) < 2:
        return f"compares seeds, and there is a series of seed {seeds[0]} alone"
    cross = Cross(seeds, list(partners.values()))
    try:
        groups = replicates(phenomenon, claim.runs, cell, cross, pooled=claim.pooled)
    except Exception as error:  # it asks for what a network of no family has not, such as another width
        return f"needs other trainings than these ({first_line(described(error))})"
    found: list[Replicate] = []
    lost: dict[str, str] = {}
    names = {id(subject.architecture): each for each, subject in subjects.items()}
    for group in groups:
        chosen = _series_of(group, cell, names, series)
        if isinstance(chosen, str):
            lost[group.key] = chosen
            continue
        steps = {role: _steps(request, chosen[role]) for role, request in group.runs.items()}
        if absent := next((each for each in steps.values() if isinstance(each, str)), None):
            lost[group.key] = absent
            continue
        found.append(
            Replicate(
                group, chosen, {role: each for role, each in steps.items() if not isinstance(each, str)}
            )
        )
    if not found:
        return next(iter(lost.values()), "nothing to compare")
    told = next(iter(next(iter(groups)).runs.values())).recipe
    recipe = found[0].series
    otherwise = _otherwise(told, next(iter(recipe.values())))
    return AskedClaim(network, phenomenon, name, claim, tuple(found), lost, otherwise)


def _series_of(
    group: Group, cell: Cell, names: Mapping[int, str], series: Sequence[StoredSeries]
) -> dict[str, StoredSeries] | str:
    """The series of each role of a group, or what is not there."""
    chosen: dict[str, StoredSeries] = {}
    for role, request in group.runs.items():
        if id(request.architecture) not in names:
            return "needs other networks than this: modified, or of another size"
        if not _same_but_labels(request.task, cell.task):
            return "needs trainings on other data: fewer rows, other labels or parameters"
        if request.streams:
            return f"needs trainings whose {' and '.join(request.streams)} alone follow another seed"
        branch = None if request.fork is None else request.fork[1]
        network, labels = names[id(request.architecture)], request.task.random_labels
        wanted = (network, request.seed, labels, branch)
        match = next((each for each in series if each.identity == wanted), None)
        if match is None:
            what = f"{'branch ' + str(branch) + ' of ' if branch else ''}seed {request.seed}"
            return f"needs a series of {what}{' on random labels' if labels else ''}"
        if request.fork is not None and match.manifest.fork is not None:
            share, allowed = (
                match.manifest.fork[0] / max(1, match.last),
                request.fork[0] / request.recipe.steps,
            )
            if share > allowed:
                return (
                    f"asks for branches from {allowed:.0%} of the updates on, and these part at {share:.0%}"
                )
        if any(match is other for other in chosen.values()):
            return "needs several trainings of a seed that differ in their recipe"
        chosen[role] = match
    ends = {each.last for each in chosen.values()}
    if len(ends) > 1:
        return f"compares trainings of one length, and these end at steps {', '.join(map(str, sorted(ends)))}"
    return chosen


def _same_but_labels(asked: Task, own: Task) -> bool:
    if type(asked) is not type(own):
        return False
    asked = replace(asked, random_labels=own.random_labels)
    return all(
        getattr(asked, f.name) == getattr(own, f.name) for f in fields(asked) if f.init and f.name != "splits"
    )


def _steps(request: Request, series: StoredSeries) -> dict[str, tuple[int, ...]] | str:
    """Of each probe the stored steps that are nearest to those of its schedule; or what is missing."""
    steps: dict[str, tuple[int, ...]] = {}
    for observe in request.observe:
        wanted = observe.at.steps(series.last)
        if 0 in wanted and 0 not in series.steps:
            return f"asks for the untrained network, and the series begins at step {min(series.steps)}"
        steps[observe.probe] = tuple(
            sorted({min(series.steps, key=lambda s: abs(s - each)) for each in wanted})
        )
    return steps


def _otherwise(asked: Recipe, series: StoredSeries) -> str:
    if series.manifest.recipe is None:
        return ""
    return departures(asked, Recipe(**series.manifest.recipe, steps=series.last))
