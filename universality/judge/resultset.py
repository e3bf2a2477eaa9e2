"""Result sets that somebody else made, read without trusting them.

Nothing is executed, no link is followed, no name in a file becomes a path before it was checked, and
every number and text has a bound. What is not exactly as `universality run` writes it is refused.
"""

from __future__ import annotations

import csv
import io
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from universality.errors import StoreError, UniversalityError
from universality.judge.verdicts import CellVerdict, Universality, judge, universality
from universality.plan import suite as suites
from universality.plugin.claims import Scale, Within
from universality.plugin.records import CellRecord, RunState
from universality.plugin.spec import SCHEMA_VERSION
from universality.plugin.tiers import tiers_of
from universality.store.files import decode_json, encode_json
from universality.store.folder import refuse_links
from universality.store.layout import Layout, published, safe_name

MOST_BYTES = 64 << 20
"""Of one JSON or CSV file."""
MOST_TEXT = 10_000
"""Characters of one text: a message may be long, a name of megabytes is an attack."""
MOST_NAME = 300
MOST_NUMBER = 1e150
"""Squares of effects must stay finite."""
MOST_DEPTH = 40

STATES: tuple[RunState, ...] = get_args(RunState)
_DECIDABLE = {"present", "absent", "inconclusive"}
NO_CELL = "asks for no cell"
_FACTS = ("title", "strand", "sense", "source")


class Unreadable(Exception):
    """A file of a result set that cannot be used; the text says why."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `Unreadable`."""
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            raise Unreadable("is a link, which is not followed")
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("is no file")
        if about.st_size > most:
            raise Unreadable(f"has {about.st_size} bytes, at most {most}")
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("is missing") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None


def read_record(path: Path) -> Any:
    """What a JSON file holds, if it is byte for byte what `universality` writes. Raises `Unreadable`.

    A repeated key, 1e999 and numbers of ten thousand digits are JSON to some readers: they do not
    come back as the same bytes.
    """
    data = read_bytes(path)
    try:
        value = decode_json(data)
        _bounded(value)
        same = encode_json(value) == data
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise Unreadable(f"is no JSON of a result set: {clipped(str(error))}") from None
    if not same:
        raise Unreadable("is not in the form that universality writes (a repeated key, other spacing)")
    return value


