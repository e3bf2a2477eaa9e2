"""What the template fills in: tables of texts, in the order in which they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from universality import __version__
from universality.judge.boundary import Boundary
from universality.judge.statistics import Prevalence
from universality.judge.verdicts import VERDICTS, CellVerdict, Facts, Universality, Verdict, universality
from universality.plugin.claims import telling_digits
from universality.plugin.tiers import NOT_STATED, TIERS, tiers_of
from universality.report import columns as c
from universality.report.figures.heatmap import MARKS, MEANINGS
from universality.report.page.text import bounds, bracket, linked, number, plain, short
from universality.report.tables import NOTE
from universality.train.progress import clock

OUTCOMES: Mapping[str, str] = {
    "decided": "present or absent: counts as evidence",
    "undecided": "measured, but a gate, the interval or a control forbids a verdict",
    "not measured": "cannot be asked, or the runs did not end well",
}


def outcome(verdict: Verdict) -> str:
    """How much a cell tells.

    >>> [outcome(v) for v in ("absent", "invalid", "timeout")]
    ['decided', 'undecided', 'not measured']
    """
    if verdict in ("present", "absent"):
        return "decided"
    return "undecided" if verdict in ("inconclusive", "invalid") else "not measured"


def slug(verdict: str) -> str:
    """A verdict as the name of a CSS class."""
    return "v-" + verdict.replace(" ", "-")


class Names:
    """Names as they are shown: safe, at most 90 characters, still different where they differed."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._taken: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        if name not in self._shown:
            text = short(plain(name)) or "(no name)"
            self._taken[text] += 1
            again = self._taken[text]
            self._shown[name] = text if again == 1 else f"{text} #{again}"
        return self._shown[name]


@dataclass(frozen=True, slots=True)
class Square:
    """One cell of a heatmap."""

    index: int
    verdict: Verdict
    mark: str
    effect: str
    counted: bool
    where: str


def context(
    verdicts: Sequence[CellVerdict],
    plan: Mapping[str, Any],
    boundaries: Sequence[Boundary],
    toml: str,
    created: str,
    runs: int,
) -> dict[str, Any]:
    """Everything that the template names, but for scripts, styles and embedded data."""
    facts: Facts = plan["phenomena"]
    names = Names()
    rows = universality(verdicts, facts)
    cells = [v for v in verdicts if v.record.crossed]
    counts = Counter(v.verdict for v in cells)
    outcomes = Counter(outcome(v.verdict) for v in cells)
    tiers = tiers_of(plan)
    told = Counter(tiers.get(v.record.task, NOT_STATED) for v in cells)
    meanings = [*TIERS.items(), (NOT_STATED, "the task does not say")]
    controls = [v for v in verdicts if v.record.control]
    return {
        "suite": short(plain(plan["suite"])),
        "description": short(plain(plan.get("description", "")), 400),
        "summary": _summary(plan, created),
        "numbers": _numbers(counts, outcomes, controls, runs),
        "note": NOTE,
        "table": _by_phenomenon(rows, facts),
        "heatmap": _heatmap(verdicts, facts, tiers, names),
        "choices": {
            "phenomenon": _distinct(names(_title(facts, v.record.phenomenon)) for v in cells),
            "architecture": _distinct(names(v.record.architecture) for v in cells),
            "task": _distinct(names(v.record.task) for v in cells),
        },
        "verdicts": [(v, slug(v), MARKS[v], MEANINGS[v], counts[v]) for v in VERDICTS if counts[v]],
        "outcomes": [(name, meaning, outcomes[name]) for name, meaning in OUTCOMES.items() if outcomes[name]],
        "tiers": [(name, meaning, told[name]) for name, meaning in meanings if told[name]],
        "total": len(cells),
        "uncounted": sum(not v.counted for v in cells),
        "boundaries": [
            (
                _title(facts, b.phenomenon),
                short(plain(b.claim_name)),
                short(plain(b.parameter)),
                f"{short(plain(b.example))}, {short(plain(b.beside))}",
                str(b),
            )
            for b in boundaries
        ],
        "controls": _controls(verdicts, facts),
        "unvalidated": [
            (_title(facts, r.phenomenon), short(plain(r.claim_name)), [plain(f) for f in r.failed_controls])
            for r in rows
            if not r.validated
        ],
        "reasons": Counter(_kind(v) for v in cells if outcome(v.verdict) != "decided").most_common(),
        "missing": _missing(verdicts, facts, names),
        "provenance": _provenance(plan, created, runs, len(cells), len(controls)),
        "toml": plain(toml, lines=True),
        "slug": slug,
    }


