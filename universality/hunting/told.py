"""What a hunt found, for people."""

from __future__ import annotations

from collections import Counter

from universality.hunting.hunt import ALPHA, FRESH, REPLICATES, Hunted
from universality.judge.decide import MEASURED, VERDICTS
from universality.judge.predictions import measured_question
from universality.judge.resultset import ResultSet
from universality.output.phrases import effect_text
from universality.output.sections import Section, markdown_sections
from universality.store.files import replace_file
from universality.text import clock, escaped, number

HEADERS = ("Network", "Task", "Options", "Not ordinary", "Effect", "Again", "p", "Why")


def sections(hunted: Hunted) -> list[Section]:
    """The counterexamples, the most ordinary first; of a dry run what would be searched."""
    rows = [
        (
            each.setting.network, each.setting.task, each.setting.phenomenon, _changes(each.setting.changes),
            effect_text(each.first), effect_text(each.again), number(each.again.p), str(each.again.reason),
        )
        for each in hunted.findings
    ]  # fmt: skip
    planned = [] if hunted.search else hunted.searched
    return [
        Section(f"Counterexamples to {hunted.quarry.phenomenon}:{hunted.quarry.claim}", HEADERS, rows),
        Section("To be searched", HEADERS[:4], [
            (each.network, each.task, each.phenomenon, _changes(each.changes)) for each in planned
        ]),
    ]  # fmt: skip


def lines(hunted: Hunted) -> list[str]:
    """How they were found, in sentences, how long that took, and where the results are."""
    if hunted.search is None:
        return [f"{len(hunted.searched)} settings would be searched, over {hunted.quarry.seeds} seeds each"]
    took = f"took {clock(hunted.seconds)} of a budget of {clock(hunted.budget)}"
    if hunted.unbegun:
        took += f"; {hunted.unbegun} further settings were not begun: the machine was slower than was forecast, and they would not have ended in time"
    sets = ", ".join(str(each.layout.root) for each in (hunted.search, hunted.again) if each)
    return [
        *_outcome(hunted, hunted.search),
        took,
        f"result sets: {sets}; the same command goes on with further settings",
    ]


def _outcome(hunted: Hunted, search: ResultSet) -> list[str]:
    searched, about = len(hunted.searched), f"{hunted.quarry.phenomenon}:{hunted.quarry.claim}"
    ordinary = sum(not each.changes for each in hunted.searched)
    asked = {(p, hunted.quarry.claim, n, t) for p, n, t in (each.addresses for each in hunted.searched)}
    verdicts = [v for v in search.verdicts if v.record.control is None and measured_question(v) in asked]
    counts = Counter(v.verdict for v in verdicts)
    told = [
        f"{searched} settings searched, {ordinary} of them ordinary (registry defaults, or as in a built-in suite): "
        + (", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) or "no verdict"),
    ]
    if hunted.absent:
        told.append(
            f"{len(hunted.replicated)} of {len(hunted.absent)} absences replicated, over {REPLICATES} seeds from {FRESH} on; "
            f"{len(hunted.findings)} confirmed. That any of them is chance has a probability below {ALPHA:.0%}"
        )
    if counts["invalid"]:
        told.append("invalid: a control came out wrong here, so that nothing can be told of the claim")
    if not any(counts[name] for name in MEASURED):
        told.append(
            f"nothing was measured of {about}: this search says neither that it holds nor that it fails"
        )
    elif not hunted.findings:
        told.append(f"no counterexample to {about} was found; that is no proof that there is none")
    return told


def write(hunted: Hunted) -> None:
    """counterexamples.md in the report of the search."""
    assert hunted.search is not None
    text = "\n".join(
        [
            "# Counterexamples\n",
            *markdown_sections(sections(hunted)),
            *(f"- {escaped(line, 1000)}" for line in _outcome(hunted, hunted.search)),
            "",
        ]
    )
    replace_file(hunted.search.layout.report / "counterexamples.md", text.encode(errors="backslashreplace"))


def _changes(changes: tuple[str, ...]) -> str:
    return ", ".join(changes) or "nothing"
