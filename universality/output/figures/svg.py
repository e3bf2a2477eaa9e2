"""What matplotlib writes of a figure as SVG, in about a third of the bytes, and to the eye the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as Tree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
GROUP, USE, DEFS = f"{{{SVG}}}g", f"{{{SVG}}}use", f"{{{SVG}}}defs"

PLACES, FINE_PLACES = 1, 2
"""Decimals of a point in the figure, and within a shape that is drawn in many places."""

_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?")
_NUMBERS = {"M": 1, "L": 1, "Q": 2, "C": 3}
"""Points behind each letter of a path that matplotlib writes; `z` closes it."""
_TRANSLATE = re.compile(r"translate\((-?[\d.]+)[ ,]+(-?[\d.]+)\)")
_LONG = re.compile(r"-?\d+\.\d+")
_LINK = re.compile(r"url\(#([^)]*)\)")

Tree.register_namespace("", SVG)
Tree.register_namespace("xlink", XLINK)


def compact(svg: bytes) -> bytes:
    """The same picture: points to a tenth of a point, paths by steps, every style, shape and clip once.

    What has no look goes: comments, groups that only carry a name, and copies of a mark in one place.
    """
    root = Tree.fromstring(svg)
    shapes = Tree.Element(DEFS)
    styles: dict[str, str] = {}
    _gather(root, shapes)
    root.insert(0, shapes)
    for element in shapes.iter():
        _shorten(element, styles, FINE_PLACES)
    for element in list(root)[1:]:
        for each in element.iter():
            _shorten(each, styles, PLACES)
    _flatten(root)
    _share_texts(root, shapes)
    _rename(root)
    sheet = next(shapes.iter(f"{{{SVG}}}style"))
    classes = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    sheet.text = (sheet.text or "").replace(": ", ":").replace("; ", ";") + classes
    Tree.indent(root, "")
    written: bytes = Tree.tostring(root, "utf-8", xml_declaration=True)
    return written.replace(b" />", b"/>") + b"\n"


def steps(path: str, places: int) -> str:
    """A path of absolute points as steps from point to point, none of whose rounding errors add up.

    >>> steps("M 1.04 2 L 11.04 2.2 L 11 0.58 z M 0 5 Q 1 1 2 2", 1)
    'm1 2 10 .2 0-1.6zm-1 3q1-4 2-3'
    """
    tokens = _TOKEN.findall(path)
    written: list[str] = []
    here = start = (0, 0)
    place, before = 0, ""
    while place < len(tokens):
        letter = tokens[place]
        place += 1
        if letter in "zZ":
            written.append("z")
            here, before = start, "z"
            continue
        points = []
        for _ in range(_NUMBERS[letter]):
            x, y = (round(float(number) * 10**places) for number in tokens[place : place + 2])
            points.append((x, y))
            place += 2
        numbers = [n for x, y in points for n in (x - here[0], y - here[1])]
        # Behind the first point of a path, further ones are lines without a letter.
        implied = (before == letter and letter != "M") or (before == "M" and letter == "L")
        written.append(("" if implied else letter.lower()) + _joined(numbers, places, continued=implied))
        here = points[-1]
        if letter == "M":
            start = here
        before = "M" if implied and before == "M" else letter
    return "".join(written)


def _joined(numbers: list[int], places: int, *, continued: bool) -> str:
    texts = [_short(n / 10**places, places) for n in numbers]
    first, *rest = texts
    spaced = [text if text.startswith("-") else f" {text}" for text in rest]
    return (" " if continued and not first.startswith("-") else "") + first + "".join(spaced)


def _short(number: float, places: int) -> str:
    """In few characters: .5 and not 0.50."""
    text = f"{number:.{places}f}".rstrip("0").rstrip(".") if places else f"{number:.0f}"
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return "0" if text in ("", "-", "-0") else text


def _gather(parent: Tree.Element, shapes: Tree.Element) -> None:
    """Move what is only drawn where something names it to one place."""
    for child in list(parent):
        if child.tag == DEFS:
            parent.remove(child)
            shapes.extend(child)
        else:
            _gather(child, shapes)


def _shorten(element: Tree.Element, styles: dict[str, str], places: int) -> None:
    """Round what has a place, and name the style."""
    if (path := element.get("d")) is not None:
        element.set("d", steps(path, places))
    if element.tag == USE and (match := _TRANSLATE.fullmatch(element.get("transform", ""))):
        # A letter of a text, in hundredths of its size.
        del element.attrib["transform"]
        element.set("x", match[1])
        element.set("y", match[2])
        places = 0
    for name in ("x", "y", "width", "height", "transform"):
        if (text := element.get(name)) is not None and element.tag != f"{{{SVG}}}svg":
            kept = 4 if "scale" in text else places
            element.set(name, _LONG.sub(lambda match: _short(float(match[0]), kept), text))  # noqa: B023
    if element.tag == USE:
        for name in ("x", "y"):
            if element.get(name) == "0":
                del element.attrib[name]
    if (style := element.attrib.pop("style", None)) is not None:
        text = style.replace(": ", ":").replace("; ", ";").strip(";")
        element.set("class", styles.setdefault(text, _name(len(styles))))


def _flatten(parent: Tree.Element) -> None:
    """Children of groups that only have a name take their place; neighbours of one clip share its group."""
    for child in parent:
        _flatten(child)
    kept: list[Tree.Element] = []
    for child in list(parent):
        bare = child.tag == GROUP and not (child.attrib.keys() - {"id"})
        for each in list(child) if bare else [child]:
            same = bool(kept) and each.tag == GROUP == kept[-1].tag and each.attrib.keys() == {"clip-path"}
            if same and kept[-1].attrib == each.attrib:
                kept[-1].extend(each)
            else:
                kept.append(each)
        parent.remove(child)
    parent.extend(kept)
    if parent.attrib.keys() == {"clip-path"}:
        _once(parent)


def _once(marks: Tree.Element) -> None:
    """Of marks that cover each other entirely the last."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    for mark in reversed(list(marks)):
        look = tuple(sorted(mark.attrib.items()))
        if mark.tag == USE and look in seen:
            marks.remove(mark)
        seen.add(look)


