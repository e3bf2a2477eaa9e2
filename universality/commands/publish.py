"""`universality publish`: a result set in the small form that others read, on this disk or on a hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.sharing.publish import Published


def publish(
    name: Path, *, out: Path = Path("published"), to: str | None = None, plugins: Sequence[Path] = ()
) -> Published:
    """Check a result set and write its published form, without runs and with the sources of plugins of your own; with --to
    upload it. One that does not hold together is refused, and nothing is written or uploaded.

    Args:
        name: a results folder, or its name in results/
        out: the folder of published sets: this one goes to OUT/NAME (default: published)
        to: upload it too, as the dataset hf:owner/name of the Hugging Face hub, in one commit

    Raises:
        BadParameter: for an address that is none.
        StoreError: for a set that `universality check` finds fault with, a plugin whose source is not at hand, a place that
            holds something else, and where no token is known or the hub refuses.

    Examples:
        universality publish results/mine --plugins my_plugins
        universality publish mine --out ../sets --to hf:me/mine
    """
    from universality.judge.resultset import ResultSet
    from universality.sharing import hub
    from universality.sharing.publish import publish_set

    address = None if to is None else hub.check_upload(to)
    given = Path(name)
    folder = given if given.is_dir() else Path("results") / given
    published = publish_set(folder if folder.is_dir() else given, Path(out), several(plugins))
    if address is None:
        return published
    card = hub.card_of(ResultSet.load(published.folder), address)
    return replace(published, url=hub.upload(published.folder, published.files, address, card))


def show(published: Published) -> int:
    from universality.text import memory, plain

    for note in published.notes:
        print(f"note     {plain(note, 400)}")
    print(f"{plain(published.folder, None)}: {len(published.files)} files, {memory(published.size)}")
    if published.url:
        print(f"uploaded: {plain(published.url)}")
    return 0
