"""One folder that holds everything to be read: tables as CSV, Markdown and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.judge.resultset import ResultSet
from universality.output import tables
from universality.output.charts import Sheet, sheets
from universality.output.collect import SeriesOf, blocks
from universality.output.figures.heatmap import verdict_heatmap
from universality.output.figures.levels import levels
from universality.output.figures.lines import lines
from universality.output.figures.matrices import matrices
from universality.output.figures.points import points
from universality.output.figures.style import save
from universality.output.latex import latex
from universality.plugin.charts import Levels, Lines, Matrices
from universality.store.files import replace_file


def write_tables(results: ResultSet) -> None:
    """evidence.csv (a row per cell and claim) and universality.csv; universality.md and .tex in `report/`."""
    layout = results.layout
    layout.report.mkdir(parents=True, exist_ok=True)
    texts = {
        layout.evidence: tables.evidence_table(results).to_csv(index=False),
        layout.universality: tables.universality_table(results).to_csv(index=False),
        layout.report / "universality.md": tables.markdown(results),
        layout.report / "universality.tex": latex(results),
    }
    for path, text in texts.items():
        replace_file(path, text.encode(errors="backslashreplace"))


def write_figures(results: ResultSet, runs: SeriesOf) -> list[Path]:
    """The heatmap of all cells, and what claims declare; returns the files in the order written.

    Args:
        runs: the series that are known. A figure of which nothing is known is left as it was.
    """
    folder = results.layout.report
    folder.mkdir(parents=True, exist_ok=True)
    crossed = any(record.crossed for record in results.records)
    paths = save(verdict_heatmap(results), folder, "heatmap") if crossed else []
    for sheet in sheets(results):
        with suppress(MeasurementError):
            paths += save(_figure(results, sheet, runs), folder, sheet.name)
    return paths


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
