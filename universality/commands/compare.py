"""`universality compare`: two result sets side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from universality.judge.compare import Comparison


def compare(
    first: Path, second: Path, *, out: Path | None = None, allow_versions: bool = False
) -> Comparison:
    """Two result sets cell by cell: which verdicts contradict each other, which effects changed. Exits with 1 where
    they differ by more than chance does to a faithful replication.

    Args:
        first: a results folder, before; or hf:owner/name, a set on the Hugging Face hub
        second: a results folder, after; or hf:owner/name
        out: write comparison.md, comparison.json and comparison.html into this folder, and comparison.svg where
            both measured one number
        allow_versions: join cells that different claims or versions judged

    Raises:
        StoreError: where a set cannot be used or fetched, they have no cell in common, or other claims judged them.

    Examples:
        universality compare results/quick-cpu results/quick --out comparison
        universality compare hf:owner/name results/quick
    """
    from universality.audit.loose_files import unused_damage, warning
    from universality.judge import compare as judging
    from universality.judge.resultset import ResultSet, labels
    from universality.output.compare import write
    from universality.sharing.hub import local
    from universality.text import plain

    folders = [local(first), local(second)]
    names = labels(folders)
    if names[0] == names[1]:
        names = ["A", "B"]
    sets = [ResultSet.load(folder, name) for folder, name in zip(folders, names, strict=True)]
    comparison = judging.compare(*sets, allow_versions=allow_versions)
    for results in sets:
        for damage in unused_damage(results.layout):
            print(warning(results.layout, damage), file=sys.stderr)
    for path in write(comparison, Path(out)) if out is not None else ():
        print(f"written: {plain(path, None)}", file=sys.stderr)
    return comparison


def show(comparison: Comparison) -> int:
    from universality.output.compare import print_comparison

    print_comparison(comparison)
    return 1 if comparison.differs else 0
