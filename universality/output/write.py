"""One folder that holds everything to be read: tables as CSV, Markdown and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from universality.judge.resultset import ResultSet
from universality.output import columns as c
from universality.output import tables
from universality.output.charts import CHARTS
from universality.output.collect import layer_similarities
from universality.output.figures.heatmap import verdict_heatmap
from universality.output.figures.similarity import representation_similarity
from universality.output.figures.style import save
from universality.output.figures.trajectories import lines
from universality.output.latex import latex
from universality.plugin.bounds import Within
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


def write_figures(results: ResultSet, trajectories: pd.DataFrame) -> list[Path]:
    """The heatmap of all cells, and a figure per phenomenon; returns the files in the order written.

    Args:
        trajectories: long form, `columns.TRAJECTORY`; phenomena without a chart are passed over.
    """
    folder = results.layout.report
    folder.mkdir(parents=True, exist_ok=True)
    crossed = [record for record in results.records if record.crossed]
    paths = save(verdict_heatmap(results), folder, "heatmap") if crossed else []
    frames = dict(tuple(trajectories.groupby(c.PHENOMENON, sort=False)))
    for phenomenon, chart in CHARTS.items():
        if phenomenon in frames:
            records = [record for record in crossed if record.phenomenon == phenomenon]
            claims = {r.claim_name: r.claim for r in records if isinstance(r.claim, Within)}
            titles = results.plan.phenomena[phenomenon].claims
            paths += save(lines(frames[phenomenon], chart, claims, titles), folder, phenomenon)
    if pairs := layer_similarities(results.records):
        paths += save(representation_similarity(pairs), folder, "representation_similarity")
    return paths
