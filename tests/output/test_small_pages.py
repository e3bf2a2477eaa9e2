"""The leaderboard and the comparison of two sets, in a real browser: nothing is cut off, and they lead to what they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.judge import toy_cells
from tests.judge.test_leaderboard import ABSENT, controls, record
from tests.output.browsing import Visit
from universality.judge.compare import compare
from universality.judge.leaderboard import read_board
from universality.judge.resultset import ResultSet
from universality.output import compare as comparisons
from universality.output import leaderboard as boards
from universality.plugin.phenomenon import About

NAME = "edge_of_stability"
VARIANTS = (f"{NAME}[gd_steps=400,momentum_steps=300,rates=2]", f"{NAME}[lr_below_best=3.0,memory=0.005]")
NETWORK = "transformer[dim=64,activation=tanh,width={}]"
TASK = "modular[operation=subtract,p=23,train_fraction=0.7]"
PHENOMENA = {
    NAME: About(
        title="Edge of stability",
        strand="laws",
        sense="number",
        source="Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484",
        claims={
            "one": "sharpness settles at the threshold of gradient descent",
            "two": "and at that of momentum",
        },
    )
}


def published(root: Path, flipped: int) -> Path:
    """Two claims in two settings on four networks; in one, of which some are `flipped`, none holds in the second."""
    records = [
        record(NETWORK.format(i), TASK, ABSENT if claim == "two" or i < flipped else 1.0, phenomenon=NAME,
               claim_name=claim, variant=variant)
        for claim in ("one", "two")
        for variant in VARIANTS
        for i in range(4)
    ]  # fmt: skip
    everything = [*records, *(c for claim in ("one", "two") for c in controls(NAME, claim))]
    toy_cells.publish(root, everything, phenomena=PHENOMENA)
    return root


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both, beside two sets, of which the first alone has a page; its folder has a name that an address must quote."""
    root = tmp_path_factory.mktemp("small")
    first, second = published(root / "sets" / "one #1", 0), published(root / "sets" / "two", 1)
    (first / "report").mkdir()
    (first / "report" / "index.html").write_text("<title>the first set</title>")
    boards.write(read_board([root / "sets"]), root / "board")
    sets = [ResultSet.load(each, each.name) for each in (first, second)]
    comparisons.write(compare(*sets), root / "deep" / "er")
    return {
        "leaderboard": root / "board" / "leaderboard.html",
        "comparison": root / "deep" / "er" / "comparison.html",
    }


CUT = """() => [...document.querySelectorAll(".wide")].filter((e) => e.scrollWidth > e.clientWidth)
    .map((e) => `${e.scrollWidth} in ${e.clientWidth}: ${e.innerText.slice(0, 60)}`)"""
OPEN = "document.querySelectorAll('details').forEach((d) => (d.open = true))"


@pytest.mark.parametrize("width", [390, 1000, 1200, 1400])
@pytest.mark.parametrize("kind", ["leaderboard", "comparison"])
def test_nothing_is_cut_off_at_any_width(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with Visit(browser, pages[kind], width) as view:
        view.evaluate(OPEN)
        assert view.locator("tbody tr").count() > 4
        assert view.evaluate("document.documentElement.scrollWidth") == width
        assert view.evaluate(CUT) == []
        right = "e => e.getBoundingClientRect().right"
        assert all(cell.evaluate(right) <= width for cell in view.locator("tbody td:visible").all())


@pytest.mark.parametrize("kind", ["leaderboard", "comparison"])
def test_paper_holds_every_column_and_every_list(browser: Any, pages: dict[str, Path], kind: str) -> None:
    """A4 on its side, less its margins: 277 mm, 1047 px."""
    with Visit(browser, pages[kind], 1047) as view:
        view.emulate_media(media="print")
        assert view.evaluate("document.documentElement.scrollWidth") == 1047
        assert not view.locator("nav").is_visible()
        assert (
            view.locator("thead").first.evaluate("e => getComputedStyle(e).display") == "table-header-group"
        )
        for listed in view.locator("details").all():
            assert listed.evaluate("e => e.lastElementChild.checkVisibility({contentVisibilityAuto: true})")


def test_a_name_breaks_between_its_parts(browser: Any, pages: dict[str, Path]) -> None:
    """Lines of the first column end after _ or a comma, before [, or between words."""
    lines = """cell => {
      const found = [], range = document.createRange();
      let top = null, walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
      for (let node; (node = walker.nextNode()); ) for (let i = 0; i < node.length; i++) {
        range.setStart(node, i); range.setEnd(node, i + 1);
        const box = range.getBoundingClientRect();
        if (top === null || box.top > top + 3) { found.push(""); top = box.top; }
        found[found.length - 1] += node.data[i];
      }
      return found; }"""
    for kind in pages:
        with Visit(browser, pages[kind], 1400) as view:
            view.evaluate(OPEN)
            cells = view.locator("td", has_text="gd_steps").all()
            assert cells
            for cell in cells:
                for line, following in zip(found := cell.evaluate(lines), found[1:], strict=False):
                    assert re.search(r"[_,= ]$", line) or following.startswith(("[", " ")), found


@pytest.mark.parametrize("kind", ["leaderboard", "comparison"])
def test_sources_and_sets_are_links(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with Visit(browser, pages[kind]) as view:
        text = view.locator("body").inner_text()
        assert "Edge of stability" in text
        assert NAME not in text, "people read titles"
        links = view.locator("main a:not(nav a)")
        found = dict(
            zip(links.all_inner_texts(), [a.get_attribute("href") for a in links.all()], strict=True)
        )
        assert found.pop("arXiv:2103.00065") == "https://arxiv.org/abs/2103.00065"
        assert found.pop("arXiv:2207.14484") == "https://arxiv.org/abs/2207.14484"
        assert list(found) == ["one #1"], "the other set has no page"
        for way in view.locator("nav a").all():
            assert view.locator(str(way.get_attribute("href"))).count() == 1
    with browser.new_context() as context:
        view = context.new_page()
        view.goto(pages[kind].as_uri())
        view.get_by_role("link", name="one #1").click()
        view.wait_for_url("**/report/index.html")
        assert view.title() == "the first set"


def test_answers_of_the_leaderboard_stand_under_their_kinds(browser: Any, tmp_path: Path) -> None:
    cells = [record(f"net{a}", f"task{t}", 1.0 if name == "toy" else ABSENT, phenomenon=name)
             for name in ("toy", "other") for a in range(6) for t in range(6)]  # fmt: skip
    cells += [record("net0", "task0", phenomenon="scarce")]
    names = ("toy", "other", "scarce")
    about = {name: About(title=name.title(), strand="laws", sense="number", source="", claims={"one": "One"})
             for name in names}  # fmt: skip
    toy_cells.publish(
        tmp_path / "set", [*cells, *(c for name in names for c in controls(name))], phenomena=about
    )
    boards.write(read_board([tmp_path]), tmp_path / "board")
    with Visit(browser, tmp_path / "board" / "leaderboard.html") as view:
        kinds = view.locator(".answers")
        assert [each.inner_text().split(",")[0].replace("\n", " ") for each in kinds.all()][:2] == [
            "Universal here: 1 claim Toy",
            "Not universal: 1 claim Other",
        ]
        assert kinds.last.inner_text() == "Not yet known: 1 claim"
        kinds.last.locator("summary").click()
        assert "Scarce, One: it holds in the one decided cell" in kinds.last.inner_text()
