"""`universality data fetch`: bring data sets under the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.commands.cli import several


def fetch(task: Sequence[str], *, plugins: Sequence[Path] = (), data_root: Path | None = None) -> list[str]:
    """Download what tasks need, then load each once, so that success means usable.

    Args:
        task: e.g. mnist or 'hub_text[dataset=ag_news]'

    Returns:
        A line for each task.

    Examples:
        universality data fetch mnist cifar10
    """
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved

    registry.load_plugins(map(Path, several(plugins)))
    root = resolved(data_root)
    lines = []
    for each in [registry.resolve("task", address) for address in several(task)]:
        each.fetch(root)
        lines.append(f"{each.name}: {each.signature(root).train_rows} training rows under {root}")
    return lines
