"""The LaTeX table says what the others say, and compiles whatever is in a name."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.judge.toy_cells import set_of
from universality.judge.resultset import ResultSet
from universality.output.latex import _cell, escaped, latex
from universality.output.tables import readable_rows
from universality.plugin.bounds import Within
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import About
from universality.store.cells import CellRecord, GroupRecord

HOSTILE = r"\input{/etc/passwd} $x^2$ #1 50% a&b {c} _d ~e <f> |g| ``h'' --- 中 é " + "\x00\u202e"


def results(phenomenon: str = "edge", claim_name: str = "gd", title: str = "Edge") -> ResultSet:
    claim = Within(low=0.9, high=1.15, unit="sharpness / (2/lr)")
    groups = tuple(
        GroupRecord(key=f"s{i}", units=(f"s{i}",), runs={}, state="done", outcome=Outcome(effect=1 + i / 1e3))
        for i in range(3)
    )
    record = CellRecord(phenomenon=phenomenon, version=1, claim_name=claim_name, claim=claim,
                        architecture="mlp", task="digits", groups=groups)  # fmt: skip
    about = About(title=title, strand="laws", sense="number", claims={claim_name: "gradient descent"},
                  source="Cohen et al. 2021, arXiv:2103.00065")  # fmt: skip
    return set_of([record], phenomena={phenomenon: about})


def test_a_row_holds_the_texts_of_the_other_tables_in_their_order() -> None:
    table = results()
    text = latex(table)
    (line,) = [line for line in text.splitlines() if line.startswith("gradient descent (gd): 0.9 to 1.15")]
    cells = line.removesuffix(r" \\").split(" & ")
    _, claim, _, *rest = readable_rows(table.rows)[0]
    assert cells == [_cell(t) for t in (claim, *rest)]
    assert [escaped(t) for t in rest] == [re.sub(r"\\mbox\{(.*?)\}", r"\1", cell) for cell in cells[1:]]
    assert r"\textbf{Edge} (same number; Cohen et al. 2021, arXiv:2103.00065)" in text
    head = next(line for line in text.splitlines() if line.startswith("Claim"))
    assert head.count("&") == len(cells) - 1


def test_what_tex_would_run_or_misread_is_escaped() -> None:
    text = escaped(HOSTILE)
    assert r"\input" not in text
    bare = re.sub(r"\\[a-z]+\{\}|\\[&%$#_{}]|-\{\}", "", text)
    assert not re.search(r"[\\&%$#_{}~^<>|`']", bare)
    assert "[U+4E2D] é [U+0000][U+202E]" in text
    assert "--" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_it_compiles_with_hostile_names(tmp_path: Path) -> None:
    table = results("x" + HOSTILE, HOSTILE, HOSTILE)
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{array,booktabs,longtable,textcomp}"
        "\\begin{document}\\input{table.tex}\\end{document}",
        encoding="utf-8",
    )
    (tmp_path / "table.tex").write_text(latex(table), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120
    )
    assert result.returncode == 0, result.stdout[-1500:]
    assert "root:" not in result.stdout
