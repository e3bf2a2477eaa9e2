"""`universality data fetch`: bring data sets under the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.plugin import registry
from universality.plugin.kit.data import data_root


def fetch(tasks: Sequence[str], plugins: Sequence[str], given_root: str | None) -> int:
    """Download what the tasks need, then load each once, so that success means usable."""
    registry.load_plugins(Path(p) for p in plugins)
    root = data_root(given_root)
    wanted = [registry.resolve("task", address) for address in tasks]
    for task in wanted:
        task.fetch(root)
        signature = task.signature(root)
        print(f"{task.name}: {signature.train_rows} training rows under {root}")
    return 0
