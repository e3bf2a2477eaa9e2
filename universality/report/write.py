"""One folder that holds everything to be read: tables as CSV, Markdown and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from universality.judge.boundary import Boundary
from universality.judge.verdicts import CellVerdict, Facts, universality
from universality.plugin.claims import Within
from universality.plugin.records import CellRecord
from universality.report import columns as c
from universality.report import tables
from universality.report.figures import trajectories as figures
from universality.report.figures.heatmap import verdict_heatmap
from universality.report.figures.similarity import Pair, representation_similarity
from universality.report.figures.style import save
from universality.report.latex import latex
from universality.store.files import replace_file


def write_tables(
    root: Path,
    folder: Path,
    verdicts: Sequence[CellVerdict],
    facts: Facts,
    tiers: Mapping[str, str],
    boundaries: Sequence[Boundary] = (),
) -> None:
    """evidence.csv (a row per cell and claim) and universality.csv in `root`; universality.md and .tex in
    `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = universality(verdicts, facts)
    texts = {
        root / "evidence.csv": tables.evidence_table(verdicts, tiers).to_csv(index=False),
        root / "universality.csv": tables.universality_table(rows, facts).to_csv(index=False),
        folder / "universality.md": tables.markdown(rows, facts, boundaries),
        folder / "universality.tex": latex(rows, facts),
    }
    for path, text in texts.items():
        replace_file(path, text.encode(errors="backslashreplace"))


def write_figures(
    folder: Path,
    verdicts: Sequence[CellVerdict],
    facts: Facts,
    trajectories: pd.DataFrame,
    matrices: Sequence[Pair] = (),
) -> list[Path]:
    """The heatmap of all cells, and a figure per phenomenon; returns the files in the order written.

    Args:
        facts: per phenomenon, its title, strand, sense and source (`columns.FACTS`).
        trajectories: long form, `columns.TRAJECTORY`; phenomena without a figure are passed over.
        matrices: layer similarities, each trained one with its untrained partner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    records = [v.record for v in verdicts]
    if any(record.crossed for record in records):
        titles = {name: about.get(c.TITLE) or name for name, about in facts.items()}
        paths += save(verdict_heatmap(verdicts, titles), folder, "heatmap")
    drawn = dict(tuple(trajectories.groupby(c.PHENOMENON, sort=False)))
    for phenomenon, draw in _figures(records).items():
        if phenomenon in drawn:
            paths += save(draw(drawn[phenomenon]), folder, phenomenon)
    if matrices:
        paths += save(representation_similarity(matrices), folder, "representation_similarity")
    return paths


def _figures(records: Sequence[CellRecord]) -> Mapping[str, Callable[[pd.DataFrame], Figure]]:
    """The figure of each phenomenon, with the bounds of its claims drawn in."""
    within = {(r.phenomenon, r.claim_name): r.claim for r in records if isinstance(r.claim, Within)}
    bands = [
        (claim.low, claim.high)
        for (name, _), claim in within.items()
        if name == "edge_of_stability" and math.isfinite(claim.low) and math.isfinite(claim.high)
    ]
    criteria = {
        f"collapse.{claim_name}": claim.high
        for (name, claim_name), claim in within.items()
        if name == "neural_collapse" and math.isfinite(claim.high)
    }
    return {
        "edge_of_stability": lambda frame: figures.edge_of_stability(frame, bands[0] if bands else None),
        "grokking": figures.grokking,
        "neural_collapse": lambda frame: figures.neural_collapse(frame, criteria),
    }
