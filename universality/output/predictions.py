"""Theories beside what was measured: in the terminal, in Markdown and on pages."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Any

import msgspec

from universality.judge.predictions import Theory, mean_score
from universality.output.sections import Section, markdown_sections
from universality.text import number

HEADERS = ("Theory", "Claim", "Scored", "Hits", "Hits expected", "Mean interval score", "Source", "SHA-256")
DETAILS = ("Theory", "Claim", "Network", "Task", "Predicted", "Measured", "Interval score")
NOTE = (
    "Interval score of a locked prediction: width of its interval, and 2/(1 - level) times how far the measured effect lies "
    "outside (Gneiting and Raftery 2007). Smaller is better; compare theories over the same cells only. "
    "SHA-256: the first digits of that of the locked file, to be compared with what its author announced before the runs: the "
    "file alone cannot show when it was written."
)


def markdown(theories: Sequence[Theory]) -> str:
    """Everything that is known of theories, in GitHub's Markdown; empty for none."""
    found = markdown_sections(sections(theories, details=True))
    return "\n".join(["# Predictions\n", *found, f"{NOTE}\n"]) if found else ""


def records(theories: Sequence[Theory]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "theory": each.name,
            "refused": each.refused,
            "file": msgspec.to_builtins(each.file) if each.file else None,
            "scored": [
                {
                    "set": s.label,
                    "seen": s.seen,
                    "at_least": s.at_least,
                    "score": s.score,
                    "hit": s.hit,
                    "why": s.why,
                }
                for s in each.scored
            ],
        }
        for each in theories
    ]


def sections(theories: Sequence[Theory], *, details: bool = False) -> list[Section]:
    """A line for each theory and claim; with `details` one for each prediction; what was not scored, and why."""
    rows, told, lost = [], [], []
    for theory in theories:
        if theory.refused or theory.file is None:
            lost.append((theory.name, "all of it", theory.refused))
            continue
        for (phenomenon, claim), scored in theory.claims.items():
            levels = fsum(each.prediction.level for each in scored)
            unit = scored[0].prediction.bound.unit
            rows.append((
                theory.name, f"{phenomenon}:{claim}", str(len(scored)), str(sum(each.hit for each in scored)),
                number(levels), f"{number(mean_score(scored))} {unit}".strip(),
                f"{theory.file.source}, locked {theory.file.locked[:10]}",
                theory.file.short_sha256,
            ))  # fmt: skip
        for each in theory.scored:
            p = each.prediction
            seen = f"{'> ' if each.at_least else ''}{number(each.seen)}"
            interval = f"{number(p.value)} [{number(p.low)}, {number(p.high)}] at {p.level:.3g}"
            if each.why:
                lost.append((theory.name, f"{p.phenomenon}:{p.claim}, {p.network}, {p.task}", each.why))
            elif details:
                told.append((
                    theory.name, f"{p.phenomenon}:{p.claim}", p.network, p.task, interval, seen,
                    number(each.score),
                ))  # fmt: skip
    return [
        Section("Locked predictions", HEADERS, rows),
        Section("Predictions, cell by cell", DETAILS, told),
        Section("Predictions that were not scored", ("Theory", "Prediction", "Why"), lost),
    ]
