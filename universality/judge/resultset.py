"""A result set, read without trusting it: what was asked and measured. Every output is a function of it.

No link is followed, no name in a file becomes a path before it was checked, and verdicts are decided anew
from the measurements, whatever the tables say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from universality.errors import StoreError, UniversalityError
from universality.judge.boundary import Boundary, boundaries
from universality.judge.controls import claim_of, judge
from universality.judge.decide import CellVerdict
from universality.judge.phases import Phase, phases
from universality.judge.summary import ClaimRow, summarise
from universality.plan.plan_json import PlanRecord
from universality.store import measurements
from universality.store.cells import CellRecord
from universality.store.files import encode_record
from universality.store.folder import Manifest, refuse_links
from universality.store.layout import Layout
from universality.store.untrusted import (
    OtherSchema,
    UntrustedFile,
    check_schema,
    check_written,
    converted,
    parse,
    read_bytes,
)
from universality.text import short


@dataclass(frozen=True)
class ResultSet:
    """What was asked, measured and concluded.

    Args:
        label: its name among others.
        records: the measurements, in the order of the plan.
    """

    layout: Layout
    label: str
    manifest: Manifest
    plan: PlanRecord
    records: tuple[CellRecord, ...]

    @classmethod
    def load(cls, root: Path, label: str = "") -> Self:
        """The result set in `root`. Reads its plan and the measurements that the plan names, nothing else.

        Raises:
            StoreError: where one of them cannot be used; without it a table would look better than it is,
                since a lost control voids nothing.
        """
        layout = Layout(Path(root))
        refuse_links(layout)
        name = layout.manifest.name
        try:
            manifest = read_manifest(layout)
            name = layout.plan.name
            plan = PlanRecord.read(layout.plan)
            if not plan.cells:
                raise UntrustedFile("names no measurement: nothing has been measured here yet")
            name = layout.measurements.name
            records = _named(layout, plan)
        except OtherSchema as problem:
            raise StoreError(
                "a result set of another version",
                where=str(root),
                got=f"{name} {problem.what}",
                do=problem.do,
            ) from None
        except UntrustedFile as problem:
            again = (
                f"run the same `universality run` again; `universality check {root}` lists all that is wrong"
            )
            do, got = again if layout.manifest.exists() else "check the path", f"{name} {problem}"
            raise StoreError("a result set cannot be used", where=str(root), got=got, do=do) from None
        return cls(layout, label or plan.suite, manifest, plan, tuple(records))

    @cached_property
    def verdicts(self) -> tuple[CellVerdict, ...]:
        """Raises `StoreError` for numbers from which none can be formed."""
        try:
            calibrations = [name for name, about in self.plan.phenomena.items() if about.calibration]
            return tuple(judge(self.records, calibrations))
        except UniversalityError:
            raise
        except (ArithmeticError, ValueError, TypeError) as error:
            raise StoreError(
                "no verdict can be formed from these measurements",
                got=f"{type(error).__name__}: {short(str(error), 120)}",
            ) from error

    @cached_property
    def by_claim(self) -> Mapping[tuple[str, str], Sequence[CellVerdict]]:
        """The verdicts of each claim, of cells and controls, by phenomenon and name."""
        claims: dict[tuple[str, str], list[CellVerdict]] = {}
        for verdict in self.verdicts:
            claims.setdefault(claim_of(verdict), []).append(verdict)
        return claims

    @cached_property
    def rows(self) -> tuple[ClaimRow, ...]:
        return tuple(summarise(self.verdicts, self.plan.phenomena))

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        return tuple(boundaries(self.verdicts, self.plan))

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(phases(self.verdicts, self.plan))


def _named(layout: Layout, plan: PlanRecord) -> list[CellRecord]:
    """The measurements that a plan names, in its order. Raises `UntrustedFile`."""
    records = {record.id: record for record in measurements.read(layout.measurements)}
    for measurement_id in plan.cells:
        if measurement_id not in records:
            raise UntrustedFile(f"lacks {measurement_id}, which the plan names")
        if (of := records[measurement_id].phenomenon) not in plan.phenomena:
            raise UntrustedFile(f"holds {measurement_id}, of {of!r}, of which the plan says nothing")
    return [records[measurement_id] for measurement_id in plan.cells]


def read_manifest(layout: Layout) -> Manifest:
    """Raises `UntrustedFile`, for another schema with what to do about it."""
    data = read_bytes(layout.manifest)
    raw = parse(data)
    check_schema(raw)
    manifest = converted(raw, Manifest)
    check_written(data, map(encode_record, [manifest]))
    return manifest


def find(places: Sequence[Path]) -> list[Path]:
    """The result sets among `places` and, where a place is none itself, in the folders below it.

    Raises `StoreError` where there is none.
    """
    sets: dict[Path, Path] = {}
    for place in places:
        inside = [place]
        if not Layout(place).manifest.exists():
            inside = sorted(p.parent for p in place.glob(f"*/{Layout(place).manifest.name}"))
        if not inside:
            raise StoreError(
                "no result set is here",
                where=str(place),
                expected="a folder made by `universality run`, or a folder of such folders",
                do="check the path",
            )
        for path in inside:
            sets.setdefault(path.resolve(), path)
    return list(sets.values())


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each set: its folder's, or the path where two share one."""
    names = [path.resolve().name for path in paths]
    return [n if names.count(n) == 1 else str(p) for n, p in zip(names, paths, strict=True)]
