"""`universality report`: everything that is read, rebuilt from a results folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from universality.errors import StoreError
from universality.judge.boundary import Boundary, swept
from universality.judge.resultset import (
    Unreadable,
    judge_all,
    parse_plan,
    read_measurement,
    read_record,
    unused_damage,
)
from universality.judge.verdicts import CellVerdict, Facts, universality
from universality.plugin.records import CellRecord
from universality.plugin.tiers import tiers_of
from universality.report import tables
from universality.report.collect import layer_similarities, trajectories
from universality.report.page import kept, page, recorded
from universality.report.write import write_figures, write_tables
from universality.store.files import decode_json, storing
from universality.store.folder import refuse_links
from universality.store.layout import Layout
from universality.store.store import Store
from universality.text import plain

PAGE_BYTES = 4_900_000
"""What the page is kept below where thinner trajectories can do that."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was concluded, and where it was written."""

    store: Store
    verdicts: Sequence[CellVerdict]
    facts: Facts
    boundaries: Sequence[Boundary]
    probe_share: float | None
    """Of the time of the runs that are stored here."""


def rebuild(store: Store) -> Summary:
    """Write tables, figures and the page of a results folder. Raises `StoreError` where it holds no plan.

    Trajectories are drawn from `runs/`; a published folder without them keeps its figures, and its page the
    trajectories that it had.
    """
    refuse_links(store.layout)
    plan = read_plan(store)
    records = _measured(store.layout, plan["cells"])
    if not records:
        raise StoreError(
            "nothing has been measured here yet",
            where=str(store.layout.root),
            do="finish `universality run` first",
        )
    verdicts = judge_all(records)
    facts = plan["phenomena"]
    layout = store.layout
    boundaries = swept(verdicts, plan)
    # Before anything is written: it refuses names that climb out.
    html = _page(store, verdicts, plan, boundaries)
    with storing(layout.report):
        write_tables(layout.root, layout.report, verdicts, facts, tiers_of(plan), boundaries)
        # Of a published set, whose runs are elsewhere, the figures of trajectories stay as they are.
        frame = trajectories(store, records)
        write_figures(layout.report, verdicts, facts, frame, layer_similarities(records))
        store.write(layout.report / "index.html", html)
    seconds, probes = store.seconds(plan["runs"]), store.probe_seconds(plan["runs"])
    share = probes / seconds if seconds > 0 else None
    return Summary(store, verdicts, facts, boundaries, share)


def _measured(layout: Layout, cells: Sequence[str]) -> list[CellRecord]:
    """The measurements of a plan, read as `universality check` reads them.

    Raises `StoreError` where one is missing or is not what `universality run` writes: a table without it
    would look better than it is, since a lost control voids nothing.
    """
    found: list[CellRecord] = []
    lost: list[str] = []
    damage: list[str] = []
    for measurement_id in cells:
        path = layout.measurement(measurement_id)
        try:
            found.append(read_measurement(path))
        except Unreadable as problem:
            lost.append(measurement_id)
            if path.exists():
                damage.append(f"; {path.relative_to(layout.root).as_posix()}: {problem}")
    if lost:
        raise StoreError(
            "measurements of this plan are missing or damaged",
            where=str(layout.measurements),
            got=f"{len(lost)} of {len(cells)}: {', '.join(lost[:5])}{''.join(damage[:3])}",
            do="run the same `universality run` again: what is trained is measured anew",
        )
    return found


def _page(
    store: Store, verdicts: Sequence[CellVerdict], plan: Mapping[str, Any], boundaries: Sequence[Boundary]
) -> str:
    """The page, with as much of the trajectories as it has room for beside the rest."""
    paths = store.layout
    toml = paths.suite.read_text(encoding="utf-8", errors="replace") if paths.suite.is_file() else ""
    created = decode_json(paths.manifest.read_bytes()).get("created", "")
    written = partial(page, verdicts, plan, boundaries=boundaries, toml=toml, created=str(created))
    bare = written()
    records = [v.record for v in verdicts]
    runs = recorded(store, records, PAGE_BYTES - len(bare.encode()))
    if not store.run_ids():
        runs = kept(
            paths.report / "index.html", {run for r in records for g in r.groups for run in g.runs.values()}
        )
    return written(runs=runs) if runs else bare


def read_plan(store: Store) -> dict[str, Any]:
    """What was asked of this folder. Raises `StoreError` unless its texts, numbers and names are such."""
    path = store.layout.plan
    try:
        raw = read_record(path)
        parse_plan(raw)
    except Unreadable as problem:
        raise StoreError(
            "the plan of these results cannot be read",
            where=str(path),
            got=str(problem),
            do="run the same `universality run` again",
        ) from None
    return dict(raw)


def print_summary(summary: Summary) -> None:
    """The table, what kept cells undecided, and where everything lies."""
    rows = universality(summary.verdicts, summary.facts)
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
