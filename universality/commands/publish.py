"""`universality publish`: a result set in the small form that others read, on this disk or on a hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.sharing.publish import Published


def publish(name: Path, *, out: Path = Path("published"), plugins: Sequence[Path] = ()) -> Published:
    """Check a result set and write its published form, without runs and with the sources of plugins of your own. One that
    does not hold together is refused, and nothing is written.

    Args:
        name: a results folder, or its name in results/
        out: the folder of published sets: this one goes to OUT/NAME (default: published)

    Raises:
        StoreError: for a set that `universality check` finds fault with, a plugin whose source is not at hand, and a
            place that holds something else.

    Examples:
        universality publish results/mine --plugins my_plugins
        universality publish mine --out ../sets
    """
    from universality.sharing.publish import publish_set

    given = Path(name)
    folder = given if given.is_dir() else Path("results") / given
    return publish_set(folder if folder.is_dir() else given, Path(out), several(plugins))


def show(published: Published) -> int:
    from universality.text import memory, plain

    for note in published.notes:
        print(f"note     {plain(note, 400)}")
    print(f"{plain(published.folder, None)}: {len(published.files)} files, {memory(published.size)}")
    return 0
