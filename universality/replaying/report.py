"""What stored trainings say of each claim."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from universality.errors import MeasurementError, unknown_name
from universality.judge.decide import CellVerdict
from universality.measures import debiased_cka
from universality.plugin.kit.similarity import nearest_in_common
from universality.plugin.outcome import Matrix
from universality.plugin.trajectory import Series
from universality.replaying.record import Observed
from universality.text import beside, bracket, number, plain, print_table

HEADERS = ("claim", "series", "verdict", "effect [95%]", "bound", "hold", "why")
LIMITS = (
    "Verdicts take three independent series and follow the rules of the benchmark, without its controls: those show that "
    "the measure works, in `universality run`."
)
MAX_WHY = 300


@dataclass(frozen=True, slots=True)
class ClaimFound:
    """One claim of one network.

    Args:
        network: its name, where there are several.
        address: `phenomenon.claim`.
        verdict: by the rules of the benchmark, with the record of every group.
        series: names of those that it was measured on.
    """

    network: str
    address: str
    title: str
    verdict: CellVerdict
    series: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        cell, bound = self.verdict, self.verdict.record.claim
        effect = "-" if cell.effect is None else beside(cell.effect, *bound.ends)
        interval = "" if cell.low is None else f" {bracket(cell.low, cell.high)}"
        name = f"{self.network}: {self.address}" if self.network else self.address
        held = f"{cell.holding} of {cell.decided}" if cell.decided else "-"
        return (
            name,
            str(len(self.series)),
            cell.verdict,
            effect + interval,
            str(bound),
            held,
            str(cell.reason),
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """What was found; its text is a table.

    Args:
        left_out: claims by address that these trainings cannot speak to, each with the reason.
        faults: sentences on what looks wrong with the files, though it was measured.
        displacement: |w - w0| / |w0| by series and step, of weights.
        notes: on rows, networks and steps.
        observed: what was recorded, by name of the series.
        probes: those that were asked for beside the claims'.
    """

    claims: tuple[ClaimFound, ...]
    left_out: Mapping[str, str]
    faults: tuple[str, ...]
    displacement: Mapping[str, Mapping[int, float]]
    notes: tuple[str, ...]
    observed: Mapping[str, Observed]
    probes: tuple[str, ...] = ()

    def __getitem__(self, address: str) -> ClaimFound:
        """The row of `phenomenon.claim`, or of `network: phenomenon.claim`. Raises `KeyError`."""
        return {row.cells[0]: row for row in self.claims}[address]

    def series(self, name: str, of: str) -> Series:
        """Steps and values of one number, such as `collapse.nc1`, of the series `name`.

        Raises:
            UnknownName: a series that is not there, or nothing of that name.
        """
        if name not in self.observed:
            raise unknown_name("series", name, self.observed)
        recorded = self.observed[name].recorded
        if of not in recorded:
            raise unknown_name("number", of, recorded, where=name)
        return recorded[of]

    def array(self, name: str, of: str, step: int) -> NDArray[Any]:
        """What a probe recorded of the series `name` that is no single number. Raises `KeyError`."""
        return self.observed[name].arrays[of, step]

    def similarity(
        self, first: str, second: str, *, tap: str = "penultimate", measure: Literal["cka", "knn"] = "cka"
    ) -> Matrix:
        """Of the representations of two series, or of one with itself, at every step at which both have some: debiased
        linear CKA, or the share of 10 nearest neighbours in common above chance. No claim bounds it.

        Needs the probe `taps` (`probes=["taps"]`). Cost: O(steps^2) comparisons.

        Raises:
            MeasurementError: no such representation was recorded, or one of them is dead.
        """
        between = {"cka": debiased_cka, "knn": nearest_in_common}[measure]
        name = f"taps.{tap}"
        found = []
        for series in (first, second):
            arrays = self.observed[series].arrays
            steps = sorted(step for key, step in arrays if key == name)
            if not steps:
                raise MeasurementError(
                    f"no representation {name} was recorded", where=series, do='replay(..., probes=["taps"])'
                )
            found.append({step: torch.from_numpy(arrays[name, step]).double() for step in steps})
        rows, columns = found
        values = tuple(tuple(float(between(x, y)) for y in columns.values()) for x in rows.values())
        return Matrix(tuple(map(str, rows)), tuple(map(str, columns)), values)

    def __str__(self) -> str:
        lines = [self._told(name) for name in self.observed]
        if self.faults:
            lines += ["", "Faults:", *(f"  {plain(fault, MAX_WHY)}" for fault in self.faults)]
        if numbers := self._numbers():
            lines += ["", "Numbers:", *numbers]
        if self.claims:
            table = io.StringIO()
            print_table(HEADERS, [row.cells for row in self.claims], table)
            lines += ["", table.getvalue().rstrip(), "", LIMITS]
        if self.left_out:
            lines += ["", "Not told by these trainings:"]
            ordered = sorted(self.left_out, key=self.left_out.__getitem__)
            for reason, same in groupby(ordered, self.left_out.get):
                lines.append(f"  {', '.join(self._together(list(same)))}: {plain(reason, MAX_WHY)}")
        if self.notes:
            lines += ["", "Notes:", *(f"  {plain(note, MAX_WHY)}" for note in self.notes)]
        return "\n".join(lines)

    def _together(self, claims: list[str]) -> list[str]:
        """The claims of a phenomenon under its name, where all of them are there."""
        every: dict[str, list[str]] = {}
        for address in (*self.left_out, *(row.cells[0] for row in self.claims)):
            every.setdefault(address.rpartition(".")[0], []).append(address)
        of = {name: [each for each in own if each in claims] for name, own in every.items()}
        names = [[name] if own == every[name] else own for name, own in of.items()]
        return sorted(each for own in names for each in own)

    def _numbers(self) -> list[str]:
        """The series of the probes that were asked for, from the first step to the last."""
        lines = []
        for name, seen in self.observed.items():
            for of, each in seen.recorded.items():
                if of.rpartition(".")[0] in self.probes:
                    lines.append(
                        f"  {name}: {of} {number(each.values[0])} at step {each.steps[0]}, "
                        f"{number(each.values[-1])} at step {each.steps[-1]}"
                    )
        return lines

    def _told(self, name: str) -> str:
        seen = self.observed[name]
        steps = list(seen.series.steps)
        moved = self.displacement.get(name, {})
        text = f"{name}: seed {seen.series.seed}, {len(steps)} steps from {steps[0]} to {steps[-1]}"
        if moved:
            text += f", weights moved by {number(moved[max(moved)])} of their first norm"
        return plain(text, MAX_WHY)
