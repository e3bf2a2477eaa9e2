"""`universality reproductions`: what others published against what result sets measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.commands.cli import several


def reproductions(
    places: Sequence[Path] = (Path("results"),), *, write: Path = Path("docs/reproductions.md")
) -> list[str]:
    """Published numbers beside those of result sets, as a Markdown page with a figure.

    Args:
        places: result sets, or folders of them (default: results)
        write: the page; its figure goes beside it

    Returns:
        Lines of text.

    Raises:
        StoreError: for a set that cannot be used.

    Examples:
        universality reproductions results --write docs/reproductions.md
    """
    from universality.judge.resultset import ResultSet, find
    from universality.output import reproductions as output
    from universality.plugin import registry

    registry.load_plugins()
    sets = [ResultSet.load(path) for path in find(list(map(Path, several(places))))]
    return [f"written: {path}" for path in output.write(sets, Path(write))]
