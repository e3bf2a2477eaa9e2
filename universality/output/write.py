"""One folder that holds everything to be read: tables as CSV, Markdown and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.judge.predictions import Theory
from universality.judge.resultset import ResultSet
from universality.output import tables
from universality.output.charts import Sheet, charts_of, curves_of, levels_of, matrices_of, sheets
from universality.output.collect import SeriesOf, blocks, run_ids
from universality.output.displays.collection import Displays, files
from universality.output.figures.heatmap import verdict_heatmap
from universality.output.figures.levels import levels
from universality.output.figures.lines import lines
from universality.output.figures.matrices import matrices
from universality.output.figures.points import points
from universality.output.figures.style import save
from universality.output.latex import latex
from universality.output.predictions import markdown
from universality.plugin.charts import Chart, Levels, Lines, Matrices, names_of
from universality.store.cells import CellRecord
from universality.store.files import replace_file
from universality.store.layout import Layout


def write_tables(results: ResultSet) -> None:
    """evidence.csv (a row per cell and claim) and universality.csv; universality.md and .tex in `report/`."""
    layout = results.layout
    layout.report.mkdir(parents=True, exist_ok=True)
    texts = {
        layout.evidence: tables.csv(tables.evidence_table(results)),
        layout.universality: tables.csv(tables.universality_table(results)),
        layout.report / "universality.md": tables.markdown(results),
        layout.report / "universality.tex": latex(results),
    }
    for path, text in texts.items():
        replace_file(path, text.encode(errors="backslashreplace"))


def write_predictions(layout: Layout, foreseen: Sequence[Theory]) -> None:
    """predictions.md in `report/`, where any are locked of these cells."""
    path = layout.report / "predictions.md"
    if text := markdown(foreseen):
        replace_file(path, text.encode(errors="backslashreplace"))
    else:
        path.unlink(missing_ok=True)


def write_figures(results: ResultSet, runs: SeriesOf, displays: Displays | None = None) -> list[Path]:
    """The heatmap of all cells, the displays, and what claims declare; returns the files in the order written.

    Args:
        displays: those of the set, where they are made already.
        runs: the series that are known. A figure of series of which none is known is left as it was; others that there
            were, and that nothing draws any more, are deleted.
    """
    folder = results.layout.report
    folder.mkdir(parents=True, exist_ok=True)
    crossed = any(record.crossed for record in results.records)
    paths = save(verdict_heatmap(results), folder, "heatmap") if crossed else []
    for name, text in files(results, displays or Displays.of(results)):
        paths.append(folder / f"{name}.svg")
        replace_file(paths[-1], text.encode(errors="backslashreplace"))
    kept: set[str] = set()
    for sheet in sheets(results):
        with suppress(MeasurementError):
            paths += save(_figure(results, sheet, runs), folder, sheet.name)
        if isinstance(sheet.chart, Lines):
            kept |= {f"{sheet.name}.svg", f"{sheet.name}.png"}
    kept |= {path.name for path in paths}
    for old in (*folder.glob("*.svg"), *folder.glob("*.png")):
        if old.name not in kept:
            old.unlink()
    return paths


def undrawn(results: ResultSet, runs: SeriesOf) -> list[str]:
    """A line for each chart of which no outcome and no run of any measured cell has what it names.

    Args:
        runs: the series that are known; a run of which nothing is known may have them.
    """
    measured: dict[tuple[str, str], list[CellRecord]] = {}
    for record in results.records:
        if record.crossed and any(g.outcome and g.outcome.effect is not None for g in record.groups):
            measured.setdefault((record.phenomenon, record.claim_name), []).append(record)
    return [
        f"{phenomenon}.{claim}: no {'run' if isinstance(chart, Lines) else 'outcome'} has what its chart draws, "
        f"{', '.join(names_of(chart))}"
        for (phenomenon, claim), records in measured.items()
        for chart in charts_of(results.plan, records[0])
        if not any(_draws(chart, record, runs) for record in records)
    ]


def _draws(chart: Chart, record: CellRecord, runs: SeriesOf) -> bool:
    if isinstance(chart, Lines):
        known = [runs[run] for run in run_ids([record]) if run in runs]
        return not known or any(name in series for series in known for name in names_of(chart))
    if isinstance(chart, Levels):
        return bool(levels_of(chart, record))
    return bool(matrices_of(chart, record) if isinstance(chart, Matrices) else curves_of(chart, record))


def _figure(results: ResultSet, sheet: Sheet, runs: SeriesOf) -> Figure:
    chart = sheet.chart
    if isinstance(chart, Lines):
        return lines(results, sheet, runs)
    if isinstance(chart, Matrices):
        about = (r for r in results.records if r.crossed and r.phenomenon == sheet.phenomenon)
        return matrices(
            chart, blocks(results.plan, [r for r in about if r.claim_name in sheet.charts], chart)
        )
    return levels(results, sheet) if isinstance(chart, Levels) else points(results, sheet)
