"""`universality report`: tables, figures and the page of a results folder, written anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from universality.output.build import Summary


def report(folder: Path) -> Summary:
    """Write tables, figures and the page of a results folder anew, from its measurements.

    Args:
        folder: a results folder

    Raises:
        StoreError: where it holds no measurements, or cannot be written.
    """
    from universality.audit.loose_files import unused_damage, warning
    from universality.output.build import rebuild
    from universality.store.store import Store

    store = Store.open(Path(folder), writable=True)
    damaged = unused_damage(store.layout)  # before evidence.csv is written anew
    summary = rebuild(store)
    for damage in damaged:
        mended = " (written anew)" if damage.path == store.layout.evidence.name else ""
        print(f"{warning(store.layout, damage)}{mended}", file=sys.stderr)
    return summary


def show(summary: Summary) -> int:
    from universality.output.build import print_summary

    print_summary(summary)
    return 0
