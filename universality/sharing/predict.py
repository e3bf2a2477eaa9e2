"""Freezing the numbers of a theory for cells that nobody has run."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

import universality
from universality.errors import BadParameter, StoreError, UniversalityError, unknown_name
from universality.judge.predictions import FOLDER, LockedFile, Prediction, Question, digest_of, unfit
from universality.judge.resultset import ResultSet, find
from universality.plan.plan import Plan, PlannedCell
from universality.plan.planner import Planner
from universality.plan.suite import Suite, load
from universality.plugin import registry
from universality.plugin.registry import component
from universality.store.files import encode_record, storing, write_once
from universality.store.folder import entries_of, now
from universality.store.layout import Layout, safe_name, split_recording
from universality.store.owner import owner_tag
from universality.text import short

Line = Annotated[str, Meta(min_length=1, max_length=300)]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[prediction]]`. Numbers may be written without a point."""

    phenomenon: Line
    claim: Line
    network: Line
    task: Line
    value: float
    low: float
    high: float
    level: float


class TheoryFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a theorist writes."""

    theory: Line
    author: Line
    source: Line
    suite: Line
    predictions: Annotated[tuple[Asked, ...], Meta(min_length=1)] = msgspec.field(name="prediction")


@dataclass(frozen=True, slots=True)
class Locked:
    """Where a file was locked, how many result sets were searched for earlier measurements, and which could not be."""

    path: Path
    file: LockedFile
    searched: int
    notes: tuple[str, ...] = ()


def lock(
    path: Path, known: Sequence[Path], results: Path, data_root: Path, *, none_known: bool = False
) -> Locked:
    """Freeze the predictions of a file as `results/predictions/THEORY.json`, which is never replaced.

    Args:
        known: result sets, or folders of them, that must not have measured any of the cells.
        none_known: whether it is locked though there is none to search.

    Raises:
        BadParameter: for a file that is none, a number that predicts nothing, a cell that its suite does not ask for or in
            which the claim does not apply, one that was measured or trained before, and where no set was searched.
        StoreError: where the theory is locked already, or the disk refuses.
    """
    asked = read(path)
    beside = Path(path).parent / asked.suite
    suite = load(str(beside) if beside.is_file() else asked.suite)
    place = Path(results) / FOLDER / f"{safe_name(asked.theory)}.json"
    if place.exists():
        raise _locked_already(place)
    plan = Planner(data_root).add_suite(suite)
    predictions = [
        _placed(each, plan, suite, f"{path}, prediction {i}") for i, each in enumerate(asked.predictions, 1)
    ]
    questions = [each.question for each, _ in predictions]
    for number, question in enumerate(questions, 1):
        if question in questions[: number - 1]:
            raise BadParameter(
                "one cell is predicted twice",
                where=f"{path}, prediction {number}",
                got=_told(question),
                do="give it once",
            )
    runs_of = dict(zip(questions, (runs for _, runs in predictions), strict=True))
    searched, notes = _check_unknown(runs_of, known)
    if not searched and not none_known:
        raise BadParameter(
            "no result set was searched for earlier measurements of these cells",
            where=str(results),
            got="; ".join(notes) or "no result set",
            expected="the sets that are known, which must not have measured them",
            do="name them: --results DIR, --known DIR or --known hf:owner/name; --none-known if nobody is known to have any",
        )
    file = LockedFile(
        theory=asked.theory,
        author=asked.author,
        source=asked.source,
        suite=suite.name,
        suite_sha256=digest_of(suite),
        universality=universality.__version__,
        locked=now(),
        predictions=tuple(each for each, _ in predictions),
    ).sealed()
    with storing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not write_once(place, encode_record(file), place.parent / f".{owner_tag()}"):
            raise _locked_already(place)
    return Locked(place, file, searched, tuple(notes))


def _locked_already(place: Path) -> StoreError:
    do = "a theory that has changed is another one: give it another name"
    return StoreError("these predictions are locked already", where=str(place), do=do)


def read(path: Path) -> TheoryFile:
    """The predictions in a TOML file. Raises `BadParameter` for anything else."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return msgspec.convert(raw, TheoryFile)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        got = error.strerror if isinstance(error, OSError) else str(error)
        raise BadParameter(
            "this is no file of predictions",
            where=str(path),
            got=short(str(got), 300),
            expected="theory, author, source, suite, and [[prediction]] tables with phenomenon, claim, network, task, value, "
            "low, high, level",
        ) from None


