"""What no conclusion rests on is read to warn of it, and only for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.audit.loose_files import unused_damage
from universality.store.layout import Layout

SUITE = """
name = "mine"
[[cross]]
phenomena = ["toy"]
architectures = ["mlp"]
tasks = ["points"]
"""
EVIDENCE = "id,verdict\n1,present\n"


def lines(layout: Layout) -> list[str]:
    return [f"{fault.path} {fault.text}" for fault in unused_damage(layout)]


def damage(root: Path, suite: str | bytes = SUITE, evidence: str | bytes = EVIDENCE) -> list[str]:
    layout = Layout(root)
    for path, text in ((layout.suite, suite), (layout.evidence, evidence)):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return lines(layout)


def test_whole_files_cause_no_warning(tmp_path: Path) -> None:
    assert damage(tmp_path) == []


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    assert lines(Layout(tmp_path)) == ["suite.toml is missing", "evidence.csv is missing"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("suite.toml", "evidence.csv"):
        (tmp_path / name).symlink_to("/etc/passwd")
    assert lines(Layout(tmp_path)) == [
        "suite.toml is a link, which is not followed",
        "evidence.csv is a link, which is not followed",
    ]


@pytest.mark.parametrize(
    ("suite", "line"),
    [
        ("name = [", "suite.toml is damaged: a suite is not valid TOML: "),
        ("name = 'mine'", "suite.toml is damaged: a suite cannot be read: "),
        (SUITE + "seed = 3", "suite.toml is damaged: unknown key of a suite 'seed'"),
        ("a = " + "[" * 100_000, "suite.toml is damaged: RecursionError"),
        (b"\xff\xfe", "suite.toml is damaged: UnicodeDecodeError"),
    ],
    ids=["toml", "incomplete", "unknown key", "deep", "binary"],
)
def test_a_damaged_suite_is_one_line(tmp_path: Path, suite: str | bytes, line: str) -> None:
    (text,) = damage(tmp_path, suite=suite)
    assert text.startswith(line)


@pytest.mark.parametrize(
    ("evidence", "line"),
    [
        ("", "evidence.csv is no table: it is empty"),
        ("id,verdict\n", "evidence.csv is no table: it is empty"),
        ("id,verdict\n1\n", "evidence.csv is no table: it is empty, or its rows have different lengths"),
        ("id,effect\n1,2\n", "evidence.csv is no table of verdicts"),
        ('id,verdict\n1,"present', "evidence.csv is no table: unexpected end of data"),
        (b"\xff\xfe", "evidence.csv is no table: 'utf-8' codec"),
    ],
    ids=["empty", "no row", "ragged", "no verdict", "open quote", "binary"],
)
def test_damaged_evidence_is_one_line(tmp_path: Path, evidence: str | bytes, line: str) -> None:
    (text,) = damage(tmp_path, evidence=evidence)
    assert text.startswith(line)
