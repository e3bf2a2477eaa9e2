"""Where small pages lead: to the page of each set that they are about."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from universality.judge.resultset import ResultSet


def page_links(sets: Iterable[ResultSet], folder: Path | None) -> dict[str, str]:
    """Label of each set that has a page of its own, and its address from `folder`; without one, nothing is linked."""
    links: dict[str, str] = {}
    if folder is None:
        return links
    for results in sets:
        page = results.layout.page
        if page.is_file():
            try:
                address = os.path.relpath(page.resolve(), folder.resolve())
            except ValueError:  # two drives of Windows
                continue
            links[results.label] = quote(Path(address).as_posix())
    return links
