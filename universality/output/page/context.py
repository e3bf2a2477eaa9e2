"""What the template fills in: records as they are, in the order in which they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Literal, TypeVar

from markupsafe import Markup, escape

from universality import __version__
from universality.judge.answers import KNOWN, answers
from universality.judge.decide import VERDICTS, CellVerdict, ReasonKind, Verdict
from universality.judge.resultset import ResultSet
from universality.output.displays import gaps, multiverse, orchard, sweeps, theory
from universality.output.displays.collection import Displays, family_keys, sweep_panels
from universality.output.palette import MEANINGS
from universality.output.phrases import (
    MAX_SECONDS,
    distrust,
    effect_text,
    label_in,
    probe_share,
    short_commit,
    tier_in,
    unfinished,
)
from universality.output.tables import COLUMNS, crossed
from universality.plugin.task import NOT_STATED, TIERS
from universality.store.cells import CellRecord
from universality.text import brief, clock, memory, plain

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

Weight = Literal["decided", "undecided", "not measured"]
OUTCOMES: Mapping[Weight, str] = {
    "decided": "present or absent: counts as evidence",
    "undecided": "measured, but a gate, the interval or a control forbids a verdict",
    "not measured": "cannot be asked, or the runs did not end well",
}
_KINDS: Mapping[ReasonKind, str] = {
    "straddles": "the interval straddles a bound",
    "mixed": "some runs hold and some do not",
    "undecided groups": "too many runs are undecided",
    "too few replicates": "too few independent replicates",
    "shared unit": "every group shares a unit",
    "control failed": "a control of the claim failed",
}


def outcome(verdict: Verdict) -> Weight:
    """How much a cell tells.

    >>> [outcome(v) for v in ("absent", "invalid", "timeout")]
    ['decided', 'undecided', 'not measured']
    """
    if verdict in ("present", "absent"):
        return "decided"
    return "undecided" if verdict in ("inconclusive", "invalid") else "not measured"


class Names(dict[str, str]):
    """Names as they are shown: safe, at most 90 characters, still different where they differed."""

    def __missing__(self, name: str) -> str:
        text = first = brief(name) or "(no name)"
        again = 1
        while text in self.values():
            again += 1
            text = f"{first} #{again}"
        self[name] = text
        return text


@dataclass(frozen=True)
class PageCell:
    """A verdict, with its place in the result set and what the page calls it."""

    index: int
    verdict: CellVerdict
    results: ResultSet
    names: Names

    @property
    def record(self) -> CellRecord:
        return self.verdict.record

    @property
    def title(self) -> str:
        return self.results.plan.phenomena[self.record.phenomenon].title

    @property
    def label(self) -> str:
        return label_in(self.results, self.record.phenomenon, self.record.claim_name)

    @property
    def architecture(self) -> str:
        return self.names[self.record.architecture]

    @property
    def task(self) -> str:
        return self.names[self.record.task]

    @property
    def tier(self) -> str:
        return tier_in(self.results, self.record.task)

    @property
    def where(self) -> str:
        return f"{brief(self.label, 60)}, {self.architecture}, {self.task}"

    @property
    def effect(self) -> str:
        return effect_text(self.verdict)

    @property
    def why(self) -> tuple[Verdict, str]:
        """Why it has no verdict, without the numbers that differ between cells."""
        reason = self.verdict.reason
        subject = brief(reason.subject, 120)
        if reason.kind == "not applicable":
            text = brief(reason, 200)
        elif reason.kind == "gate":
            text = f"gate not met: {subject}"
        else:
            text = _KINDS.get(reason.kind, subject or MEANINGS[self.verdict.verdict])
        return self.verdict.verdict, text


def context(results: ResultSet, toml: str, runs: int, displays: Displays) -> dict[str, Any]:
    """Everything that the template names, but for scripts, styles and embedded data."""
    names = Names()
    every = [PageCell(index, verdict, results, names) for index, verdict in enumerate(results.verdicts)]
    cells = [c for c in every if c.record.crossed]
    controls = [c for c in every if c.record.control]
    undecided = [c for c in cells if outcome(c.verdict.verdict) != "decided"]
    missing = grouped(undecided, lambda c: (c.title, *c.why))
    outcomes = Counter(outcome(c.verdict.verdict) for c in cells)
    tiers = Counter(c.tier for c in cells)
    meanings = [*TIERS.items(), (NOT_STATED, "the task does not say")]
    setting = attrgetter("record.phenomenon", "record.control", "record.architecture", "record.task")
    return {
        "results": results,
        "label": partial(label_in, results),
        "summary": _summary(results),
        "runs": runs,
        "columns": COLUMNS,
        "versions": {v.record.phenomenon: v.record.version for v in results.verdicts},
        "distrust": distrust(results.rows),
        "unfinished": unfinished(results),
        "calibrations": [row for row in results.rows if row.about.calibration],
        "table": grouped(crossed(results.rows), attrgetter("phenomenon")).values(),
        "known_kinds": KNOWN,
        "answers": grouped(answers(results), lambda pair: pair[1].kind),
        "gaps": gaps,
        "maps": displays.maps,
        "sweeps": sweep_panels(results),
        "sweeps_note": sweeps.NOTE,
        "theory_note": theory.NOTE,
        "theory_families": family_keys(displays.theory),
        "theory_lines": grouped(displays.theory, attrgetter("row.phenomenon")).values(),
        "orchard_note": orchard.NOTE,
        "orchard_families": family_keys(displays.orchards),
        "orchards": grouped(displays.orchards, attrgetter("row.phenomenon")).values(),
        "multiverse": multiverse,
        "stricter": {(of.row.phenomenon, of.row.claim_name): of.ends for of in displays.multiverses},
        "unmeasured": _unmeasured(results, displays),
        "multiverses": grouped(displays.multiverses, attrgetter("row.phenomenon")).values(),
        "unvalidated": [row for row in results.rows if not row.validated],
        "cells": cells,
        "heatmap": list(map(_panel, grouped(cells, attrgetter("record.phenomenon")).values())),
        "choices": {
            "phenomenon": dict.fromkeys(names[plain(c.title, None)] for c in cells),
            "architecture": dict.fromkeys(c.architecture for c in cells),
            "task": dict.fromkeys(c.task for c in cells),
        },
        "names": names,
        "verdicts": VERDICTS,
        "meanings": MEANINGS,
        "counts": Counter(c.verdict.verdict for c in cells),
        "counted": Counter(c.verdict.verdict for c in cells if c.verdict.counted),
        "outcomes": [(name, meaning, outcomes[name]) for name, meaning in OUTCOMES.items() if outcomes[name]],
        "tiers": [(name, meaning, tiers[name]) for name, meaning in meanings if tiers[name]],
        "controls": grouped(controls, setting).values(),
        "passed": sum(c.verdict.control_result == "passed" for c in controls),
        "judged": len(controls),
        "reasons": Counter(c.why for c in undecided).most_common(),
        "missing": sorted(missing.values(), key=lambda group: VERDICTS.index(group[0].verdict.verdict)),
        "provenance": _provenance(results, runs, len(cells), len(controls)),
        "toml": Markup(escape(plain(toml, None, lines=True))),
    }


def _unmeasured(results: ResultSet, displays: Displays) -> list[str]:
    """Claims whose cells cannot be decided again, since there is nothing to decide."""
    known = {(of.row.phenomenon, of.row.claim_name) for of in displays.multiverses}
    rows = [r for r in results.rows if (r.phenomenon, r.claim_name) not in known and not r.about.calibration]
    return [brief(f"{r.about.title}, {label_in(results, r.phenomenon, r.claim_name)}") for r in rows]


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items with equal keys together, in the order of their first."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _panel(cells: Sequence[PageCell]) -> dict[str, Any]:
    """The table of one phenomenon. Rows: its architectures. Columns: its claims, for each task.

    One of a single architecture on a single task is `single`: a line of wide columns under names that are said once is
    drawn as a list of its claims.
    """
    squares = {(c.record.architecture, c.record.task, c.record.claim_name): c for c in cells}
    heads = {(c.record.task, c.record.claim_name): c for c in cells}
    claims = {c.record.claim_name: c for c in cells}
    tasks = dict.fromkeys(c.record.task for c in cells)
    columns = [(task, claim) for task in tasks for claim in claims if (task, claim) in heads]
    return {
        "title": cells[0].title,
        "single": len(tasks) == len({c.record.architecture for c in cells}) == 1,
        "claims": claims.values(),
        "columns": [heads[column] for column in columns],
        "tasks": grouped((heads[column] for column in columns), attrgetter("record.task")).values(),
        "rows": [
            (row, [squares.get((row, *column)) for column in columns])
            for row in dict.fromkeys(c.record.architecture for c in cells)
        ],
    }


def _time(seconds: float) -> str:
    """Empty for what no run can have taken."""
    return clock(seconds) if 0 < seconds < MAX_SECONDS else ""


def _summary(results: ResultSet) -> str:
    """One line: when, with what, on what, for how long."""
    about = results.plan.environment
    commit = str(about.get("commit") or "")
    version = f"universality {about.get('universality', '?')}"
    version += f" at {short_commit(commit, 10)}" if commit else ""
    machine = about.get("accelerator") or about.get("cpu") or about.get("device")
    torch = f"torch {about['torch']}" if about.get("torch") else ""
    time = _time(results.plan.run_seconds)
    parts = (results.manifest.created[:10], version, torch, machine, f"{time} of training" if time else "")
    return " · ".join(brief(part, 80) for part in parts if part)


def _provenance(results: ResultSet, runs: int, cells: int, controls: int) -> list[tuple[str, str]]:
    plan, about = results.plan, results.plan.environment
    created = results.manifest.created.replace("T", " ").replace("+00:00", " UTC")
    software = ("universality", "commit", "python", "torch", "numpy")
    machine = ("device", "accelerator", "cpu", "cores", "threads", "platform")
    measured = sum(len(sitting.cells) for sitting in plan.earlier)
    sittings = f"{measured} of {len(plan.cells)} measurements, in {len(plan.earlier)}" if measured else ""
    facts = [
        ("suite", plan.suite),
        ("description", plan.description),
        ("first run", created),
        *((name, about.get(name)) for name in (*software, *machine)),
        ("earlier sittings", sittings),
        ("wall time of the last command", _time(plan.wall_seconds)),
        ("time of all runs", _time(plan.run_seconds)),
        ("share of it that probes took", probe_share(results)),
        ("most memory of a worker", memory(plan.peak_memory_bytes) if plan.peak_memory_bytes else ""),
        ("cells, controls, runs planned", f"{cells}, {controls}, {len(plan.runs)}"),
        ("runs behind this page", str(runs) if runs else "none: measurements only"),
        ("page written by", f"universality {__version__}"),
    ]
    return [(name, brief(value, 300)) for name, value in facts if value]
