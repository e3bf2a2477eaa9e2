"""Which code made a set: what its plan says agrees with its runs, and what is at hand is compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import UNSET

from universality.audit.findings import Audit
from universality.plan.plan_json import PlanRecord
from universality.plan.runs_file import PlannedRun
from universality.plugin.loading import Home
from universality.plugin.sources import PluginSource, files_of, source_at, split_edition
from universality.store.layout import Layout
from universality.store.untrusted import UntrustedFile, read_bytes
from universality.text import short

MAX_SOURCE = 1 << 20
"""Bytes of a source that is parsed."""


def check_sources(audit: Audit, layout: Layout, plan: PlanRecord, folders: Sequence[Path]) -> None:
    """Files are hashed, none is executed. That code has changed since is a note: the set may be right all the same.
    Sources that the set carries itself must be those that made it.

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
    carried = layout.plugins.is_dir()
    if carried:
        _check_carried(audit, layout, plan)
    edited, absent = [], []
    for kind, group in known.items():
        for name, about in group.items():
            shown = f"{short(kind, 40)} {short(name, 120)} ({short(about.file, 120)})"
            here = source_at(about, folders)
            if here is None and not (carried and not about.builtin):
                absent.append(shown)
            elif here is not None and here.sha256 != about.sha256:
                edited.append(shown)
    if edited:
        audit.note(f"another source at hand than that which made this set: {', '.join(edited)}")
    if absent:
        audit.note(f"made by a source that is not at hand (--plugins): {', '.join(absent)}")


def own_sources(plan: PlanRecord) -> list[PluginSource]:
    """Which code the plugins are that do not belong to the package, each once."""
    known = {} if plan.sources is UNSET else plan.sources
    found = (about for group in known.values() for about in group.values() if not about.builtin)
    return list(dict.fromkeys(found))


def _check_carried(audit: Audit, layout: Layout, plan: PlanRecord) -> None:
    """The files in `plugins/` are the sources that the plan names, and no others."""
    folder, needed = layout.plugins, set[Path]()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    for path in files:
        with audit.refusals(path.relative_to(layout.root).as_posix()):
            if b"\0" in read_bytes(path, MAX_SOURCE):
                raise UntrustedFile("is no text")
    if audit.problems:
        return  # nothing that is damaged is parsed
    for about in own_sources(plan):
        where = f"{folder.name}/{short(about.file, 120)}"
        try:
            here = source_at(about, [folder])
            needed |= set() if here is None else files_of(Home(folder / about.file, folder), Path.read_bytes)
        except (RecursionError, MemoryError, OSError) as error:
            audit.problem(where, f"cannot be parsed: {type(error).__name__}")
            continue
        if here is None:
            audit.problem(where, "is missing; the plan names it, and other sources are here")
        elif here.sha256 != about.sha256:
            audit.problem(where, "is not the source that made this set, by the hash in its plan")
    for path in files:
        if path not in needed:
            audit.problem(
                path.relative_to(layout.root).as_posix(), "is a source that no plugin of this set uses"
            )
    audit.counts["sources"] += len(files)


def _named(run: PlannedRun) -> Iterator[tuple[str, str]]:
    """What a run says of the user's own plugins: the name, and the digest or its first digits."""
    yield from run.spec.sources or ()
    for address, digits in map(split_edition, run.observe):
        if digits:
            yield f"probe {address.partition('[')[0]}", digits
