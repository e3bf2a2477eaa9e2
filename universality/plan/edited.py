"""Stored runs that a plan cannot use, because a plugin was edited since they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from msgspec import UNSET

from universality.plan.plan import Job
from universality.plugin.sources import split_edition
from universality.plugin.spec import RunSpec
from universality.store.layout import SPEC
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile, read_record


def edited_plugins(missing: Sequence[Job], store: Store) -> list[str]:
    """A line for every plugin of the user's own whose edit leaves stored runs behind.

    Args:
        missing: jobs of which the store lacks something.
    """
    old: dict[str, list[RunSpec]] = {}
    for run_id in store.run_ids() if any(_depends(job) for job in missing) else ():
        if (spec := _spec(store, run_id)) is not None:
            old.setdefault(run_id.rpartition("-")[0], []).append(spec)
    counts: Counter[str] = Counter()
    for job in missing:
        sources = dict(job.spec.sources or ())
        for spec in old.get(job.spec.id.rpartition("-")[0], ()):
            if sources and spec != job.spec and _same_but_for_sources(spec, job.spec):
                before = dict(spec.sources or ())
                counts.update(name for name, sha256 in sources.items() if before.get(name) != sha256)
        counts.update(f"probe {address}" for address in _edited_probes(job, store))
    return [
        f"{name} was edited since {count} stored run{'s were' if count > 1 else ' was'} made: "
        f"{'they are' if count > 1 else 'it is'} trained again"
        for name, count in counts.items()
    ]


def _depends(job: Job) -> bool:
    return job.spec.sources is not UNSET or any(split_edition(probe)[1] for probe in job.observe)


def _same_but_for_sources(one: RunSpec, other: RunSpec) -> bool:
    return replace(one, sources=UNSET) == replace(other, sources=UNSET)


def _edited_probes(job: Job, store: Store) -> list[str]:
    """Addresses of probes that an earlier edition has recorded in a run, and the present one has not."""
    asked = dict(map(split_edition, job.observe))
    if not any(asked.values()):
        return []
    recordings = list(store.recordings(job.spec.id))
    here = {probe for recording in recordings for probe in recording.observed}
    earlier = {address for address, sha256 in map(split_edition, here)}
    return [a for a, sha256 in asked.items() if sha256 and a in earlier and f"{a}@{sha256}" not in here]


def _spec(store: Store, run_id: str) -> RunSpec | None:
    """Of a stored run; a damaged one is reported elsewhere."""
    path = store.layout.recording(run_id, 1) / SPEC
    try:
        return read_record(path, RunSpec)
    except UntrustedFile:
        return None
