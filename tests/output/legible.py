"""What can be read on a figure, and whether it can."""

from __future__ import annotations

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

LONG_TASK = "modular[operation=subtract,p=23,train_fraction=0.7]"
LONG_NAMES = [f"transformer[dim={2**i},activation=tanh,bias=false]" for i in range(6)]


def written(figure: Figure) -> list[Text]:
    """Everything that can be read on a figure, e.g. no label of a tick outside the limits of its axis."""
    FigureCanvasAgg(figure).draw()
    texts = [
        *figure.texts,
        *(t for legend in figure.legends for t in (*legend.get_texts(), legend.get_title())),
    ]
    for axes in (part for whole in figure.axes for part in (whole, *whole.child_axes)):
        titles = [child for child in axes.get_children() if isinstance(child, Text)]
        texts += [axes.xaxis.label, axes.yaxis.label, *titles]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [label for tick in ticks for label in (tick.label1, tick.label2)]
    return [t for t in texts if t.get_visible() and t.get_text()]


def assert_legible(figure: Figure) -> None:
    """No text overlaps another or leaves the page, and none is below 7 points."""
    texts = written(figure)
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    page = figure.bbox
    for text, box in boxes:
        assert min(box.x0 - page.x0, box.y0 - page.y0, page.x1 - box.x1, page.y1 - box.y1) > -0.5, text
    for (one, a), (other, b) in combinations(boxes, 2):
        meet = min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
        assert not meet, f"{one!r} overlaps {other!r}"
    assert min(float(t.get_fontsize()) for t in texts) >= 7


def panels(figure: Figure) -> list[Axes]:
    """Without the headings over them."""
    return [axes for axes in figure.axes if axes.get_label() != "heading"]


def legend(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.legends[0].get_texts()]


def note(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def tasks(figure: Figure) -> list[str]:
    titles = [axes.title for axes in figure.axes if axes.get_label() == "heading"]
    return [title.get_text() for title in titles if title.get_fontweight() == "bold"]
