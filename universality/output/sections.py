"""Tables under titles: described once, and shown in the terminal, in Markdown and on a small page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TextIO

from universality.judge.crossed import Prevalence
from universality.store.files import storing
from universality.text import escaped, markdown_table, plain, print_table

Line = tuple[str, ...]


class Section(NamedTuple):
    """A table, with a title above it if it has one; without lines it is left out.

    Args:
        bars: per line an interval that a page draws after the second column.
        links: addresses that a page gives to cells of these texts.
        folded: a page shows it when it is asked to: what is only listed, and can be long.
    """

    title: str
    headers: Line
    lines: Sequence[Line]
    bars: Sequence[Prevalence | None] = ()
    links: Mapping[str, str] = MappingProxyType({})
    folded: bool = False


def print_sections(sections: Iterable[Section], stream: TextIO) -> None:
    """The sections on `stream`, with a line between them."""
    for section in (s for s in sections if s.lines):
        stream.write(f"\n{plain(section.title)}\n" if section.title else "")
        print_table(section.headers, section.lines, stream)


def markdown_sections(sections: Iterable[Section]) -> list[str]:
    """Paragraphs of GitHub's Markdown."""
    paragraphs = []
    for section in (s for s in sections if s.lines):
        paragraphs += [f"## {escaped(section.title)}\n"] if section.title else []
        paragraphs.append(markdown_table(section.headers, section.lines))
    return paragraphs


def write_texts(folder: Path, name: str, texts: Mapping[str, str]) -> list[Path]:
    """Write each text into the file `name` with its ending in `folder`, which is made where it is missing."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.{ending}" for ending in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8")
    return paths
