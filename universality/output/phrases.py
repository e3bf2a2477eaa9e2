"""What several tables and pages say alike: claims, shares, pooled effects, and what a set ran on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from universality.judge.answers import KNOWN, Answer, answers
from universality.judge.boundary import Boundary
from universality.judge.crossed import Pooled, Prevalence
from universality.judge.decide import VERDICTS, CellVerdict
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow, Joint, Tally
from universality.plugin.bounds import Bound
from universality.plugin.phenomenon import About
from universality.plugin.task import NOT_STATED
from universality.text import bracket, number, percent, telling_digits, typeset, with_interval

MAX_SECONDS = 1e9

SETS = ("Set", "Version", "Commit", "torch", "Device", "Cells and controls", "Time of all runs")


def claim_label(name: str, title: str) -> str:
    """A claim's title with its name beside it, where that is not a word of the title.

    >>> claim_label("gd", "gradient descent"), claim_label("adam", "Adam"), claim_label("gd", "gd")
    ('gradient descent (gd)', 'Adam', 'gd')
    """
    mentioned = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", title, re.IGNORECASE)
    return title if mentioned else f"{title} ({name})"


def phenomenon_text(about: About, phenomenon: str, variant: str) -> str:
    """A phenomenon's title, with the settings of its variant."""
    return f"{about.title or phenomenon} {variant.removeprefix(phenomenon)}".strip()


def label_in(results: ResultSet, phenomenon: str, name: str) -> str:
    """`claim_label` with the title that the plan of a result set has."""
    return claim_label(name, title_in(results, phenomenon, name))


def title_in(results: ResultSet, phenomenon: str, name: str) -> str:
    """The title of a claim that the plan of a result set has, or else its name."""
    return results.plan.phenomena[phenomenon].claims.get(name, name)


def tier_in(results: ResultSet, task: str) -> str:
    return results.plan.tiers.get(task, NOT_STATED)


def probe_share(results: ResultSet) -> str:
    """Of the time of all runs, what probes took; empty for what no run can have taken."""
    probes, total = results.plan.probe_seconds, results.plan.run_seconds
    return f"{probes / total:.0%}" if 0 <= probes <= total < MAX_SECONDS and total > 0 else ""


def effect_text(v: CellVerdict, digits: int = 3) -> str:
    """The effect, on its own side of the claim's bounds, or the bound that it lies above, if any is known."""
    if v.effect is not None:
        return typeset(number(v.effect, telling_digits(v.effect, v.record.claim.ends, digits)))
    return f">{typeset(number(v.low, digits))}" if v.decided and v.low is not None and v.low > 0 else ""


def controls_text(validated: bool, failures: Iterable[str] = ()) -> str:
    return "validated" if validated else ": ".join(filter(None, ("unvalidated", "; ".join(failures))))


def claim_text(name: str, title: str, claim: Bound) -> str:
    """A claim with its bounds and their unit."""
    unit = f" ({claim.unit})" if claim.unit else ""
    return f"{claim_label(name, title)}: {claim}{unit}"


def source_text(about: About) -> str:
    """Where a phenomenon is from, and what is disputed of it."""
    return "; ".join(filter(None, (about.source, about.dispute and f"disputed: {about.dispute}")))


def distrust(rows: Iterable[ClaimRow], label: str = "") -> str:
    """The line above every table of a set in which a calibration fails; empty where none does."""
    failed = [
        f"{row.about.title}, {claim_label(row.claim_name, row.title)}: {'; '.join(row.failed_controls)}"
        for row in rows
        if row.distrusted
    ]
    of = f" of {label}" if label else ""
    return (
        f"Do not trust the build or the machine{of}, exact theory fails: {'. '.join(failed)}"
        if failed
        else ""
    )


def unfinished(results: ResultSet) -> str:
    """The line above every table of a set that is still trained; empty where every run was tried."""
    plan = results.plan
    return (
        f"Not finished: {plan.untrained:,} of {len(plan.runs):,} runs are still to be trained, and cells that lack theirs "
        "are not decided"
        if plan.untrained
        else ""
    )