def _bounded(value: Any, depth: int = 0) -> None:
    if depth > MOST_DEPTH:
        raise ValueError(f"nested more than {MOST_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _bounded(key, depth)
            _bounded(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _bounded(item, depth + 1)
    elif isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise ValueError(f"a text of {len(value)} characters, at most {MOST_TEXT}")
    # Whole numbers are compared as they are: 10**400 has no float.
    elif isinstance(value, int | float) and not isinstance(value, bool):
        infinite = isinstance(value, float) and not math.isfinite(value)
        if not infinite and abs(value) > MOST_NUMBER:
            raise ValueError(f"a number beyond {MOST_NUMBER:g}")


def read_measurement(path: Path) -> CellRecord:
    """The cell in a measurement's file, which has its id for a name. Raises `Unreadable`."""
    raw = read_record(path)
    check_schema(raw)
    return parse_measurement(raw, path.stem)


def parse_measurement(raw: Any, measurement_id: str) -> CellRecord:
    """The cell that a decoded measurement holds. Raises `Unreadable` for any other shape, type or id.

    A record must come back unchanged from `CellRecord`, so that no key is unknown or of another
    type than it reads as; what Python would take for a number, a truth or a verdict is checked.
    """
    if damage := next(_misshapen(raw), ""):
        raise Unreadable(f"this measurement is damaged: {damage}")
    try:
        record = CellRecord.from_record(raw)
        if complaint := next(_complaints(record), ""):
            raise Unreadable(complaint)
        if record.id != measurement_id:
            raise Unreadable(f"holds the measurement {record.id}")
        again = decode_json(encode_json({"schema_version": SCHEMA_VERSION, **record.record()}))
        if encode_json(again) != encode_json(raw):
            raise Unreadable("has keys, types or an id that no measurement of this schema has")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(f"is no measurement: {type(error).__name__}: {clipped(str(error))}") from None
    return record


def _misshapen(raw: Any) -> Iterator[str]:
    """Where a list or an object is something else."""
    yield from _parts("it", raw, {"claim": dict, "expects": list, "groups": list})
    for i, group in enumerate(raw["groups"]):
        name = f"groups[{i}]"
        yield from _parts(name, group, {"units": list, "runs": dict})
        if (outcome := group.get("outcome")) is None:
            continue
        name += ".outcome"
        shape = {"gates": list, "criteria": list, "details": dict, "matrices": dict}
        yield from _parts(name, outcome, shape)
        for kind in ("gates", "criteria"):
            for j, check in enumerate(outcome[kind]):
                yield from _parts(f"{name}.{kind}[{j}]", check, {})
        for title, matrix in outcome["matrices"].items():
            shape = {"rows": list, "columns": list, "values": list}
            yield from _parts(f"{name}.matrices[{clipped(repr(title))}]", matrix, shape)


def _parts(name: str, value: Any, shape: Mapping[str, type]) -> Iterator[str]:
    """Says where `value` is no object, or a part of it of another kind than `shape` has."""
    if not isinstance(value, dict):
        yield f"{name} is {_json_kind(value)}, an object is expected"
        return
    for key, kind in shape.items():
        where = key if name == "it" else f"{name}.{key}"
        if key not in value:
            yield f"{where} is missing"
        elif not isinstance(value[key], kind):
            expected = "a list" if kind is list else "an object"
            yield f"{where} is {_json_kind(value[key])}, {expected} is expected"


def _json_kind(value: object) -> str:
    kinds = {type(None): "null", list: "a list", dict: "an object", str: "a text", bool: "a truth value"}
    return kinds.get(type(value), "a number")


def _complaints(record: CellRecord) -> Iterator[str]:
    names = (record.phenomenon, record.variant, record.claim_name, record.architecture, record.task)
    texts: tuple[object, ...] = (*names, record.control, record.claim.unit)
    for name in texts:
        if not isinstance(name, str) or len(name) > MOST_NAME:
            yield f"has a name that is no text of at most {MOST_NAME} characters"
    if type(record.version) is not int or not 1 <= record.version < 10**6:
        yield f"has the version {record.version!r}"
    claim = record.claim
    bounds = (claim.low, claim.high) if isinstance(claim, Within) else (claim.at_least,)
    if not all(_is_number(b) for b in bounds) or claim.scale not in get_args(Scale):
        yield "has a malformed claim"
    elif bounds[0] > bounds[-1]:
        yield "claims an empty range"
    reason: object = record.not_applicable
    if not isinstance(reason, str):
        yield "has a reason that is no text"
    if not set(record.expects) <= _DECIDABLE or bool(record.control) != bool(record.expects):
        yield "is a control without known verdicts, or no control with some"
    if record.swept not in (True, False) or (record.control and record.swept):
        yield "is both a control and swept, or neither swept nor not"
    if record.control and record.control.partition(": ")[0] not in ("positive", "negative"):
        yield "is a control that is neither positive nor negative"
    if len({g.key for g in record.groups}) < len(record.groups):
        yield "has two groups of one name"
    for group in record.groups:
        labels = (group.key, group.message, *group.units, *group.runs, *group.runs.values())
        if not all(isinstance(label, str) for label in labels) or not group.units or not group.runs:
            yield "has a malformed group"
        elif group.state not in STATES:
            yield f"has a group in the state {clipped(repr(group.state))}"
        if group.outcome is None:
            continue
        outcome = group.outcome
        checks = (*outcome.gates, *outcome.criteria)
        truths = (outcome.censored, *(check.met for check in checks))
        values = [*outcome.details.values(), *(check.value for check in checks)]
        values += [] if outcome.effect is None else [outcome.effect]
        values += [v for m in outcome.matrices.values() for row in m.values for v in row]
        if not all(isinstance(t, bool) for t in truths) or not all(map(_is_number, values)):
            yield f"has a malformed outcome in group {clipped(repr(group.key))}"
        for m in outcome.matrices.values():
            if len(m.values) != len(m.rows) or any(len(row) != len(m.columns) for row in m.values):
                yield "has a matrix of another size than its labels"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPlan:
    """The parts of a plan that reading needs.

    Args:
        cells: ids of measurements, in the order of the tables.
        runs: per run, the steps at which each probe records.
        tiers: per task, what evidence from it is worth; tasks that do not say are left out.
        specs: per run, its settings as `RunSpec.record`; empty where the plan does not say.
        variants: by address, the name and all parameters of each setting of a phenomenon; likewise.
        plugins: folders that `--plugins` named, as `layout.published`.
        data_root: whether `--data-root` was given; where it is, is nobody's business.
    """

    suite: str
    cells: tuple[str, ...]
    runs: Mapping[str, Mapping[str, tuple[int, ...]]]
    phenomena: Mapping[str, Mapping[str, str]]
    tiers: Mapping[str, str]
    specs: Mapping[str, Any]
    variants: Mapping[str, Any]
    environment: Mapping[str, Any]
    run_seconds: float
    plugins: tuple[str, ...]
    data_root: bool


def parse_plan(raw: Any) -> AskedPlan:
    """A decoded plan, with every text, number and name checked. Raises `Unreadable`."""
    try:
        plan = AskedPlan(
            suite=_text(raw["suite"]),
            cells=tuple(safe_name(_text(cell)) for cell in _list(raw["cells"])),
            runs={
                safe_name(run): {_text(p): tuple(map(_step, _list(steps))) for p, steps in observe.items()}
                for run, observe in raw["runs"].items()
            },
            phenomena={
                _text(name): {key: _text(about.get(key, "")) for key in _FACTS}
                for name, about in raw["phenomena"].items()
            },
            tiers=tiers_of(raw),
            specs=dict(raw.get("specs", {})),
            variants=dict(raw.get("variants", {})),
            environment=dict(raw["environment"]),
            run_seconds=float(raw.get("run_seconds", 0.0)),
            plugins=tuple(map(_folder, _list(raw.get("plugins", [])))),
            data_root=_truth(raw.get("data_root", False)),
        )
    except StoreError as error:
        raise Unreadable(f"{error.what}: {clipped(error.got)}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"is no plan: {type(error).__name__}: {clipped(str(error))}") from None
    if len(set(plan.cells)) < len(plan.cells):
        raise Unreadable("asks for a cell twice")
    return plan


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{clipped(repr(value))} is no text")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{clipped(repr(value))} is no list")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{clipped(repr(value))} is no truth value")
    return value


def _folder(value: object) -> str:
    if published(_text(value)) != value:
        raise ValueError(f"{clipped(repr(value))} is a path of somebody's machine")
    return value


def _step(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{clipped(repr(value))} is no step")
    return value


def check_schema(raw: Any) -> None:
    """Raises `Unreadable` unless `raw` is an object of the schema that this version reads."""
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise Unreadable(f"has schema version {clipped(repr(version))}, this reads {SCHEMA_VERSION}")


@dataclass(frozen=True)
class ResultSet:
    """What was asked and measured; `verdicts` are decided anew from `records`, whatever the tables say."""

    label: str
    records: tuple[CellRecord, ...]
    verdicts: tuple[CellVerdict, ...]
    facts: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, Any]
    run_seconds: float = 0.0

    @cached_property
    def rows(self) -> list[Universality]:
        return universality(self.verdicts, self.facts)


def load(root: Path, label: str = "") -> ResultSet:
    """The result set in `root`. Reads its plan and the measurements that the plan names, nothing else.

    Raises:
        StoreError: where one of them cannot be used; without it a table would look better than it is.
    """
    layout = Layout(Path(root))
    refuse_links(layout)
    name = layout.manifest.name
    try:
        check_schema(read_record(layout.manifest))
        name = layout.plan.name
        plan = parse_plan(read_record(layout.plan))
        if not plan.cells:
            raise Unreadable(NO_CELL)
        records = []
        for measurement_id in plan.cells:
            name = f"{layout.measurements.name}/{measurement_id}.json"
            records.append(read_measurement(layout.measurement(measurement_id)))
    except Unreadable as problem:
        raise StoreError(
            "a result set cannot be used",
            where=str(root),
            got=f"{name} {problem}",
            do=f"`universality check {root}` lists everything that is wrong with it",
        ) from None
    return ResultSet(
        label or plan.suite,
        tuple(records),
        tuple(judge_all(records)),
        plan.phenomena,
        plan.environment,
        plan.run_seconds,
    )


def unused_damage(layout: Layout) -> list[str]:
    """What is wrong with suite.toml and evidence.csv, which conclusions do not rest on: a line each."""
    found = []
    try:
        suites.parse(read_bytes(layout.suite, most=1 << 20).decode(), where=layout.suite.name)
    except Unreadable as problem:
        found.append(f"{layout.suite.name} {problem}")
    except UniversalityError as error:
        found.append(f"{layout.suite.name} is damaged: {error.what}")
    except (RecursionError, ValueError) as error:
        found.append(f"{layout.suite.name} is damaged: {type(error).__name__}")
    try:
        text = io.StringIO(read_bytes(layout.evidence).decode(), newline="")
        header, *rows = csv.reader(text, strict=True)
        if not rows or "verdict" not in header or any(len(row) != len(header) for row in rows):
            found.append(f"{layout.evidence.name} is damaged: no table of verdicts")
    except Unreadable as problem:
        found.append(f"{layout.evidence.name} {problem}")
    except (csv.Error, ValueError) as error:
        found.append(f"{layout.evidence.name} is damaged: {type(error).__name__}")
    return found


def judge_all(records: Sequence[CellRecord]) -> list[CellVerdict]:
    """`judge`, with arithmetic that hostile numbers break turned into a `StoreError`."""
    try:
        return judge(records)
    except UniversalityError:
        raise
    except (ArithmeticError, ValueError, TypeError) as error:
        raise StoreError(
            "no verdict can be formed from these measurements",
            got=f"{type(error).__name__}: {clipped(str(error))}",
        ) from error


def find(places: Sequence[Path]) -> list[Path]:
    """The result sets among `places` and, where a place is none itself, in the folders below it.

    Raises `StoreError` where there is none.
    """
    found: dict[Path, Path] = {}
    for place in places:
        inside = [place]
        if not Layout(place).manifest.exists():
            inside = sorted(p.parent for p in place.glob(f"*/{Layout(place).manifest.name}"))
        if not inside:
            raise StoreError(
                "no result set is here",
                where=str(place),
                expected="a folder made by `universality run`, or a folder of such folders",
                do="check the path",
            )
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each set: its folder's, or the path where two share one."""
    names = [path.resolve().name for path in paths]
    return [n if names.count(n) == 1 else str(p) for n, p in zip(names, paths, strict=True)]


def clipped(text: str, most: int = 120) -> str:
    """At most `most` characters of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
