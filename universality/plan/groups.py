"""The groups of runs that a phenomenon needs measured together in a cell, from its run sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from universality.errors import BadParameter, UnknownName
from universality.plugin.asking import ask
from universality.plugin.cell import Cell
from universality.plugin.charts import series_of
from universality.plugin.claim import Claim
from universality.plugin.phenomenon import Cross, Phenomenon
from universality.plugin.readings import Key, Reading
from universality.plugin.runs import Request, Run, RunSet, Sweep, role


class Replicate:
    """Of one replicate of a run set: which claims it bears on."""

    __slots__ = ()

    run_set: str
    keys: Mapping[str, Key] | None
    left_out: int | None

    def bears_on(self, claim: Claim) -> bool:
        return claim.runs.name == self.run_set and claim.pooled == (self.left_out is not None)


@dataclass(frozen=True, slots=True)
class Group(Replicate):
    """Runs that are measured together, by role: one replicate of a run set.

    Args:
        units: the independent replicates that it draws on, usually seeds: groups that share a unit are not
            independent, and intervals are formed by leaving units out.
        run_set: the name of the set.
        keys: of the set's runs, by role; None for a set of one run.
        left_out: of pooled claims: every group has the runs of all seeds, and is measured with and without
            those of this one.
    """

    key: str
    runs: Mapping[str, Request]
    units: tuple[str, ...]
    run_set: str
    keys: Mapping[str, Key] | None
    left_out: int | None = None


def groups_of(phenomenon: Phenomenon, cell: Cell, cross: Cross) -> list[Group]:
    """One group for each replicate of each run set that a claim is about, in the order of the claims.

    Raises `BadParameter` for a run set that raises, gives no runs, or lacks an observation that a claim reads.
    """
    asked = dict.fromkeys((claim.runs, claim.pooled) for claim in phenomenon.claims.values())
    alone = len(asked) == 1
    groups: list[Group] = []
    for runs, pooled in asked:
        prefix = "" if alone else f"{runs.name}{' pooled' if pooled else ''}/"
        groups += replicates(phenomenon, runs, cell, cross, pooled=pooled, prefix=prefix)
    for group in groups:
        for name, claim in phenomenon.claims.items():
            if group.bears_on(claim):
                _check_observed(f"{phenomenon.name}.{name}", phenomenon, claim, group)
    return groups


def replicates(
    phenomenon: Phenomenon, runs: RunSet[Any], cell: Cell, cross: Cross, *, pooled: bool, prefix: str = ""
) -> list[Group]:
    """One group for each replicate of one run set. Raises `BadParameter` for one that raises, or gives no runs."""
    made = [_group(phenomenon, runs, prefix, place) for place in _places(runs, cell, cross)]
    _check_apart(phenomenon, runs, made)
    return _pooled(made) if pooled else made


@contextmanager
def asked_by(runs: RunSet[Any]) -> Iterator[None]:
    """Errors inside say which run set asked for the run."""
    try:
        yield
    except (BadParameter, UnknownName) as error:
        error.where = ", ".join(filter(None, (runs.where, error.where)))
        raise


@dataclass(frozen=True, slots=True)
class _Place:
    """The runs that one replicate starts from."""

    key: str
    runs: tuple[Run, ...]

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(sorted({f"s{run.seed}" for run in self.runs}))


def _places(runs: RunSet[Any], cell: Cell, cross: Cross) -> Iterator[_Place]:
    own = [Run(cell.architecture, cell.task, seed) for seed in cross.seeds]
    if runs.scope == "seed":
        yield from (_Place(f"s{run.seed}", (run,)) for run in own)
    elif runs.scope == "pair":
        yield from (_Place(f"s{a.seed}-s{b.seed}", (a, b)) for a, b in combinations(own, 2))
    else:
        for number, partner in enumerate(cross.partners):
            for run in own:
                yield _Place(f"{number}/s{run.seed}", (run, Run(partner, cell.task, run.seed)))


def _group(phenomenon: Phenomenon, runs: RunSet[Any], prefix: str, place: _Place) -> Group:
    made: Any = ask(phenomenon, runs.name, lambda: runs.method(phenomenon, *place.runs))
    several = isinstance(made, Mapping)
    members: Mapping[Any, Any] = made if several else {runs.name: made}
    axes = made.axes if isinstance(made, Sweep) else ()
    if not members or not all(isinstance(run, Run) for run in members.values()):
        raise BadParameter(
            f"the run set {phenomenon.name}.{runs.name} gives no runs",
            where=runs.where,
            got=repr(made)[:80],
            expected="a Run, or several by key",
        )
    for key in members if several else ():
        _check_key(phenomenon, runs, key)
    keys = {role(key, axes): key for key in members}
    if len(keys) < len(members):
        raise BadParameter(
            f"two runs of {phenomenon.name}.{runs.name} have one name",
            where=runs.where,
            got=", ".join(keys),
            expected="keys that differ as text",
        )
    with asked_by(runs):
        requests = {name: members[key].request() for name, key in keys.items()}
    return Group(prefix + place.key, requests, place.units, runs.name, keys if several else None)


def _check_key(phenomenon: Phenomenon, runs: RunSet[Any], key: object) -> None:
    parts = key if isinstance(key, tuple) else (key,)
    if not parts or not all(isinstance(p, str | int | float) and not isinstance(p, bool) for p in parts):
        raise BadParameter(
            f"a run of {phenomenon.name}.{runs.name} has a key that is neither text nor number",
            where=runs.where,
            got=repr(key)[:80],
            expected="a text, a number, or a tuple of them",
            do="for truth values write the runs out: {'with': run.on(...), 'without': run}",
        )


def _check_apart(phenomenon: Phenomenon, runs: RunSet[Any], groups: Sequence[Group]) -> None:
    """That replicates are no copies of each other: an interval over copies has no width, and decides anything."""
    alike: dict[tuple[int, ...], list[Group]] = {}
    for group in groups:
        alike.setdefault(tuple(request.seed for request in group.runs.values()), []).append(group)
    for seeds, same in alike.items():
        for first, second in combinations(same, 2):
            if not set(first.units) & set(second.units) and first.runs == second.runs:
                raise BadParameter(
                    f"two replicates of {phenomenon.name}.{runs.name} are the same runs",
                    where=runs.where,
                    got=f"{first.key} and {second.key} are both of {', '.join(f'seed {s}' for s in dict.fromkeys(seeds))}",
                    expected="runs that follow the seed that the run set is given",
                    do="run.seeded(run.seed + 1000), not run.seeded(1000)",
                )


def _pooled(groups: Sequence[Group]) -> list[Group]:
    """Every group with the runs of all, for an estimator over all seeds and its jackknife."""
    runs: dict[str, Request] = {}
    keys: dict[str, Key] = {}
    for group in groups:
        seed = _seed(group)
        for name, request in group.runs.items():
            runs[f"s{seed}, {name}"] = request
            key = () if group.keys is None else group.keys[name]
            keys[f"s{seed}, {name}"] = seed if group.keys is None else (seed, *_parts(key))
    return [
        Group(group.key, runs, group.units, group.run_set, keys, left_out=_seed(group)) for group in groups
    ]


def _parts(key: Key) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _seed(group: Group) -> int:
    return int(group.units[0].removeprefix("s"))


def _check_observed(name: str, phenomenon: Phenomenon, claim: Claim, group: Group) -> None:
    """That what gates, criteria and charts read is observed in each of the runs that they are read of."""
    known = [] if group.keys is None else list(group.keys.values())
    for requirement in (*phenomenon.gates, *claim.gates, *claim.criteria):
        for wanted in requirement.keys if group.keys is not None else ():
            if wanted not in known:
                raise BadParameter(
                    f"'{requirement.name}' of {name} reads a run that is not there",
                    where=claim.where,
                    got=f"keys={requirement.keys!r}"[:120],
                    expected=f"keys of the run set {group.run_set}: {', '.join(map(repr, known))}"[:300],
                )
        if isinstance(requirement.value, Reading):
            of = requirement.keys or None
            for run_role, request in group.runs.items():
                key = group.keys[run_role] if group.keys else None
                if of is None or key in of:
                    _check_series(name, requirement.value.series, request, claim, group)
    for reading in (claim.effect, *claim.beside.values()):
        if isinstance(reading, Reading):
            for request in group.runs.values():
                _check_series(name, reading.series, request, claim, group)
    for chart in claim.charts:
        for series in series_of(chart):
            if not any(_observes(request, series) for request in group.runs.values()):
                _check_series(name, series, next(iter(group.runs.values())), claim, group)


def _check_series(name: str, series: str, request: Request, claim: Claim, group: Group) -> None:
    if not _observes(request, series):
        raise BadParameter(
            f"{name} reads a series that is not observed",
            where=claim.where,
            got=series,
            expected=f"a series of {', '.join(o.probe for o in request.observe) or 'train_loss'}, which "
            f"the run set {group.run_set} observes",
            do=f"observe its probe there: run.observing({{{series.rpartition('.')[0]!r}: Every(20)}})",
        )


def _observes(request: Request, series: str) -> bool:
    return series == "train_loss" or series.rpartition(".")[0] in {o.probe for o in request.observe}