def answer_line(phenomenon: str, row: Tally, answer: Answer) -> str:
    """Of one claim; `phenomenon` is its title."""
    return f"{phenomenon}, {claim_label(row.claim_name, row.title)}: {answer}"


def answer_lines(results: ResultSet) -> list[str]:
    """Claims of which something is known, each in a sentence, and how many are left."""
    found = answers(results)
    known = [answer_line(row.about.title, row, answer) for row, answer in found if answer.kind in KNOWN]
    left = Counter(answer.kind for _, answer in found if answer.kind not in KNOWN)
    counts = [f"{kind}: {count} {'claim' if count == 1 else 'claims'}" for kind, count in left.items()]
    return [*known, "; ".join(counts)] if counts else known


def boundary_text(results: ResultSet, end: Boundary, beside: str) -> str:
    """Where a claim ends along one parameter; `beside` says what is fixed."""
    title = results.plan.phenomena[end.phenomenon].title
    return f"{title}, {label_in(results, end.phenomenon, end.claim_name)}, {end.parameter} {beside}: {end}"


def confirmed_texts(row: ClaimRow) -> tuple[str, ...]:
    """Cells present and absent, each with how many survive Holm's correction: `8 (-)` where none could."""
    confirmed = ("-" if row.confirmed[v] is None else row.confirmed[v] for v in VERDICTS[:2])
    return tuple(f"{row.counts[v]} ({n})" for v, n in zip(VERDICTS[:2], confirmed, strict=True))


def joint_text(joint: Joint | None) -> str:
    """All groups of a claim together: `40/40 (0.0039)`, `6/6 (-)` where no p could be small enough."""
    if joint is None:
        return "-"
    return f"{joint.holding}/{joint.decided} ({'-' if joint.p_holm is None else number(joint.p_holm, 2)})"


def moved_lines(rows: Iterable[ClaimRow]) -> list[str]:
    """For each claim with a measured cell, what its cells would be under other bounds."""
    return [
        f"{row.about.title}, {claim_label(row.claim_name, row.title)}, {row.claim}: {'; '.join(map(str, row.moved))}"
        for row in rows
        if row.joint and row.moved
    ]


def share_text(share: Prevalence | None) -> str:
    """A prevalence with its interval: `67% [4%, 100%]`."""
    return f"{percent(share.estimate)} [{percent(share.low)}, {percent(share.high)}]" if share else "-"


def pooled_texts(pooled: Pooled | None) -> tuple[str, str]:
    """The pooled effect with its interval, and where a further cell is expected."""
    if pooled is None:
        return "-", "-"
    further = bracket(pooled.prediction_low, pooled.prediction_high)
    return with_interval(pooled.estimate, pooled.low, pooled.high), further or "-"


def set_line(results: ResultSet) -> tuple[str, ...]:
    """What a result set is and ran on, under `SETS`."""
    about = results.plan.environment
    device = about.get("accelerator") or f"{about.get('device') or '?'}, {about.get('cpu') or '?'}"
    seconds = results.plan.run_seconds
    return (
        results.label,
        str(about.get("universality") or "?"),
        short_commit(str(about.get("commit") or "?")),
        str(about.get("torch") or "?"),
        str(device),
        str(len(results.records)),
        f"{seconds / 60:.0f} min" if seconds > 0 else "?",
    )


def short_commit(commit: str, digits: int = 12) -> str:
    """The first digits, and whether the tree had changes beside.

    >>> short_commit("16d81920672d4e8f+changes")
    '16d81920672d+changes'
    """
    return f"{commit[:digits]}{'+changes' if commit.endswith('+changes') else ''}"


def set_record(results: ResultSet) -> dict[str, Any]:
    """What a result set is and ran on, for programs."""
    plan = results.plan
    return {
        "label": results.label,
        "cells": len(results.records),
        "environment": dict(plan.environment),
        "run_seconds": plan.run_seconds,
    }
