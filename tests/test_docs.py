"""What the documentation as a site lists is what there is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from universality.judge.answers import KNOWN, Kind, answers
from universality.judge.resultset import ResultSet

ROOT = Path(__file__).parents[1]


def test_every_module_of_the_measures_has_its_place_in_the_api() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "universality" / "measures").rglob("*.py")
        if path.name != "__init__.py"
    }
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api" / "measures.md").read_text(), re.MULTILINE)
    assert listed == sorted(modules)


def test_every_page_of_the_site_exists() -> None:
    pages = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert len(pages) >= 10
    assert all((ROOT / "docs" / page).is_file() for page in pages)


@pytest.mark.parametrize("kind", KNOWN)
def test_the_readme_says_of_the_grid_what_its_table_says(kind: Kind) -> None:
    heading = {"holds with exceptions": "With exceptions"}.get(kind, kind.capitalize())
    (told,) = re.findall(rf"^- \*\*{heading}\*\*.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    rows = [
        row for row, answer in answers(ResultSet.load(ROOT / "results" / "cross-cpu")) if answer.kind == kind
    ]
    assert Counter(re.findall(r"\d+ of \d+", told)) == Counter(
        f"{row.counts['present']} of {row.counts['present'] + row.counts['absent']}" for row in rows
    )
