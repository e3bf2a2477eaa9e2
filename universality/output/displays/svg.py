"""Pictures as SVG: in the page, whose styles they take, and as files that carry theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from universality.output.palette import BLACK, COLOURS, FAMILIES, GREEN, SKY, VERMILLION, ink, slug
from universality.text import brief

LETTER = 0.6
"""Of the size of a text, its mean letter is wide."""
MARGIN, GAP, LEAST = 16, 28, 420
CAPTION, TITLE, KEY, KEY_LINE = 13, 17, 11, 20
"""Sizes of text in a file, and of a line of its legend."""

_PAGE = Path(__file__).parents[1] / "page" / "page.css"
_OWN = Path(__file__).with_name("displays.css")
_VARIABLE = re.compile(r"(--[\w-]+):\s*([^;}]+)")
_USE = re.compile(r"var\((--[\w-]+)\)")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of so many CSS pixels. `label` is what it says to somebody who cannot see it.

    `body` is markup: everything in it that others wrote went through `text` or `title`.
    """

    width: float
    height: float
    body: str
    label: str
    name: str = "drawing"

    @property
    def inline(self) -> Markup:
        """For the page, at its size where there is room."""
        return Markup(
            f'<svg class="{self.name}" width="{self.width:g}" height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}"'
            f' role="img" aria-label="{safe(self.label, 400)}">{self.body}</svg>'
        )

    def at(self, x: float, y: float) -> str:
        """Inside another picture."""
        return (
            f'<svg class="{self.name}" x="{x:g}" y="{y:g}" width="{self.width:g}" height="{self.height:g}"'
            f' viewBox="0 0 {self.width:g} {self.height:g}">{self.body}</svg>'
        )


def safe(value: object, most: int = 90) -> str:
    """A text of others between tags or quotes. An equals sign is spelled out, so that no checker of files takes it for an
    attribute."""
    return str(escape(brief(value, most))).replace("=", "&#61;")


def text(x: float, y: float, value: object, kind: str = "", most: int = 90, more: str = "") -> str:
    """A line of text whose left end, or what `kind` says, is at x."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.4g}" y="{y:.4g}"{more}>{safe(value, most)}</text>'


def title(value: object, most: int = 200) -> str:
    """What a pointer is told."""
    return f"<title>{safe(value, most)}</title>"


def wide(value: str, size: float) -> float:
    """Pixels that a text takes, nearly."""
    return LETTER * size * len(value)


def fitted(value: object, width: float, size: float) -> str:
    """A text cut to a width.

    >>> fitted("mixture_of_experts", 60, 12)
    'mixture…'
    """
    whole, most = brief(value, 400), max(2, int(width / LETTER / size))
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def wrapped(value: str, width: float, size: float) -> list[str]:
    """Lines of a text, broken at spaces, behind commas and before brackets.

    >>> wrapped("mlp[width=128,depth=1] on digits", 100, 10)
    ['mlp[width=128,', 'depth=1] on', 'digits']
    """
    lines, most = [""], max(10, int(width / LETTER / size))
    for piece in re.split(r"(?<= )|(?<=,)|(?=\[)", value):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def box(kind: str, x: float, y: float, width: float, height: float, inside: str = "") -> str:
    """A rectangle, in fewer letters than SVG's own."""
    path = outline(x, y, width, height)
    return f'<path class="{kind}" d="{path}"{f">{inside}</path>" if inside else "/>"}'


def outline(x: float, y: float, width: float, height: float) -> str:
    """The steps around a rectangle."""
    return f"M{x:.4g} {y:.4g}h{width:.4g}v{height:.4g}h{-width:.4g}z"


def legend(keys: Sequence[tuple[Drawing, str]], width: float) -> Drawing:
    """Small pictures beside what they mean, in lines of at most `width`."""
    x, y, parts, longest = 0.0, 0.0, [], 1.0
    for drawing, name in keys:
        needed = drawing.width + 19 + wide(brief(name), KEY)
        if x and x + needed > width:
            x, y = 0.0, y + KEY_LINE
        parts += [drawing.at(x, y), text(x + drawing.width + 5, y + 12, name, "strong")]
        x += needed
        longest = max(longest, x)
    return Drawing(longest, y + KEY_LINE, "".join(parts), "")


def sheet(
    heading: str,
    note: str,
    panels: Sequence[tuple[str, Drawing]],
    *,
    columns: int = 1,
    keys: Sequence[tuple[Drawing, str]] = (),
) -> str:
    """A file: pictures under their captions in columns, a title above all and how to read them below it.

    Light or dark as the reader's; programs that know no such thing show the light one.
    """
    each = max(drawing.width for _, drawing in panels)
    columns = min(columns, len(panels))
    width = 2 * MARGIN + max(columns * each + (columns - 1) * GAP, LEAST)
    y = float(MARGIN + TITLE)
    parts = []
    for line in wrapped(heading, width - 2 * MARGIN, TITLE):
        parts.append(text(MARGIN, y, line, "heading", 400))
        y += TITLE + 6
    y += 2 - TITLE
    for line in wrapped(note, width - 2 * MARGIN, CAPTION):
        y += CAPTION + 5
        parts.append(text(MARGIN, y, line, "note", 400))
    y += 14
    if keys:
        key = legend(keys, width - 2 * MARGIN)
        parts.append(key.at(MARGIN, y))
        y += key.height + 8
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        captions = [wrapped(brief(caption, 300), each, CAPTION) if caption else [] for caption, _ in row]
        head = (CAPTION + 4) * max(map(len, captions))
        for column, ((_, drawing), lines) in enumerate(zip(row, captions, strict=True)):
            x = MARGIN + column * (each + GAP)
            parts += [
                text(x, y + (CAPTION + 4) * (i + 1) - 4, line, "caption", 400) for i, line in enumerate(lines)
            ]
            parts.append(drawing.at(x, y + head + 2))
        y += head + max(drawing.height for _, drawing in row) + GAP / 2
    height = y + MARGIN / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"<title>{safe(heading)}</title><style>{_file_styles()}</style>"
        f'<rect class="paper" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )


def styles() -> Markup:
    """Of all displays, in the variables of the page."""
    colours = ["var(--text)" if colour == BLACK else colour for colour in FAMILIES]
    families = "".join(f".f{i}{{fill:{c};stroke:{c};color:{c}}}\n" for i, c in enumerate(colours))
    verdicts = "".join(
        f".t-{slug(v)[2:]}{{fill:{colour};stroke:var(--soft);stroke-width:.4}}.drawing .i-{slug(v)[2:]}{{fill:{ink(colour)}}}\n"
        for v, colour in COLOURS.items()
    )
    gaps = f".g-present{{fill:{GREEN}}}.g-absent{{fill:{VERMILLION}}}.g-undecided{{fill:{SKY}}}\n"
    return Markup(families + verdicts + gaps + _OWN.read_text(encoding="utf-8"))


@cache
def _file_styles() -> str:
    """The same with the values of the variables, for the light and for the dark page."""
    page = _PAGE.read_text(encoding="utf-8")
    light, dark = (dict(_VARIABLE.findall(block)) for block in re.findall(r":root \{([^}]*)\}", page)[:2])
    own = str(styles()) + "text{font-family:DejaVu Sans,Helvetica,Arial,sans-serif}"
    changed = "".join(rule + "}" for rule in own.split("}") if "var(" in rule)
    return f"{_valued(own, light)}@media (prefers-color-scheme:dark){{{_valued(changed, {**light, **dark})}}}"


def _valued(css: str, values: Mapping[str, str]) -> str:
    return _USE.sub(lambda match: values[match[1]].strip(), " ".join(css.split()))
