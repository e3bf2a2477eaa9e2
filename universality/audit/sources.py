"""Which code made a set: what its plan says agrees with its runs, and what is at hand is compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import UNSET

from universality.audit.findings import Audit
from universality.plan.plan_json import PlanRecord
from universality.plan.runs_file import PlannedRun
from universality.plugin.sources import source_at, split_edition
from universality.store.layout import Layout
from universality.text import short


def check_sources(audit: Audit, layout: Layout, plan: PlanRecord, folders: Sequence[Path]) -> None:
    """Files are hashed, none is executed. That code has changed since is a note: the set may be right all the same.

    Args:
        folders: of the user's own plugins.
    """
    known = {} if plan.sources is UNSET else plan.sources
    digests = {
        f"{kind} {name}": about.sha256 for kind, group in known.items() for name, about in group.items()
    }
    for run_id, run in plan.runs.items():
        for name, sha256 in _named(run):
            if not sha256 or not digests.get(name, "").startswith(sha256):
                text = f"does not say that {short(name, 120)} is the one of {short(run_id, 120)}"
                audit.problem(layout.plan.name, text)
    edited, absent = [], []
    for kind, group in known.items():
        for name, about in group.items():
            shown = f"{short(kind, 40)} {short(name, 120)} ({short(about.file, 120)})"
            here = source_at(about, folders)
            if here is None:
                absent.append(shown)
            elif here.sha256 != about.sha256:
                edited.append(shown)
    if edited:
        audit.note(f"another source at hand than that which made this set: {', '.join(edited)}")
    if absent:
        audit.note(f"made by a source that is not at hand (--plugins): {', '.join(absent)}")


def _named(run: PlannedRun) -> Iterator[tuple[str, str]]:
    """What a run says of the user's own plugins: the name, and the digest or its first digits."""
    yield from run.spec.sources or ()
    for address, digits in map(split_edition, run.observe):
        if digits:
            yield f"probe {address.partition('[')[0]}", digits
