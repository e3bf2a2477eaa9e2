"""Every display of a result set, made once for its page and its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from universality.judge.gaps import GapMap, gap_maps
from universality.judge.multiverse import Multiverse, multiverses
from universality.judge.resultset import ResultSet
from universality.output.displays import gaps, markers, multiverse, orchard, svg
from universality.output.displays.orchard import Orchard, orchards
from universality.output.phrases import label_in
from universality.text import typeset


@dataclass(frozen=True)
class Displays:
    """Each empty where the set has nothing for it."""

    maps: tuple[GapMap, ...]
    orchards: tuple[Orchard, ...]
    multiverses: tuple[Multiverse, ...]

    @classmethod
    def of(cls, results: ResultSet) -> Self:
        """Cost: that of `multiverses`, some seconds for thousands of measured cells."""
        return cls(tuple(gap_maps(results)), tuple(orchards(results)), tuple(multiverses(results)))


def files(results: ResultSet, displays: Displays) -> Iterator[tuple[str, str]]:
    """The name of each file, without its ending, and the SVG in it."""
    if displays.maps:
        whole, *parts = displays.maps
        panels = [(gaps.told(whole), gaps.large_map(whole))]
        yield (
            "evidence_gaps",
            svg.sheet("Evidence, and where there is none", gaps.NOTE, panels, keys=gaps.keys(whole.counts)),
        )
        if len(parts) > 1:
            panels = [(results.plan.phenomena[of.phenomenon].title, gaps.small_map(of)) for of in parts]
            heading = "Evidence, phenomenon by phenomenon"
            yield (
                "evidence_gaps-phenomena",
                svg.sheet(heading, gaps.NOTE, panels, columns=6, keys=gaps.keys(whole.counts)),
            )
    for phenomenon, plots in groupby(displays.orchards, key=lambda plot: plot.row.phenomenon):
        drawn = list(plots)
        panels = [
            (
                f"{label_in(results, phenomenon, plot.row.claim_name)}: {typeset(str(plot.row.claim))} {plot.row.claim.unit}",
                plot.drawing,
            )
            for plot in drawn
        ]
        heading = f"{drawn[0].row.about.title}: effects, cell by cell"
        families = markers.keys(drawn[0].families)
        yield f"orchard-{phenomenon}", svg.sheet(heading, orchard.NOTE, panels, keys=families)
    if displays.multiverses:
        panels = [
            (
                f"{of.row.about.title}, {label_in(results, of.row.phenomenon, of.row.claim_name)}",
                multiverse.strips(of),
            )
            for of in displays.multiverses
        ]
        note = f"{multiverse.NOTE} {multiverse.LIMITS}"
        yield (
            "multiverse",
            svg.sheet("Under other thresholds", note, panels, columns=3, keys=multiverse.keys()),
        )
