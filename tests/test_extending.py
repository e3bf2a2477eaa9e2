"""The files in docs/extending.md load, and keep the contracts that they explain."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = re.compile(r"`my_plugins/(\w+\.py)`.*?\n```python\n(.*?)```\n", re.DOTALL)
FILES = dict(FILE.findall((ROOT / "docs" / "extending.md").read_text()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "my_plugins"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def test_the_page_has_a_file_of_every_kind() -> None:
    assert set(FILES) == {
        "progressive_sharpening.py",
        "weight_norm.py",
        "random_features.py",
        "frozen_biases.py",
        "spirals.py",
    }


@pytest.mark.parametrize("name", ["progressive_sharpening", "random_features", "frozen_biases", "spirals"])
def test_its_plugins_keep_their_contracts(folder: Path, name: str) -> None:
    command = [sys.executable, "-m", "universality", "check", name, "--plugins", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "wrong" not in result.stdout
