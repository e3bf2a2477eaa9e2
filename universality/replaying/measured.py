"""Looks through stored trainings, records what claims ask for, measures and decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from universality.errors import BadParameter, MeasurementError, described, first_line
from universality.judge.decide import decide
from universality.judge.outcomes import measure_group
from universality.plugin import registry
from universality.plugin.kit.data import data_root as resolved
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.rates import RateSchedule
from universality.plugin.registry import component
from universality.plugin.spec import Recipe
from universality.plugin.trajectory import Trajectory
from universality.replaying.asked import AskedClaim, Replicate, asked
from universality.replaying.integrity import inspect
from universality.replaying.loading import load_weights
from universality.replaying.record import Observed, observe
from universality.replaying.replayed_run import Facts, ReplayedRun
from universality.replaying.report import ClaimFound, Replay
from universality.replaying.stored import StoredSeries, read_series
from universality.replaying.subject import WHERE, Subject, bare, of_address, of_own
from universality.store.cells import CellRecord, GroupRecord, Problem

MAX_MESSAGE = 300


def measure(
    places: Any,
    *,
    network: nn.Module | str | None,
    data: Any,
    validation: Any,
    phenomena: Sequence[str],
    probes: Sequence[str],
    rows: int,
    plugins: Sequence[Path],
    data_root: Path | None,
) -> Replay:
    """What `universality.replay` returns; its arguments, cost and errors."""
    registry.load_plugins(plugins)
    chosen: list[Phenomenon] = [
        registry.resolve("phenomenon", address)
        for address in phenomena or registry.bare_addresses("phenomenon")
    ]
    for address in probes:
        registry.resolve("probe", address)
    every = read_series([Path(place) for place in ([places] if isinstance(places, str | Path) else places)])
    notes: list[str] = []
    subjects = _subjects(every, network, data, validation, rows, resolved(data_root), notes)
    claims: list[AskedClaim] = []
    left_out: dict[str, str] = {}
    for name in subjects:
        for phenomenon in chosen:
            told, not_told = asked(phenomenon, name, subjects, every)
            claims += told
            before = f"{name}: " if len(subjects) > 1 else ""
            left_out |= {before + address: reason for address, reason in not_told.items()}
    checked = {series.name: inspect(series) for series in every}
    observed = {
        series.name: observe(series, subjects[series.manifest.network], _due(series, claims, probes))
        for series in every
    }
    found: list[ClaimFound] = []
    for claim in claims:
        row = _found(claim, subjects, observed, alone=len(subjects) == 1)
        if problems := [
            group.problem.text for group in row.verdict.record.groups if group.problem is not None
        ]:
            if len(problems) == len(claim.replicates):
                left_out[row.cells[0]] = problems[0]
                continue
            notes.append(f"{row.cells[0]} cannot be measured in {len(problems)} groups: {problems[0]}")
        found.append(row)
    return Replay(
        claims=tuple(found),
        left_out=left_out,
        faults=tuple(f"{name}: {fault}" for name, each in checked.items() for fault in each.faults),
        displacement={name: each.displacement for name, each in checked.items() if each.displacement},
        notes=(
            *notes,
            *_notes(
                [claim for claim in claims if claim.address in {row.address for row in found}],
                observed,
                probes,
            ),
        ),
        observed=observed,
        probes=tuple(probes),
    )


def _subjects(
    every: Sequence[StoredSeries],
    network: nn.Module | str | None,
    data: Any,
    validation: Any,
    rows: int,
    root: Path,
    notes: list[str],
) -> dict[str, Subject]:
    """By name of the network."""
    names = dict.fromkeys(series.manifest.network for series in every)
    if (network is None) != (data is None):
        raise BadParameter(
            "a network without its data" if data is None else "data without the network that saw it",
            where=WHERE,
            expected="both, or neither: of stored features neither is needed",
        )
    if network is None:
        firsts = {name: next(s for s in every if s.manifest.network == name) for name in names}
        return {name: bare(series) for name, series in firsts.items()}
    if len(names) > 1:
        raise BadParameter(
            "series of several networks, and one network to put their weights into",
            where=WHERE,
            got=", ".join(names),
            do="store features of each to compare them, or replay one network at a time",
        )
    (name,) = names
    if isinstance(network, str) != isinstance(data, str):
        raise BadParameter(
            "an address beside an object",
            where=WHERE,
            got=f"{type(network).__name__} and {type(data).__name__}",
            expected="addresses of an architecture and a task, or a module and rows",
        )
    if isinstance(network, str):
        return {name: of_address(network, data, root)}
    if not isinstance(network, nn.Module):
        raise BadParameter(
            "no network", where=WHERE, got=type(network).__name__, expected="a torch.nn.Module"
        )
    return {name: of_own(network, data, validation, rows, notes)}


def _due(
    series: StoredSeries, claims: Sequence[AskedClaim], probes: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Steps of each probe, of all claims together."""
    due: dict[str, set[int]] = {address: {*series.steps} for address in probes}
    for claim in claims:
        for replicate in claim.replicates:
            for role, steps in replicate.steps.items():
                if replicate.series[role] is series:
                    for address, at in steps.items():
                        due.setdefault(address, set()).update(at)
    due.pop("weights", None)  # read from the disk where they are asked for
    return {address: tuple(sorted(steps)) for address, steps in due.items()}