def _placed(asked: Asked, plan: Plan, suite: Suite, where: str) -> tuple[Prediction, set[str]]:
    """A prediction with the addresses that measurements have, and the runs that its cell takes."""
    if wrong := unfit(asked.value, asked.low, asked.high, asked.level):
        raise BadParameter(
            "this predicts nothing", where=where, got=wrong, expected="low <= value <= high, low < high"
        )
    try:
        phenomenon = str(component(registry.resolve("phenomenon", asked.phenomenon)))
        network = str(component(registry.resolve("architecture", asked.network)))
        task = str(component(registry.resolve("task", asked.task)))
    except UniversalityError as error:
        raise BadParameter(
            error.what, where=where, got=error.got, expected=error.expected, do=error.do
        ) from None
    cells = {c.question[:3]: c for c in plan.cells if c.control is None}
    cell = cells.get((phenomenon, network, task))
    if cell is None:
        raise BadParameter(
            "the suite does not ask for this cell",
            where=where,
            got=", ".join((phenomenon, network, task)),
            expected=f"one of {len(cells)} cells of {suite.name}: {_nearest((phenomenon, network, task), list(cells))}",
        )
    if asked.claim not in cell.phenomenon.claims:
        raise unknown_name(
            f"claim of {cell.phenomenon.name}", asked.claim, cell.phenomenon.claims, where=where
        )
    if reason := cell.not_applicable or cell.left_out.get(asked.claim, ""):
        raise BadParameter(
            "the claim does not apply in this cell",
            where=where,
            got=f"{network}, {task}",
            expected=f"a cell without: {reason}",
        )
    return (
        Prediction(
            phenomenon=phenomenon,
            claim=asked.claim,
            version=cell.phenomenon.version,
            bound=cell.phenomenon.claims[asked.claim].bound,
            network=network,
            task=task,
            value=asked.value,
            low=asked.low,
            high=asked.high,
            level=asked.level,
        ),
        _runs(cell, asked.claim),
    )


def _runs(cell: PlannedCell, claim: str) -> set[str]:
    groups = (g for g in cell.groups if g.bears_on(cell.phenomenon.claims[claim]))
    return {run_id for group in groups for run_id in group.runs.values()}


def _nearest(asked: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """The cell that shares most with what was asked, as an example."""
    best = max(cells, key=lambda c: sum(a == b for a, b in zip(asked, c, strict=True)))
    return ", ".join(best)


def _check_unknown(asked: dict[Question, set[str]], known: Sequence[Path]) -> tuple[int, list[str]]:
    """How many sets were searched, and what could not be read. Raises `BadParameter` where any of the cells was measured,
    or a run of it trained."""
    searched, notes = 0, []
    for root in find(known) if known else ():
        stored = {s[0] for e in entries_of(Layout(root).runs) if (s := split_recording(e.name))}
        for question, runs in asked.items():
            if trained := sorted(runs & stored):
                raise _late(
                    "runs of this cell were trained before",
                    question,
                    root,
                    f"{len(trained)} of {len(runs)} runs",
                )
        if not Layout(root).plan.exists():
            searched += 1
            continue
        try:
            results = ResultSet.load(root)
        except UniversalityError as error:
            notes.append(f"not searched for earlier measurements: {root}: {error.what}: {error.got}")
            continue
        searched += 1
        for record in results.records:
            question = record.variant, record.claim_name, record.architecture, record.task
            if question in asked and any(group.state != "missing" for group in record.groups):
                raise _late(
                    "this cell was measured before", question, root, f"version {record.version} of the claim"
                )
    return searched, notes


def _late(what: str, question: Question, root: Path, got: str) -> BadParameter:
    return BadParameter(
        f"{what}, so that nothing can be predicted of it",
        where=f"{root}: {_told(question)}",
        got=got,
        expected="a cell not yet run",
    )


def _told(question: Question) -> str:
    phenomenon, claim, network, task = question
    return f"{phenomenon}:{claim}, {network}, {task}"
