"""What the documentation as a site lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

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
