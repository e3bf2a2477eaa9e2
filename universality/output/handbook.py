"""A page of each phenomenon in Markdown, from what it declares: nothing of it is written twice."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

from universality.plugin import registry
from universality.plugin.bounds import Most, bounds_text
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.claim import Claim
from universality.plugin.controls import Setting
from universality.plugin.loading import home
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.readings import Limit, Requirement
from universality.text import escaped, markdown_table

SCOPES = {
    "seed": "each seed",
    "pair": "each pair of seeds",
    "partner": "each other architecture at each seed",
}
INDEX = "README.md"


def write(folder: Path) -> list[Path]:
    """A page for each built-in phenomenon into `folder`, and an index; pages of what is no more are deleted."""
    texts = {INDEX: index()} | {f"{cls.name}.md": page(cls) for cls in _builtin()}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def index() -> str:
    """A table of the built-in phenomena, by strand."""
    by_strand = sorted(_builtin(), key=lambda cls: cls.strand)
    rows = [[cls.strand, f"{cls.name}.md", cls.title, cls.sense, ", ".join(cls.claims)] for cls in by_strand]
    table = markdown_table(["strand", "page", "phenomenon", "universal as a", "claims"], rows)
    for cls in by_strand:
        table = table.replace(f"| {escaped(f'{cls.name}.md')} |", f"| [{escaped(cls.name)}]({cls.name}.md) |")
    return (
        f"# Phenomena\n\nWritten by `universality list phenomena --write` from what each declares.\n\n{table}"
    )


def page(cls: type[Phenomenon]) -> str:
    """What is claimed of what, how it is judged, and on which controls it stands."""
    return "\n".join(_lines(cls)) + "\n"


def _builtin() -> list[type[Phenomenon]]:
    classes = [registry.plugin_class("phenomenon", name) for name in registry.names("phenomenon")]
    return [cls for cls in classes if home(cls) is None]


def _lines(cls: type[Phenomenon]) -> Iterator[str]:
    yield f"# {cls.title}"
    yield ""
    facts = f"`{cls.name}`, version {cls.version}; strand: {cls.strand}; universal as a {cls.sense}"
    yield f"{facts}. {escaped(cls.source)}."
    yield ""
    if cls.calibration:
        yield "A calibration: exact theory, which tests the build and the machine. Not counted as a universal behaviour."
        yield ""
    if cls.dispute:
        yield f"Disputed: {escaped(cls.dispute)}."
        yield ""
    text, parameters = _docstring(cls)
    yield text
    yield ""
    yield from _section("Claims", ["claim", "says", "bound", "effect", "measured at"], _claims(cls))
    requirements = [(r, "all") for r in cls.gates]
    requirements += [(r, name) for name, claim in cls.claims.items() for r in claim.gates]
    gates = [[r.name, _limits(r), claim] for r, claim in requirements]
    yield from _section("Gates: without them a run could not have shown it", ["gate", "needs", "of"], gates)
    criteria: dict[tuple[str, str], list[str]] = {}
    for name, claim in cls.claims.items():
        for r in claim.criteria:
            criteria.setdefault((r.name, _limits(r)), []).append(name)
    rows = [[*key, "all" if len(of) == len(cls.claims) else ", ".join(of)] for key, of in criteria.items()]
    yield from _section("Criteria beside the bound", ["criterion", "needs", "of"], rows)
    headers = ["control", "why", "architecture", "task", "other settings", "claims"]
    yield from _section("Controls", headers, [_control(cls, setting) for setting in cls.controls])
    drawn: dict[str, list[str]] = {}
    for name, claim in cls.claims.items():
        for chart in claim.charts:
            drawn.setdefault(_drawn(chart), []).append(name)
    yield from _section("Drawn", ["of", "as"], [[", ".join(names), text] for text, names in drawn.items()])
    if parameters:
        yield "## Parameters\n"
        yield from _items(parameters)
        yield ""


def _docstring(cls: type[Phenomenon]) -> tuple[str, str]:
    """What a phenomenon says of itself, and of its parameters, those of its bases first."""
    parts = [inspect.cleandoc(c.__doc__ or "").partition("\n\nArgs:\n") for c in cls.__mro__[:-2]]
    return parts[0][0], "\n".join(inspect.cleandoc(f"\n{args}") for _, _, args in reversed(parts) if args)


def _items(parameters: str) -> Iterator[str]:
    """A list of what a docstring says of each parameter; further lines of one are indented."""
    for line in parameters.splitlines():
        yield f"  {line.strip()}" if line.startswith(" ") else f"- {line}"


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"## {title}\n"
        yield markdown_table(headers, rows)


def _claims(cls: type[Phenomenon]) -> list[list[str]]:
    return [
        [name, claim.title, str(claim.bound), claim.bound.unit, _measured(claim)]
        for name, claim in cls.claims.items()
    ]


def _measured(claim: Claim) -> str:
    scope = "all seeds together" if claim.pooled else SCOPES[claim.runs.scope]
    return (
        f"{scope}, on the log scale"
        if claim.bound.scale == "log" and not isinstance(claim.bound, Most)
        else scope
    )


def _limits(requirement: Requirement) -> str:
    return " and ".join(
        bounds_text(limit, float("inf"))
        if sign == ">=" and isinstance(limit, float | int)
        else bounds_text(float("-inf"), limit)
        if isinstance(limit, float | int)
        else f"{sign} {_called(limit)}"
        for sign, limit in ((">=", requirement.at_least), ("<=", requirement.at_most))
        if limit is not None
    )


def _called(limit: Limit) -> str:
    return getattr(limit, "__name__", "a number of the cell").strip("<>")


def _control(cls: type[Phenomenon], setting: Setting) -> list[str]:
    architecture, task = cls.reference
    changes = [
        f"{key}={_called(value) if callable(value) else value}" for key, value in setting.changes.items()
    ]
    changes += [f"seeds={setting.seeds}"] if setting.seeds else []
    return [
        f"{setting.sign}: {setting.name}",
        setting.why,
        setting.architecture or architecture,
        setting.task or task,
        ", ".join(changes),
        "all" if setting.claims is None else ", ".join(setting.claims),
    ]


def _drawn(chart: Chart) -> str:
    match chart:
        case Lines():
            return f"{chart.label} over steps"
        case Curves():
            return f"{chart.y} against {chart.x}"
        case Dots():
            return f"{chart.y} against {chart.x}, on the line on which they agree"
        case Bars():
            return f"{chart.y} of {chart.x}"
        case Levels():
            return f"{chart.label} against its nulls"
        case Matrices():
            return f"{chart.label}, matrices of {chart.rows} and {chart.columns}"