def _distinct(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _title(facts: Facts, phenomenon: str) -> str:
    return plain(facts.get(phenomenon, {}).get(c.TITLE) or phenomenon)


def _environment(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    found = plan.get("environment")
    return found if isinstance(found, Mapping) else {}


def _seconds(value: object) -> str:
    """A time that was really taken; nothing where the plan holds something else."""
    return clock(value) if isinstance(value, int | float) and 0 < value < 1e9 else ""


def _share(part: object, whole: object) -> str:
    """A share of time that was really taken; nothing where the plan holds something else."""
    if not (isinstance(part, int | float) and isinstance(whole, int | float)):
        return ""
    return f"{part / whole:.0%}" if 0 <= part <= whole < 1e9 and whole > 0 else ""


def _summary(plan: Mapping[str, Any], created: str) -> str:
    """One line: when, with what, on what, for how long."""
    about = _environment(plan)
    commit = str(about.get("commit") or "")
    version = f"universality {about.get('universality', '?')}"
    version += f" at {commit[:10]}{'+changes' if commit.endswith('+changes') else ''}" if commit else ""
    machine = about.get("accelerator") or about.get("cpu") or about.get("device")
    parts = [created[:10], version, f"torch {about.get('torch')}" if about.get("torch") else "", machine]
    training = _seconds(plan.get("run_seconds"))
    parts.append(f"{training} of training" if training else "")
    return " · ".join(short(plain(part), 80) for part in parts if part)


def _numbers(
    counts: Mapping[Verdict, int], outcomes: Mapping[str, int], controls: Sequence[CellVerdict], runs: int
) -> list[tuple[str, str]]:
    """The few numbers at the top, each with what it counts."""
    passed = sum(bool(v.passed) for v in controls)
    found = [
        (f"{sum(outcomes.values())}", "cells, one claim in one network on one task"),
        (f"{outcomes['decided']}", f"decided: {counts['present']} present, {counts['absent']} absent"),
        (f"{passed}/{len(controls)}", "controls came out as they must"),
    ]
    return [*found, (f"{runs}", "runs stored")] if runs else found


def _by_phenomenon(rows: Sequence[Universality], facts: Facts) -> list[dict[str, Any]]:
    grouped: dict[str, list[Universality]] = {}
    for row in rows:
        grouped.setdefault(row.phenomenon, []).append(row)
    return [
        {
            "title": short(_title(facts, name)),
            "full": _title(facts, name),
            "sense": short(plain(facts.get(name, {}).get(c.SENSE, ""))),
            "strand": short(plain(facts.get(name, {}).get(c.STRAND, ""))),
            "source": linked(facts.get(name, {}).get(c.SOURCE, "")),
            "rows": [_row(row) for row in members],
        }
        for name, members in grouped.items()
    ]


def _row(row: Universality) -> dict[str, Any]:
    share, pooled = row.prevalence, row.pooled
    return {
        "claim": short(plain(row.claim_name)),
        "full": plain(row.claim_name),
        "bounds": short(bounds(row.claim)),
        "unit": short(plain(row.claim.unit)),
        "share": share and f"{share.estimate:.0%}",
        "range": share and f"{share.low:.0%} to {share.high:.0%}",
        "effective": share and f"{share.effective:.3g}",
        "bar": share and _bar(share),
        "present": (row.counts["present"], row.confirmed["present"]),
        "absent": (row.counts["absent"], row.confirmed["absent"]),
        "others": [(v, slug(v), MARKS[v], row.counts[v]) for v in VERDICTS[2:] if row.counts[v]],
        "decided": row.decided,
        "applicable": row.applicable,
        "pooled": pooled and (number(pooled.estimate), bracket(pooled.low, pooled.high)),
        "next": pooled and bracket(pooled.prediction_low, pooled.prediction_high),
        "validated": row.validated,
        "failed": [short(plain(f), 300) for f in row.failed_controls],
    }


def _bar(share: Prevalence) -> dict[str, float]:
    """Positions on a scale of 100, with room for the dot at both ends."""
    return {name: round(4 + 92 * getattr(share, name), 1) for name in ("low", "estimate", "high")}


def _heatmap(
    verdicts: Sequence[CellVerdict], facts: Facts, tiers: Mapping[str, str], names: Names
) -> list[dict[str, Any]]:
    """A table per phenomenon. Rows: its architectures. Columns: its claims, for each task."""
    panels: dict[str, list[tuple[int, CellVerdict]]] = {}
    for index, v in enumerate(verdicts):
        if v.record.crossed:
            panels.setdefault(v.record.phenomenon, []).append((index, v))
    return [_panel(name, members, facts, tiers, names) for name, members in panels.items()]


def _panel(
    phenomenon: str,
    members: Sequence[tuple[int, CellVerdict]],
    facts: Facts,
    tiers: Mapping[str, str],
    names: Names,
) -> dict[str, Any]:
    records = [v.record for _, v in members]
    claims = {r.claim_name: r.claim for r in records}
    title = names(_title(facts, phenomenon))
    squares = {
        (v.record.architecture, v.record.task, v.record.claim_name): _square(index, v, names)
        for index, v in members
    }
    tasks = _distinct(r.task for r in records)
    asked = {
        task: [claim for claim in claims if any((r.task, r.claim_name) == (task, claim) for r in records)]
        for task in tasks
    }
    columns = [(task, claim) for task in tasks for claim in asked[task]]
    return {
        "title": title,
        "claims": [
            (short(plain(name), 40), short(plain(claim.unit)), bounds(claim))
            for name, claim in claims.items()
        ],
        "tasks": [
            (names(task), plain(task), tiers.get(task, NOT_STATED), len(asked[task])) for task in tasks
        ],
        "columns": [
            (names(task), tiers.get(task, NOT_STATED), short(plain(claim), 24), plain(claim))
            for task, claim in columns
        ],
        "rows": [
            (names(a), plain(a), [squares.get((a, task, claim)) for task, claim in columns])
            for a in _distinct(r.architecture for r in records)
        ],
    }


def _square(index: int, v: CellVerdict, names: Names) -> Square:
    effect = "" if v.effect is None else number(v.effect, telling_digits(v.record.claim, v.effect, 3))
    if v.effect is None and v.decided and v.low is not None and v.low > 0:
        effect = f">{number(v.low)}"
    where = f"{short(plain(v.record.claim_name), 40)}, {names(v.record.architecture)}, {names(v.record.task)}"
    return Square(index, v.verdict, MARKS[v.verdict], effect, v.counted, where)


def _controls(verdicts: Sequence[CellVerdict], facts: Facts) -> list[dict[str, Any]]:
    """A row per control, with what each of its claims came out as."""
    found: dict[tuple[str, str, str, str], list[tuple[int, CellVerdict]]] = {}
    for index, v in enumerate(verdicts):
        if v.record.control:
            key = (v.record.phenomenon, v.record.control, v.record.architecture, v.record.task)
            found.setdefault(key, []).append((index, v))
    return [
        {
            "phenomenon": short(_title(facts, phenomenon)),
            "name": short(plain(name), 200),
            "where": f"{short(plain(architecture))} on {short(plain(task))}",
            "passed": all(v.passed for _, v in members),
            "claims": [_control(index, v) for index, v in members],
        }
        for (phenomenon, name, architecture, task), members in found.items()
    ]


def _control(index: int, v: CellVerdict) -> dict[str, Any]:
    return {
        "index": index,
        "name": short(plain(v.record.claim_name), 40),
        "verdict": v.raw,
        "mark": MARKS[v.raw],
        "passed": bool(v.passed),
        "expects": short(plain(" or ".join(v.record.expects)), 200),
        "reason": short(plain(v.reason), 400),
    }


def _kind(v: CellVerdict) -> tuple[Verdict, str]:
    """Why a cell has no verdict, without the numbers that differ between cells."""
    reason = plain(v.reason)
    if v.verdict == "not applicable":
        return v.verdict, short(reason, 200)
    if v.verdict != "inconclusive":
        return v.verdict, "a control of the claim failed" if reason.startswith(
            "control failed"
        ) else MEANINGS[v.verdict]
    if reason.startswith("straddles"):
        return v.verdict, "the interval straddles a bound"
    if reason.startswith("mixed"):
        return v.verdict, "some runs hold and some do not"
    gate = reason.partition(" = ")[0].partition(" (in ")[0]
    return v.verdict, f"gate not met: {short(gate, 120)}" if " (in " in reason else short(gate, 120)


def _missing(verdicts: Sequence[CellVerdict], facts: Facts, names: Names) -> list[dict[str, Any]]:
    """Cells without a verdict, those of one phenomenon and one reason together."""
    found: dict[tuple[str, Verdict, str], list[tuple[int, str]]] = {}
    for index, v in enumerate(verdicts):
        if not v.record.crossed or outcome(v.verdict) == "decided":
            continue
        key = (_title(facts, v.record.phenomenon), v.verdict, v.reason)
        found.setdefault(key, []).append((index, _square(index, v, names).where))
    order = sorted(found, key=lambda key: VERDICTS.index(key[1]))
    return [
        {
            "phenomenon": short(key[0]),
            "verdict": key[1],
            "mark": MARKS[key[1]],
            "reason": short(plain(key[2]), 400),
            "cells": found[key],
        }
        for key in order
    ]


def _provenance(
    plan: Mapping[str, Any], created: str, runs: int, cells: int, controls: int
) -> list[tuple[str, str]]:
    about = _environment(plan)
    known = [
        ("suite", plan["suite"]),
        ("description", plan.get("description")),
        ("first run", created.replace("T", " ").replace("+00:00", " UTC")),
        ("universality", about.get("universality")),
        ("commit", about.get("commit")),
        ("python", about.get("python")),
        ("torch", about.get("torch")),
        ("numpy", about.get("numpy")),
        ("device", about.get("device")),
        ("accelerator", about.get("accelerator")),
        ("cpu", about.get("cpu")),
        ("cores", about.get("cores")),
        ("threads", about.get("threads")),
        ("platform", about.get("platform")),
        ("wall time of the last command", _seconds(plan.get("wall_seconds"))),
        ("time of all runs", _seconds(plan.get("run_seconds"))),
        ("share of it that probes took", _share(plan.get("probe_seconds"), plan.get("run_seconds"))),
        ("cells, controls, runs planned", f"{cells}, {controls}, {len(plan['runs'])}"),
        ("runs behind this page", str(runs) if runs else "none: measurements only"),
        ("page written by", f"universality {__version__}"),
    ]
    return [(name, short(plain(value), 300)) for name, value in known if value]
