"""A dot for each of thousands of cells, in the place of its architecture and task and the colour of its verdict."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tests.judge.toy_cells import cell, effects, set_of
from universality.judge.resultset import ResultSet
from universality.output.figures import heatmap
from universality.output.figures.heatmap import verdict_heatmap
from universality.output.figures.overview import overview
from universality.output.palette import COLOURS

NETS, TASKS = [f"mlp[width={i}]" for i in range(5)], ["digits", "xor", "modular"]


@pytest.fixture
def results() -> ResultSet:
    """Present for every first architecture, absent elsewhere; one cell was not asked."""
    return set_of(
        [
            cell(effects(*(value + seed / 100 for seed in range(3))), architecture=net, task=task)
            for net, task in product(NETS, TASKS)
            if (net, task) != (NETS[4], TASKS[2])
            for value in [0.5 if net == NETS[0] else 7.0]
        ]
    )


def test_every_cell_has_its_dot(results: ResultSet) -> None:
    figure = overview(results)
    (axes,) = figure.axes
    (image,) = axes.images
    dots, places = np.ma.filled(image.get_array(), np.nan), list(COLOURS)
    assert dots.shape == (3, 5)
    expected = np.full((3, 5), float(places.index("absent")))
    expected[:, 0] = places.index("present")
    expected[2, 4] = np.nan
    np.testing.assert_array_equal(dots, expected)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("5 architectures", "3 tasks")
    (said,) = [text for text in axes.texts if text.get_text()]
    assert said.get_text() == "not validated\n3 of 14 hold; controls missing"
    (legend,) = figure.legends
    assert legend.get_title().get_text().endswith("and its controls.")
    assert len(legend.get_texts()) == 2
    FigureCanvasAgg(figure).draw()
    place = axes.get_position()
    assert min(place.x0, place.y0) > 0
    assert max(place.x1, place.y1) < 1
    title = next(
        part for part in axes.get_children() if getattr(part, "get_text", str)() == axes.get_title("left")
    )
    ends = [part.get_window_extent() for part in (title, said)]
    assert figure.bbox.y1 >= ends[0].y1 > ends[0].y0 > ends[1].y1 > ends[1].y0 > axes.bbox.y1
    assert 0 <= legend.get_window_extent().y0 < legend.get_window_extent().y1 < axes.bbox.y0


def test_it_stands_in_for_a_heatmap_that_nobody_could_read(
    results: ResultSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not verdict_heatmap(results).axes[0].images
    monkeypatch.setattr(heatmap, "MAX_TILES", 13)
    assert verdict_heatmap(results).axes[0].images
