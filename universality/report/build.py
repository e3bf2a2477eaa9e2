"""`universality report`: everything that is read, rebuilt from a results folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.boundary import Boundary, swept
from universality.errors import StoreError
from universality.files import decode_json, storing
from universality.folder import refuse_links
from universality.layout import Layout
from universality.records import CellRecord
from universality.report import tables
from universality.report.collect import layer_similarities, trajectories
from universality.report.page import page, recorded
from universality.report.text import plain
from universality.report.write import write_figures, write_tables
from universality.resultset import Unreadable, check_schema, parse_measurement, read_record, unused_damage
from universality.store import Store
from universality.verdicts import CellVerdict, judge, universality


@dataclass(frozen=True, slots=True)
class Summary:
    """What was concluded, and where it was written."""

    store: Store
    verdicts: Sequence[CellVerdict]
    facts: tables.Facts
    boundaries: Sequence[Boundary]
    probe_share: float | None
    """Of the time of the runs that are stored here."""


def rebuild(store: Store) -> Summary:
    """Write tables, figures and the page of a results folder. Raises `StoreError` where it holds no plan.

    Trajectories are drawn from `runs/`; a published folder without them keeps its figures, and its page
    says that there are none.
    """
    refuse_links(store.layout)
    plan = read_plan(store)
    by_id = {record.id: record for record in store.measurements()}
    lost = [i for i in plan["cells"] if i not in by_id]
    if lost:
        # A table without them would look better than it is: a lost control voids nothing.
        raise StoreError(
            "measurements of this plan are missing or damaged",
            where=str(store.layout.measurements),
            got=f"{len(lost)} of {len(plan['cells'])}: {', '.join(lost[:5])}"
            + "".join(f"; {why}" for i in lost[:3] if (why := _damage(store.layout, i))),
            do="run the same `universality run` again: what is trained is measured anew",
        )
    records: list[CellRecord] = [by_id[i] for i in plan["cells"]]
    if not records:
        raise StoreError(
            "nothing has been measured here yet",
            where=str(store.layout.root),
            do="finish `universality run` first",
        )
    verdicts = judge(records)
    facts = plan["phenomena"]
    layout = store.layout
    with storing(layout.report):
        write_tables(layout.root, layout.report, verdicts, facts)
        if store.run_ids():
            frame = trajectories(store, records)
            write_figures(layout.report, verdicts, facts, frame, layer_similarities(records))
        _write_page(store, verdicts, plan, records)
    seconds, probes = store.seconds(plan["runs"]), store.probe_seconds(plan["runs"])
    share = probes / seconds if seconds > 0 else None
    return Summary(store, verdicts, facts, swept(verdicts, plan), share)


def _damage(layout: Layout, measurement_id: str) -> str:
    """Why a measurement cannot be used; empty where it is not there."""
    try:
        path = layout.measurement(measurement_id)
        if not path.exists():
            return ""
        raw = read_record(path)
        check_schema(raw)
        parse_measurement(raw, measurement_id)
    except Unreadable as problem:
        return f"{path.relative_to(layout.root).as_posix()}: {problem}"
    except StoreError as error:
        return error.what
    return ""


def _write_page(
    store: Store, verdicts: Sequence[CellVerdict], plan: Mapping[str, Any], records: Sequence[CellRecord]
) -> None:
    paths = store.layout
    toml = paths.suite.read_text(encoding="utf-8", errors="replace") if paths.suite.is_file() else ""
    created = decode_json(paths.manifest.read_bytes()).get("created", "")
    html = page(verdicts, plan, toml=toml, created=str(created), runs=recorded(store, records))
    store.write(paths.report / "index.html", html)


def read_plan(store: Store) -> dict[str, Any]:
    """What was asked of this folder."""
    path = store.layout.plan
    try:
        with storing(path):
            plan = decode_json(path.read_bytes())
        return {
            **plan,
            "suite": str(plan["suite"]),
            "cells": list(plan["cells"]),
            "runs": {run: dict(observe) for run, observe in plan["runs"].items()},
            "phenomena": {name: dict(about) for name, about in plan["phenomena"].items()},
        }
    except (
        *(StoreError, ValueError, KeyError, TypeError, AttributeError),
        *(RecursionError, OverflowError),
    ) as error:
        raise StoreError(
            "the plan of these results cannot be read",
            where=str(path),
            got=error.got if isinstance(error, StoreError) else str(error),
            do="run the same `universality run` again",
        ) from None


def print_summary(summary: Summary) -> None:
    """The table, what kept cells undecided, and where everything lies."""
    rows = universality(summary.verdicts)
    tables.print_table(rows, summary.facts)
    for b in summary.boundaries:
        print(plain(f"{b.phenomenon}.{b.claim_name}, {b.parameter} from {b.example}, {b.beside}: {b}", 400))
    if summary.probe_share is not None:
        print(f"probes took {summary.probe_share:.0%} of the time of all runs")
    layout = summary.store.layout
    for damage in summary.store.damaged:
        print(f"damaged, not used: {damage}", file=sys.stderr)
    print(
        f"evidence: {layout.evidence}\ntable:    {layout.universality}\n"
        f"page:     {layout.report / 'index.html'}\nfigures:  {layout.report}/"
    )


def show(folder: Path) -> int:
    """The command `universality report DIR`."""
    store = Store.open(folder, writable=True)
    damaged = unused_damage(store.layout)  # before evidence.csv is written anew
    summary = rebuild(store)
    for damage in damaged:
        mended = " (written anew)" if damage.startswith(store.layout.evidence.name) else ""
        print(f"warning: {plain(str(folder))}: {plain(damage, 400)}{mended}", file=sys.stderr)
    print_summary(summary)
    return 0
