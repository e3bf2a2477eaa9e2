"""What others published against what we measure: a table, and dots on the line on which they agree."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.errors import BadParameter
from universality.judge.decide import CellVerdict, decided_groups
from universality.judge.resultset import ResultSet
from universality.judge.statistics import jackknife_interval
from universality.output import palette
from universality.output.figures import style
from universality.plugin import registry
from universality.plugin.registry import component
from universality.text import markdown_table, number, typeset, with_interval

TABLE = Path(__file__).with_name("published.toml")
FIGURE = "reproductions"


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that others published, or that theory gives, and where we measure it.

    Args:
        what: the quantity.
        value: theirs.
        setting: theirs, in a few words.
        claim: `phenomenon.claim`.
        architecture, task: addresses of the cell.
        control: the name of the control, where it is measured in one.
        detail: of the outcome, where it is not the effect; its mean over the seeds, as that of an effect.
        bound: they claim that the quantity is at most, or at least, their number; which, in words. No dot is drawn.
        fitted: how many numbers of ours were chosen to agree with theirs.
    """

    what: str
    value: float
    source: str
    setting: str
    claim: str
    architecture: str
    task: str
    control: str = ""
    detail: str = ""
    bound: Literal["", "at most", "at least"] = ""
    fitted: int = 0


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A published number with ours; no estimate where nothing was measured."""

    published: Published
    verdict: CellVerdict | None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def command(self) -> str:
        p = self.published
        # A control has settings of its own, and is planned beside every cell of its phenomenon.
        name = p.claim.partition(".")[0]
        phenomenon = self.verdict.record.variant if self.verdict and not p.control else name
        seeds = f" --seeds {self.seeds}" if self.seeds else ""
        parts = phenomenon, p.architecture, p.task
        return "universality run --phenomena '{}' --architectures '{}' --tasks '{}'".format(*parts) + seeds

    @property
    def seeds(self) -> int:
        """Of all groups, also those that are not decided."""
        return len({unit for g in self.verdict.record.groups for unit in g.units}) if self.verdict else 0

    @property
    def agrees(self) -> str:
        """Whether the published number lies in our interval, or within the bound that they claim."""
        theirs = self.published.value
        if self.low is None or self.high is None:
            return "-"
        inside = {"at most": self.high <= theirs, "at least": self.low >= theirs}
        return "yes" if inside.get(self.published.bound, self.low <= theirs <= self.high) else "no"


def published() -> tuple[Published, ...]:
    """What the table holds. Raises `msgspec.ValidationError` for an entry that is none."""
    rows: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["published"]
    return msgspec.convert(rows, tuple[Published, ...])


def reproductions(sets: Sequence[ResultSet]) -> list[Reproduction]:
    """For each published number ours, from the last of the sets that measured it."""
    verdicts = {_place(v): v for results in sets for v in results.verdicts}
    found = []
    for entry in published():
        architecture = component(registry.resolve("architecture", entry.architecture))
        task = component(registry.resolve("task", entry.task))
        place = entry.claim, str(architecture), str(task), entry.control
        found.append(_measured(entry, verdicts.get(place)))
    return found


def _place(v: CellVerdict) -> tuple[str, str, str, str]:
    control = v.record.control
    name = f"{v.record.phenomenon}.{v.record.claim_name}"
    return name, v.record.architecture, v.record.task, control.name if control else ""


def _measured(entry: Published, v: CellVerdict | None) -> Reproduction:
    if v is None or not entry.detail:
        return Reproduction(entry, v, *((v.effect, v.low, v.high) if v else ()))
    groups = [g for g in decided_groups(v.record) if g.outcome and entry.detail in g.outcome.details]
    values = [g.outcome.details[entry.detail] for g in groups if g.outcome]
    if not values:
        if v.decided:
            raise BadParameter(
                "a published number names a detail that no outcome has", where=entry.what, got=entry.detail
            )
        return Reproduction(entry, v)
    interval = jackknife_interval(values, [g.units for g in groups])
    return Reproduction(entry, v, interval.estimate, interval.low, interval.high)


def page(found: Sequence[Reproduction]) -> str:
    """Markdown: published, ours with its interval, both settings, the command."""
    rows = [_row(r) for r in found if r.verdict]
    waiting = "\n".join(
        f"- {r.published.what} ({r.published.source}): {place(r.published)}" for r in found if not r.verdict
    )
    headers = [
        "what",
        "published",
        "ours [95%]",
        "theirs within",
        "claimed here, verdict",
        "fitted",
        "their setting",
        "source",
        "our setting",
    ]
    commands = "\n".join(dict.fromkeys(f"    {r.command}" for r in found))
    return (
        "# Original against ours\n\n"
        "Numbers that others published, or that theory gives, beside those that this benchmark measures; written by "
        "`universality reproductions` from result sets. Intervals are over seeds. *Theirs within*: whether the published number "
        "lies in our interval; the verdict is by the bound of the claim, which is wider, since small networks and finite rates are "
        "not the limit that a theory speaks of. Most are positive controls of their phenomenon, in settings that pilots chose for what "
        "they are to show: they test this build, and no claim. *Fitted*: how many numbers of ours were chosen to agree with theirs.\n\n"
        f"{markdown_table(headers, rows)}\n"
        f"![ours over theirs, with intervals]({FIGURE}.svg)\n\n"
        f"Each is measured by the suites `strands` and `published`, or alone by one of\n\n{commands}\n"
        + (f"\nNot run yet:\n\n{waiting}\n" if waiting else "")
    )


def place(p: Published) -> str:
    """Where it is measured here."""
    return f"{p.architecture}, {p.task}" + (f", control '{p.control}'" if p.control else "")


def _row(r: Reproduction) -> list[str]:
    p, v = r.published, r.verdict
    ours = with_interval(r.estimate, r.low, r.high)
    few = f"{v.units} of " if v and v.units < r.seeds else ""
    seeds = f", {few}{r.seeds} seeds{' decided' if few else ''}" if v else ""
    verdict = "-"
    if v is not None:
        told = v.verdict if v.settled else f"{v.verdict}: {v.reason}"
        verdict = f"{v.record.claim}, {told}"
    return [
        p.what,
        f"{p.bound} {number(p.value)}".strip(),
        ours,
        r.agrees,
        verdict,
        str(p.fitted),
        p.setting,
        p.source,
        place(p) + seeds,
    ]


@style.LOOK
def figure(found: Sequence[Reproduction]) -> Figure:
    """Dots on the line on which both agree: ours over theirs, and ours less theirs where theirs is 0."""
    drawn = [r for r in found if r.estimate is not None and not r.published.bound]
    panels = [
        ("ours / theirs", 1.0, [r for r in drawn if r.published.value]),
        ("ours, where theirs is 0", 0.0, [r for r in drawn if not r.published.value]),
    ]
    panels = [panel for panel in panels if panel[2]]
    rows = [len(entries) for *_, entries in panels] or [0]
    result = Figure((8.0, 1.1 * len(rows) + 0.3 * sum(rows)), layout="constrained")
    grid = result.subplots(len(rows), height_ratios=[r + 1.5 for r in rows], squeeze=False)
    for axes, (title, line, entries) in zip(grid[:, 0], panels, strict=False):
        axes.axvline(line, color=palette.GREY, linestyle=(0, (4, 1.5)), linewidth=1)
        for row, r in enumerate(entries):
            _dot(axes, row, r)
        axes.set_yticks(range(len(entries)), [style.shown(r.published.what, 70) for r in entries])
        axes.set_ylim(len(entries) - 0.5, -0.5)
        axes.set_xlabel(typeset(f"{title}, 95% interval"))
    return result


def _dot(axes: Axes, row: int, r: Reproduction) -> None:
    theirs = r.published.value or 1.0
    if r.low is not None and r.high is not None:
        axes.plot(
            sorted((r.low / theirs, r.high / theirs)), [row, row], color=palette.CYCLE[0], linewidth=1.4
        )
    if r.estimate is not None:
        axes.plot([r.estimate / theirs], [row], "o", color=palette.CYCLE[0], markersize=4.5)
    where = axes.get_yaxis_transform()
    axes.text(1.02, row, f"{r.published.fitted} fitted", transform=where, va="center", fontsize=style.SMALL)


def write(sets: Sequence[ResultSet], path: Path) -> list[Path]:
    """The page at `path`, and the figure beside it."""
    found = reproductions(sets)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(found), encoding="utf-8")
    return [path, *style.save(figure(found), path.parent, FIGURE)]
