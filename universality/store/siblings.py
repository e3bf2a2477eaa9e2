"""Runs that another result set of the same folder holds already: they are taken over and not trained again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from universality.errors import StoreError
from universality.store import layout
from universality.store.files import decode_json, storing
from universality.store.folder import entries_of
from universality.store.recording import Observed
from universality.store.store import Store

MACHINE = (
    "universality",
    "python",
    "torch",
    "numpy",
    "threads",
    "tf32",
    "deterministic",
    "platform",
    "cpu",
    "device",
    "accelerator",
)
"""Of a run's environment, what must be as it is here: a training of ours would have left the same bits."""


def take_over(wanted: Mapping[str, Observed], store: Store, here: Mapping[str, Any]) -> dict[str, int]:
    """Publish in `store` the wanted runs, by id, that sets beside it hold; how many of each set, by its name.

    Taken are intact recordings that have everything asked for and were made on a machine like `here`
    (`store.environment`). Files are linked, which takes no room, or copied where links are not possible. Sets that
    cannot be read are passed over.

    Cost: a listing of every set, and the hashes of what is taken.

    Raises:
        StoreError: where `store` cannot be written.
    """
    left, taken = dict(wanted), dict[str, int]()
    for other in _beside(store.layout.root) if left else ():
        held = set(other.run_ids())
        for run_id in [each for each in left if each in held]:
            found = other.trajectory(run_id, left[run_id])
            if found is not None and _made_like(found.folder, here):
                store.link(found)
                del left[run_id]
                name = other.layout.root.name
                taken[name] = taken.get(name, 0) + 1
    return taken


def _beside(root: Path) -> Iterator[Store]:
    with storing(root.parent):
        names = sorted(entry.name for entry in entries_of(root.parent) if entry.is_dir(follow_symlinks=False))
    for name in names:
        if name != root.name and (root.parent / name / "runs").is_dir():
            with contextlib.suppress(StoreError):
                yield Store.open(root.parent / name)


def _made_like(folder: Path, here: Mapping[str, Any]) -> bool:
    there = decode_json((folder / layout.ENVIRONMENT).read_bytes())
    return all(there.get(key) == here.get(key) for key in MACHINE)
