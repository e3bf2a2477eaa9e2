"""What the panel of a cell shows, as compact data. Texts that occur often are stored once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from universality.judge.verdicts import CellVerdict
from universality.plugin.claims import Claim, Within
from universality.plugin.records import Check, GroupRecord, Matrix
from universality.plugin.tiers import NOT_STATED, tiers_of
from universality.report.page.commands import Commands
from universality.report.page.series import Chart, chart_of, rounded
from universality.report.page.text import bounds, plain, short


class Texts:
    """A table of texts, each once."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}

    def add(self, text: object) -> int:
        return self._index.setdefault(plain(text), len(self._index))

    @property
    def all(self) -> list[str]:
        return list(self._index)


def embedded(
    verdicts: Sequence[CellVerdict], titles: Mapping[str, str], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """`cells` in the order of `verdicts`, with the `texts` and `charts` that their numbers point into."""
    texts = Texts()
    tiers = tiers_of(plan)
    commands = Commands([v.record for v in verdicts], plan)
    charts: list[Chart] = []
    cells = []
    for v in verdicts:
        cell = _cell(v, texts, charts, titles.get(v.record.phenomenon, ""), commands)
        cells.append({**cell, "tier": texts.add(tiers.get(v.record.task, NOT_STATED))})
    return {"cells": cells, "charts": [_chart(chart) for chart in charts], "texts": texts.all}


def _cell(
    v: CellVerdict, texts: Texts, charts: list[Chart], title: str, commands: Commands
) -> dict[str, Any]:
    record = v.record
    chart = chart_of(record)
    if chart not in charts:
        charts.append(chart)
    return {
        "id": record.id,
        "title": texts.add(title or record.phenomenon),
        "claim": texts.add(record.claim_name),
        "version": record.version,
        "bounds": texts.add(bounds(record.claim)),
        "unit": texts.add(record.claim.unit),
        "scale": record.claim.scale,
        "band": _band(record.claim),
        "architecture": texts.add(record.architecture),
        "task": texts.add(record.task),
        "verdict": v.verdict,
        "raw": v.raw,
        "reason": texts.add(v.reason),
        "estimate": [_number(x) for x in (v.effect, v.low, v.high)],
        "middle": "mean" if isinstance(record.claim, Within) else "median",
        "p": [_number(x) for x in (v.p, v.p_holm)],
        "counts": [v.decided, v.holding, v.units, v.groups],
        "seeds": v.seeds_needed,
        "counted": v.counted,
        "control": texts.add(record.control) if record.control else None,
        "expects": texts.add(" or ".join(record.expects)),
        "passed": v.passed,
        "command": commands.rerun(record),
        "chart": charts.index(chart),
        "groups": [_group(g, record.claim, texts) for g in record.groups],
    }


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "metrics": dict(chart.metrics),
        "label": short(plain(chart.label)),
        "banded": chart.banded,
        "logSteps": chart.log_steps,
        "logValues": chart.log_values,
    }


def _band(claim: Claim) -> list[float | None]:
    low, high = (claim.low, claim.high) if isinstance(claim, Within) else (claim.at_least, math.inf)
    return [_number(low), _number(high)]


def _group(group: GroupRecord, claim: Claim, texts: Texts) -> dict[str, Any]:
    known: dict[str, Any] = {
        "key": texts.add(group.key),
        "state": group.state,
        "runs": [[texts.add(role), texts.add(run)] for role, run in group.runs.items()],
    }
    if group.message:
        known["message"] = texts.add(group.message)
    outcome = group.outcome
    if outcome is None:
        return known
    return {
        **known,
        "effect": _number(outcome.effect),
        "decided": outcome.decided(),
        "holds": outcome.holds(claim),
        "censored": outcome.censored,
        "label": texts.add(outcome.label),
        "gates": [_check(check, texts) for check in outcome.gates],
        "criteria": [_check(check, texts) for check in outcome.criteria],
        "details": [[texts.add(name), _number(value)] for name, value in outcome.details.items()],
        "matrices": [_matrix(name, m, texts) for name, m in outcome.matrices.items()],
    }


def _check(check: Check, texts: Texts) -> list[Any]:
    return [texts.add(check.name), texts.add(check.needs), _number(check.value), bool(check.met)]


def _matrix(name: str, matrix: Matrix, texts: Texts) -> dict[str, Any]:
    return {
        "name": texts.add(name),
        "rows": [texts.add(row) for row in matrix.rows],
        "columns": [texts.add(column) for column in matrix.columns],
        "values": [[None if v is None else round(v, 3) for v in map(_number, row)] for row in matrix.values],
    }


def _number(value: Any) -> float | None:
    """Infinite bounds and undefined numbers become None; so does what is no number at all."""
    try:
        return rounded(float(value)) if isinstance(value, int | float) else None
    except OverflowError:  # JSON has integers of any length
        return None