def _found(
    asked_claim: AskedClaim, subjects: Mapping[str, Subject], observed: Mapping[str, Observed], *, alone: bool
) -> ClaimFound:
    phenomenon, claim = asked_claim.phenomenon, asked_claim.claim
    groups = tuple(_group(asked_claim, each, subjects, observed) for each in asked_claim.replicates)
    architecture, task = subjects[asked_claim.network].parts
    record = CellRecord(
        phenomenon=phenomenon.name,
        variant=str(component(phenomenon)),
        version=phenomenon.version,
        claim_name=asked_claim.name,
        claim=claim.bound,
        architecture=str(architecture),
        task=str(task),
        groups=groups,
    )
    names = dict.fromkeys(s.name for each in asked_claim.replicates for s in each.series.values())
    shown = "" if alone else asked_claim.network
    return ClaimFound(shown, asked_claim.address, claim.title, decide(record), tuple(names))


def _group(
    asked_claim: AskedClaim,
    replicate: Replicate,
    subjects: Mapping[str, Subject],
    observed: Mapping[str, Observed],
) -> GroupRecord:
    runs: dict[str, Trajectory] = {}
    problem = ""
    for role, series in replicate.series.items():
        seen = observed[series.name]
        failed = [probe for probe in replicate.steps[role] if probe in seen.failures]
        if failed:
            problem = f"the probe {failed[0]}, {first_line(seen.failures[failed[0]])}"
        runs[role] = _run(seen, subjects[series.manifest.network], replicate.steps[role])
    outcome = None
    if not problem:
        try:
            outcome = measure_group(asked_claim.phenomenon, asked_claim.claim, replicate.group, runs)
        except Exception as error:  # a plugin's mistake, or what a stored training does not tell
            problem = first_line(error if isinstance(error, MeasurementError) else described(error))
    return GroupRecord(
        key=replicate.group.key,
        units=replicate.group.units,
        runs={role: series.name for role, series in replicate.series.items()},
        state="failed" if problem else "done",
        outcome=outcome,
        problem=Problem("measuring", problem[:MAX_MESSAGE]) if problem else None,
    )


def _run(seen: Observed, subject: Subject, at: Mapping[str, tuple[int, ...]]) -> ReplayedRun:
    series, recipe, splits = seen.series, seen.spec.recipe, seen.splits
    facts = Facts(taps=list(subject.layers), outputs=splits.outputs, train_rows=len(splits.train))
    if isinstance(recipe, Recipe):
        facts |= {
            "lr": recipe.lr,
            "learning_rate_sum": recipe.lr * RateSchedule(recipe).sum_until(recipe.steps),
        }
    if subject.make is not None:
        facts["parameters"] = sum(p.numel() for p in subject.make().parameters())

    def restored(step: int) -> nn.Module:
        if subject.make is None or step not in series.steps:
            raise MeasurementError(f"no network of step {step} is stored", where=str(series.folder))
        net = subject.make()
        load_weights(net, series.steps[step].weights, where=f"{series.folder}, step {step}")
        return net

    return ReplayedRun(
        spec=seen.spec,
        state="done",
        facts=facts,
        observe=at,
        recorded=seen.recorded,
        arrays=seen.arrays,
        copied=lambda: restored(series.last),
        data=splits,
        restored=restored,
    )


def _notes(
    claims: Sequence[AskedClaim], observed: Mapping[str, Observed], probes: Sequence[str]
) -> list[str]:
    notes: list[str] = []
    for name, seen in observed.items():
        if buffers := next(iter(seen.series.steps.values())).weights.buffers:
            more = f" and {len(buffers) - 1} more" if len(buffers) > 1 else ""
            notes.append(
                f"{name} stores {buffers[0]}{more}, which are buffers and no part of how far weights moved"
            )
        if seen.unused:
            more = f" and {len(seen.unused) - 1} more" if len(seen.unused) > 1 else ""
            notes.append(f"{name} stores {seen.unused[0]}{more}, which the network has no place for")
        for address in probes:
            if address in seen.failures:
                notes.append(f"{name}: the probe {address} failed {first_line(seen.failures[address])}")
    if untold := [name for name, seen in observed.items() if seen.series.manifest.recipe is None]:
        names = ", ".join(untold[:5]) + (", ..." if len(untold) > 5 else "")
        notes.append(f"without a recipe, so that gates on rate, decay or batches have no answer: {names}")
    for claim in claims:
        if claim.left_out:
            first = next(iter(claim.left_out.values()))
            notes.append(f"{claim.address} left out {len(claim.left_out)} replicates: {first}")
        if claim.otherwise:
            notes.append(f"{claim.phenomenon.name} is trained otherwise by the benchmark: {claim.otherwise}")
    return list(dict.fromkeys(notes))
