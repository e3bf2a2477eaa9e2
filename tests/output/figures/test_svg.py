"""A compact figure draws what the figure drew: the same shapes, in the same places, of the same look."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from universality.output.figures import style
from universality.output.figures.svg import HREF, SVG, compact, steps
from universality.output.palette import COLOURS

Drawn = tuple[list[tuple[float, float]], dict[str, str], list[float]]
"""Points on the page, look, and the box that it is clipped to."""


@style.LOOK
def written() -> bytes:
    """Lines, marks, tiles, a filled curve and texts, some of them twice."""
    figure = Figure((5, 4))
    left, right = figure.subplots(1, 2)
    x = np.linspace(0, 7, 60)
    left.plot(x, np.sin(x), "o-", markersize=3, markerfacecolor="white", alpha=0.8, gid="points")
    left.plot([1, 1, 1, 2], [0, 0, 0, 0.5], "s", color="red")
    left.plot([3], [99], "s", clip_on=False)
    left.set(ylim=(-1, 1), title="one title", xlabel="update")
    right.fill_between(x, np.cos(x), alpha=0.2)
    right.scatter([1, 2, 3], [1, 2, 3], s=[5, 10, 15])
    right.set(title="one title", xlabel="update")
    style.tiles(figure.add_axes((0.4, 0.4, 0.2, 0.2)), np.eye(2), None, size=7, cmap="viridis")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def points_of(path: str) -> list[tuple[float, float]]:
    """Of a path of absolute or of relative points, ends and controls."""
    found: list[tuple[float, float]] = []
    here = start = (0.0, 0.0)
    for letter, numbers in re.findall(r"([MLQCZmlqcz])([^MLQCZmlqcz]*)", path):
        values = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?", numbers)]
        size = {"q": 4, "c": 6}.get(letter.lower(), 2)
        if letter in "zZ":
            here = start
        for place in range(0, len(values), size):
            part = values[place : place + size]
            base = here if letter.islower() else (0.0, 0.0)
            points = [(base[0] + a, base[1] + b) for a, b in zip(part[::2], part[1::2], strict=True)]
            here = points[-1]
            start = here if letter in "mM" and place == 0 else start
            found += points
    return found


def drawn(svg: bytes) -> list[Drawn]:
    """Everything that a picture shows, in the order of drawing, from the roots of XML on."""
    root = Tree.fromstring(svg)
    ids = {element.get("id"): element for element in root.iter() if element.get("id")}
    sheet = "".join(e.text or "" for e in root.iter(f"{{{SVG}}}style"))
    classes = dict(re.findall(r"\.([a-z]+)\{([^}]*)\}", sheet))

    def look(element: Tree.Element) -> dict[str, str]:
        text = element.get("style") or classes.get(element.get("class", ""), "")
        return {
            k.strip(): v.strip() for k, v in (part.split(":") for part in text.split(";") if part.strip())
        }

    def walk(element: Tree.Element, a: Any, looks: dict[str, str], clip: list[float]) -> Iterator[Drawn]:
        looks = {**looks, **look(element)}
        named = element.get("clip-path", "")
        if named:
            ((rect,),) = [list(ids[named[5:-1]])]
            clip = [float(rect.get(k, "0")) for k in ("x", "y", "width", "height")]
        for kind, numbers in re.findall(r"(\w+)\(([^)]*)\)", element.get("transform", "")):
            u, v = (*map(float, re.split("[ ,]+", numbers)), *[None])[:2]
            step = [[1, 0, u], [0, 1, v or 0], [0, 0, 1]]
            if kind == "rotate":
                s, c = np.sin(np.radians(u)), np.cos(np.radians(u))
                step = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
            a = a @ np.array(step if kind != "scale" else np.diag([u, u if v is None else v, 1]))
        if element.tag == f"{{{SVG}}}use":
            shift = [[1, 0, float(element.get("x", 0))], [0, 1, float(element.get("y", 0))], [0, 0, 1]]
            yield from walk(ids[element.get(HREF, "")[1:]], a @ np.array(shift), looks, clip)
        elif element.tag == f"{{{SVG}}}path":
            points = np.array([(*point, 1.0) for point in points_of(element.get("d", ""))]).reshape(-1, 3)
            yield [(p[0], p[1]) for p in (a @ points.T).T], looks, clip
        elif element.tag in (f"{{{SVG}}}g", f"{{{SVG}}}svg"):
            for child in element:
                yield from walk(child, a, looks, clip)

    return list(walk(root, np.eye(3), {}, []))


def distinct(found: list[Drawn]) -> list[Drawn]:
    """Without marks that a later one of the same look covers."""
    last = {
        repr((np.round(points, 3).tolist(), look, clip)): i for i, (points, look, clip) in enumerate(found)
    }
    return [found[i] for i in sorted(last.values())]


def test_the_same_shapes_are_drawn_in_the_same_places_with_the_same_look() -> None:
    before, after = distinct(drawn(written())), distinct(drawn(compact(written())))
    assert len(before) == len(after) > 150
    for (points, look, clip), (others, other_look, other_clip) in zip(before, after, strict=True):
        assert len(points) == len(others)
        assert np.array(points) == pytest.approx(np.array(others), abs=0.11), (
            "half a tenth of a shape, and of its place"
        )
        assert clip == pytest.approx(other_clip, abs=0.051)
        assert look == other_look


def test_it_takes_less_than_half_the_bytes_and_is_the_same_every_time() -> None:
    small = compact(written())
    assert len(small) < 0.5 * len(written())
    assert compact(written()) == small
    assert b"<!--" not in small


def test_every_name_is_used_and_stands_once() -> None:
    root = Tree.fromstring(compact(written()))
    ids = [name for element in root.iter() if (name := element.get("id"))]
    links = {e.get(HREF, "#")[1:] for e in root.iter()} | {
        e.get("clip-path", "url(#)")[5:-1] for e in root.iter()
    }
    assert len(ids) == len(set(ids))
    assert set(ids) == links - {""}


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 0 0 L 0.04 0 L 0.08 0 L 0.12 0", "m0 0 0 0 .1 0 0 0"),
        ("M 5 5 L -5 -5", "m5 5-10-10"),
        ("M 1 1 L 2 2 M 3 3 L 4 4", "m1 1 1 1m1 1 1 1"),
        ("M 1 1 L 2 2 z M 3 3", "m1 1 1 1zm2 2"),
        ("M 0 0 C 1 1 2 2 3 3 C 4 4 5 5 6 6 L 7 7", "m0 0c1 1 2 2 3 3 1 1 2 2 3 3l1 1"),
        ("M 100000.25 1e-07 L 100000.35 0", "m100000.2 0 .2 0"),
        ("", ""),
    ],
)  # fmt: skip
def test_steps_of_a_path(path: str, short: str) -> None:
    assert steps(path, 1) == short


def test_rounding_errors_of_steps_do_not_add_up() -> None:
    x = np.cumsum(np.full(5_000, 0.04))
    ends = points_of(steps("M 0 0 " + " ".join(f"L {each} 0" for each in x), 1))
    assert abs(ends[-1][0] - x[-1]) <= 0.05


def test_a_saved_picture_of_dots_has_few_colours_near_those_that_were_drawn(tmp_path: Path) -> None:
    figure = Figure((3, 2))
    axes = figure.subplots()
    for place, colour in enumerate(COLOURS.values()):
        axes.barh(place, 1, color=colour)
    svg, png = style.save(figure, tmp_path, "bars")
    with Image.open(png) as image:
        assert (image.mode, image.size) == ("P", (300, 200))
        shown = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in COLOURS.values():
        asked = np.array(to_rgb(colour)) * 255
        assert np.abs(shown - asked).max(axis=1).min() <= 4, colour
    assert len(drawn(svg.read_bytes())) > len(COLOURS)
