"""Every display of a result set, made once for its page and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from universality.judge.gaps import GapMap, gap_maps
from universality.judge.ideogram import Ideogram
from universality.judge.multiverse import Multiverse, multiverses
from universality.judge.resultset import ResultSet
from universality.output.displays import gaps, ideogram, markers, multiverse, orchard, svg, sweeps, theory
from universality.output.displays.orchard import Orchard, orchards
from universality.output.displays.svg import Drawing
from universality.output.displays.theory import TheoryLine, theory_lines
from universality.output.phrases import claim_label, label_in
from universality.text import typeset


@dataclass(frozen=True)
class Displays:
    """Each empty where the set has nothing for it."""

    maps: tuple[GapMap, ...]
    theory: tuple[TheoryLine, ...]
    orchards: tuple[Orchard, ...]
    multiverses: tuple[Multiverse, ...]

    @classmethod
    def of(cls, results: ResultSet) -> Self:
        """Cost: that of `multiverses`, some seconds for thousands of measured cells."""
        return cls(
            tuple(gap_maps(results)),
            tuple(theory_lines(results)),
            tuple(orchards(results)),
            tuple(multiverses(results)),
        )


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
    for phenomenon, lines in groupby(displays.theory, key=lambda of: of.row.phenomenon):
        of = list(lines)
        panels = [(label_in(results, phenomenon, line.row.claim_name), line.drawing) for line in of]
        heading = f"{of[0].row.about.title}: theory and measurement"
        yield f"theory-{phenomenon}", svg.sheet(heading, theory.NOTE, panels, columns=3, keys=family_keys(of))
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
        yield f"orchard-{phenomenon}", svg.sheet(heading, orchard.NOTE, panels, keys=family_keys(drawn))
    swept = sweep_panels(results)
    if swept:
        yield "sweeps", svg.sheet("Where claims end", sweeps.NOTE, swept, columns=3)
    if displays.multiverses:
        panels = [
            (_claim(results, of.row.phenomenon, of.row.claim_name), multiverse.with_reach(of))
            for of in displays.multiverses
        ]
        note = f"{multiverse.NOTE} {multiverse.LIMITS}"
        yield (
            "multiverse",
            svg.sheet("Under other thresholds", note, panels, columns=3, keys=multiverse.keys()),
        )


def family_keys(plots: Sequence[TheoryLine | Orchard]) -> list[tuple[Drawing, str]]:
    """The marker of each family that any of them draws, and its name."""
    drawn = frozenset[str]().union(*(plot.drawn for plot in plots))
    return markers.keys(plots[0].families, drawn) if plots else []


def sweep_panels(results: ResultSet) -> list[tuple[str, Drawing]]:
    """Maps of two parameters first, then of one: those in which a verdict changes."""
    panels = [
        (f"{_claim(results, of.phenomenon, of.claim_name)}; {of.beside}", sweeps.phase_map(of))
        for of in results.phases
    ]
    changing = [of for of in results.boundaries if of.changes]
    alike = Counter((of.phenomenon, of.claim_name, of.parameter, of.place) for of in changing)
    for of in changing:
        if drawing := sweeps.course(of):
            # Of several that differ in what else is fixed, each says all that is.
            one = alike[of.phenomenon, of.claim_name, of.parameter, of.place] == 1
            where = of.place if one else f"{of.example}, {of.beside}"
            panels.append((f"{_claim(results, of.phenomenon, of.claim_name)}; {where}", drawing))
    return panels


def _claim(results: ResultSet, phenomenon: str, name: str) -> str:
    return f"{results.plan.phenomena[phenomenon].title}, {label_in(results, phenomenon, name)}"


def ideogram_panels(found: Sequence[Ideogram]) -> list[tuple[str, Drawing]]:
    """Claims of which several sets measured the number."""
    return [
        (
            f"{of.row.about.title}, {claim_label(of.row.claim_name, of.row.title)} {typeset(str(of.row.claim))}",
            ideogram.ideogram(of),
        )
        for of in found
    ]


def ideogram_file(panels: Sequence[tuple[str, Drawing]]) -> str:
    """The SVG of `ideogram_panels`."""
    return svg.sheet("Sets side by side", ideogram.NOTE, panels, columns=3)
