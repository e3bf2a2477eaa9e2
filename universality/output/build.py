"""Everything that is read, rebuilt from a results folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from universality.judge.adopted import adopted_folders
from universality.judge.predictions import Theory, theories
from universality.judge.resultset import ResultSet
from universality.output import tables
from universality.output.collect import Recorded, SeriesOf, run_ids, thinned_before
from universality.output.displays.collection import Displays
from universality.output.page.earlier import earlier_runs
from universality.output.page.render import frame, with_runs
from universality.output.page.series import fit, shown_cells, stored_series
from universality.output.phrases import answer_lines, boundary_text, probe_share, unfinished
from universality.output.predictions import sections
from universality.output.sections import print_sections
from universality.output.write import undrawn, write_figures, write_predictions, write_tables
from universality.store.files import replace_file, storing
from universality.store.layout import Layout
from universality.store.store import Store
from universality.text import plain

PAGE_BYTES = 2_000_000
"""Trajectories are thinned to keep the page below this, where that suffices."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was concluded, and what the stored runs say besides.

    Args:
        store: the folder, with the damage that was found in it.
        undrawn: charts of which nothing was measured.
        theories: predictions locked beside the set, of cells that it has.
    """

    results: ResultSet
    store: Store
    undrawn: tuple[str, ...] = ()
    theories: tuple[Theory, ...] = ()

    def _repr_html_(self) -> str:
        """In a notebook: what is known, the table, and where the page is."""
        lines = [unfinished(self.results), *answer_lines(self.results)]
        known = Markup("").join(Markup("<li>{}</li>").format(plain(line, 1000)) for line in lines if line)
        rows = [tables.HEADERS, *tables.readable_rows(self.results.rows)]
        cells = (
            Markup("").join(Markup("<td>{}</td>").format(plain(text, 1000)) for text in row) for row in rows
        )
        table = Markup("").join(Markup("<tr>{}</tr>").format(row) for row in cells)
        page = plain(self.results.layout.page, None)
        return Markup("<ul>{}</ul><table>{}</table><p>{}</p>").format(known, table, page)


def rebuild(store: Store, folder: Path | None = None) -> Summary:
    """Write tables, figures and the page of a results folder.

    Trajectories are drawn from `runs/`, of runs of a set that was adopted from its page; a published folder without any
    run has those of its own page, which stay in it.
    Raises `StoreError` where the plan or a measurement cannot be used; then nothing is written.

    Args:
        folder: a copy of the set, to be written in place of the store, of which only runs are read. Where there are none,
            figures of trajectories stay what they are there: the page has them thinned. Predictions are no part of it.
    """
    results = ResultSet.load(folder or store.layout.root)
    layout = results.layout
    # Both before anything is written: names of runs that climb out of the folder are refused there.
    displays = Displays.of(results)
    found = theories([results]) if folder is None else ()
    foreseen = tuple(each for each in found if each.concerned)
    html, series = _page(results, store, displays, foreseen)
    if folder is not None and not store.run_ids():
        series = {}
    with storing(layout.report):
        write_tables(results)
        write_figures(results, series, displays)
        write_predictions(layout, foreseen)
        if folder is None:
            store.write(layout.page, html)
        else:
            replace_file(layout.page, html.encode())
    return Summary(results, store, tuple(undrawn(results, series)), foreseen)


def _page(
    results: ResultSet, store: Store, displays: Displays, foreseen: Sequence[Theory]
) -> tuple[str, SeriesOf]:
    """The page, with as much of the trajectories as it has room for beside the rest, and what figures draw of them."""
    layout = results.layout
    toml = layout.suite.read_text(encoding="utf-8", errors="replace") if layout.suite.is_file() else ""
    runs, measured, stored = stored_series(store, results), run_ids(results.records), set(store.run_ids())
    earlier = {} if stored else earlier_runs(layout.page, measured)
    adopted = [Layout(folder).page for folder in adopted_folders(store.layout)]
    shown = run_ids(shown_cells(results.records)) - stored if adopted else set()
    for page in adopted:
        earlier |= earlier_runs(page, shown - earlier.keys())
    html = frame(results, toml, len(stored & measured | earlier.keys()), displays, foreseen)
    room = PAGE_BYTES - len(with_runs(html, earlier).encode())
    return with_runs(html, earlier | fit(runs, room)), {**thinned_before(earlier), **Recorded(runs)}


def print_summary(summary: Summary) -> None:
    """The table, where claims end, what is damaged, and where everything lies."""
    results, layout = summary.results, summary.results.layout
    if line := unfinished(results):
        print(line)
    tables.print_table(results.rows)
    print_sections([tables.controls_alone(results)], sys.stdout)
    for line in answer_lines(results):
        print(plain(line, 400))
    for b in results.boundaries:
        print(plain(boundary_text(results, b, f"from {b.example}, {b.beside}"), 400))
    print_sections(sections(summary.theories), sys.stdout)
    if share := probe_share(results):
        print(f"probes took {share} of the time of all runs")
    for line in summary.undrawn:
        print(f"not drawn: {plain(line, 400)}", file=sys.stderr)
    for damage in summary.store.damaged:
        print(f"damaged, not used: {plain(damage, 400)}", file=sys.stderr)
    places = {
        "evidence": layout.evidence,
        "table": layout.universality,
        "page": layout.report / "index.html",
        "figures": f"{layout.report}/",
    }
    for name, place in places.items():
        print(f"{name + ':':<9} {plain(place, None)}")
