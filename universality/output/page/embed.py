"""What the panel of a cell shows, as compact data. Texts that occur often are stored once."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from universality.judge.decide import CellVerdict
from universality.judge.moved import stays
from universality.judge.resultset import ResultSet
from universality.output.charts import (
    Curve,
    charts_on_page,
    curves_of,
    edges,
    levels_of,
    matrices_of,
    theory_of,
)
from universality.output.page.commands import Commands
from universality.output.page.series import rounded
from universality.output.phrases import label_in, tier_in
from universality.plugin.bounds import Bound, Within
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Matrices
from universality.plugin.outcome import Check, Matrix
from universality.store.cells import CellRecord, GroupRecord
from universality.text import brief, plain, typeset


class Texts(dict[str, int]):
    """A table of texts, each once, with its place."""

    def add(self, text: object) -> int:
        return self.setdefault(plain(text, None), len(self))


def embedded(results: ResultSet) -> dict[str, Any]:
    """`cells` in the order of the verdicts, with the `texts` and `charts` that their numbers point into."""
    texts = Texts()
    commands = Commands(results.records, results.plan)
    places: dict[Chart, int] = {}
    cells = []
    for v in results.verdicts:
        charts = [
            [places.setdefault(chart, len(places)), _drawn(chart, v.record, texts)]
            for chart in charts_on_page(results.plan, v.record)
        ]
        shared = {"charts": charts, "command": commands.rerun(v.record)}
        cells.append({**_cell(v, results, texts), **shared})
    return {"cells": cells, "charts": list(map(_chart, places)), "texts": list(texts)}


def _chart(chart: Chart) -> dict[str, Any]:
    """A chart with its titles as they are shown, in pairs with the names of series, which data are found by."""
    fields: dict[str, Any] = msgspec.to_builtins(chart)
    for field, value in fields.items():
        if isinstance(value, list | tuple):
            fields[field] = [[name, brief(title)] for name, title in value]
        elif isinstance(value, str):
            fields[field] = brief(value)
    return fields


def _drawn(chart: Chart, record: CellRecord, texts: Texts) -> dict[str, Any] | None:
    """What the measurement holds for a chart; the lines of runs are not in it."""

    def line(curve: Curve) -> list[Any]:
        numbers = ([rounded(v) for v in axis] for axis in (curve.x, curve.y))
        return [texts.add(curve.title), curve.group, *numbers]

    if isinstance(chart, Curves | Dots | Bars):
        theory = theory_of(chart, record) if isinstance(chart, Curves) else None
        lines = [line(curve) for curve in curves_of(chart, record)]
        ends = (
            [edges(c.x, "x" in chart.log) for c in curves_of(chart, record)]
            if isinstance(chart, Bars)
            else []
        )
        return {
            "lines": lines,
            "theory": theory and line(theory),
            "edges": [[rounded(x) for x in of] for of in ends],
        }
    if isinstance(chart, Levels):
        rows = levels_of(chart, record)
        return {
            "rows": [
                [r.group, _apart(r.value, r.needed), [rounded(n) for n in r.nulls], _apart(r.needed, r.value)]
                for r in rows
            ]
        }
    if isinstance(chart, Matrices):
        found = matrices_of(chart, record)
        return {
            "groups": [[group, [_matrix(*named, texts) for named in named_of]] for group, named_of in found]
        }
    return None


def _apart(value: float | None, other: float | None) -> float | None:
    return rounded(value, () if other is None else (other,))


def _cell(v: CellVerdict, results: ResultSet, texts: Texts) -> dict[str, Any]:
    record, plan = v.record, results.plan
    return {
        "id": record.id,
        "title": texts.add(plan.phenomena[record.phenomenon].title),
        "claim": texts.add(label_in(results, record.phenomenon, record.claim_name)),
        "version": record.version,
        "bounds": texts.add(typeset(str(record.claim))),
        "unit": texts.add(record.claim.unit),
        "scale": record.claim.scale,
        "band": _band(record.claim),
        "architecture": texts.add(record.architecture),
        "task": texts.add(record.task),
        "tier": texts.add(tier_in(results, record.task)),
        "verdict": v.verdict,
        "raw": v.raw,
        "reason": texts.add(v.reason),
        "estimate": [rounded(x, record.claim.ends) for x in (v.effect, v.low, v.high)],
        "middle": "mean" if isinstance(record.claim, Within) else "median",
        "p": [rounded(x) for x in (v.p, v.p_holm)],
        "counts": [v.decided, v.holding, v.units, v.groups],
        "seeds": v.seeds_needed,
        "stays": texts.add(typeset("; ".join(map(str, stays(v))))),
        "counted": v.counted,
        "repeated": v.repeated,
        "control": texts.add(record.control) if record.control else None,
        "expects": record.control and record.control.expects,
        "result": v.control_result,
        "groups": [_group(g, record.claim, texts) for g in record.groups],
    }


def _band(claim: Bound) -> list[float | None]:
    low, high = (claim.low, claim.high) if isinstance(claim, Within) else (claim.at_least, math.inf)
    return [rounded(low), rounded(high)]


def _group(group: GroupRecord, claim: Bound, texts: Texts) -> dict[str, Any]:
    outcome = group.outcome
    common = {
        "key": texts.add(group.key),
        "state": group.state,
        "runs": [[texts.add(role), texts.add(run)] for role, run in group.runs.items()],
        **({"message": texts.add(group.problem.text)} if group.problem else {}),
    }
    if outcome is None:
        return common
    return {
        **common,
        "effect": rounded(outcome.effect, claim.ends),
        "decided": outcome.decided(),
        "holds": outcome.holds(claim),
        "censored": outcome.censored,
        "label": texts.add(outcome.label),
        "gates": [_check(check, texts) for check in outcome.gates],
        "criteria": [_check(check, texts) for check in outcome.criteria],
        "details": [[texts.add(name), rounded(value)] for name, value in outcome.details.items()],
    }


def _check(check: Check, texts: Texts) -> list[Any]:
    return [texts.add(check.name), texts.add(check.needs), rounded(check.value, check.bounds), check.met]


def _matrix(name: str, matrix: Matrix, texts: Texts) -> dict[str, Any]:
    return {
        "name": texts.add(name),
        "rows": [texts.add(row) for row in matrix.rows],
        "columns": [texts.add(column) for column in matrix.columns],
        "values": [[None if v is None else round(v, 3) for v in map(rounded, row)] for row in matrix.values],
    }