def _share_texts(root: Tree.Element, shapes: Tree.Element) -> None:
    """A text that stands in several places, names of axes above all, is a shape of its own."""
    places: dict[tuple[tuple[str, str], ...], list[Tree.Element]] = {}
    for group in root.iter(GROUP):
        if len(group) > 1 and all(part.tag == USE and "class" not in part.attrib for part in group):
            letters = tuple(named for part in group for named in part.attrib.items())
            places.setdefault(letters, []).append(group)
    for number, groups in enumerate(groups for groups in places.values() if len(groups) > 1):
        shape = Tree.SubElement(shapes, GROUP, id=f"text {number}")
        shape.extend(groups[0])
        for group in groups:
            group[:] = []
            group.tag = USE
            group.set(HREF, f"#text {number}")


def _rename(root: Tree.Element) -> None:
    """Short ids, in their order, for what is named somewhere; the others go."""
    names: dict[str, str] = {}
    for element in root.iter():
        for link in _links(element):
            names.setdefault(link, _name(len(names)))
    for element in root.iter():
        if (name := element.attrib.pop("id", None)) in names:
            element.set("id", names[name])
        if (href := element.get(HREF, "")).startswith("#"):
            element.set(HREF, f"#{names[href[1:]]}")
        if clip := element.get("clip-path"):
            element.set("clip-path", _LINK.sub(lambda match: f"url(#{names[match[1]]})", clip))


def _links(element: Tree.Element) -> Iterator[str]:
    if (href := element.get(HREF, "")).startswith("#"):
        yield href[1:]
    yield from _LINK.findall(element.get("clip-path", ""))


def _name(number: int) -> str:
    """The `number`-th of a, b, ... z, ba, bb, ...: no digit, which a class may not begin with."""
    letters = ""
    while True:
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
        if not number:
            return letters
