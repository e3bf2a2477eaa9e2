"""The leaderboard: what is pooled, in which order, what conflicts, and that the published table is current."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

import universality
from tests.judge import toy_cells
from tests.stored import write
from universality.commands import leaderboard as command
from universality.errors import StoreError
from universality.judge.crossed import prevalence
from universality.judge.leaderboard import Board, BoardRow, leaderboard, read_board
from universality.judge.resultset import ResultSet
from universality.output import leaderboard as forms
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.controls import ControlId, Decidable, Sign
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import About
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord

RESULTS = Path(universality.__file__).resolve().parents[1] / "results"

CLAIM = Within(low=0.9, high=1.1, unit="u")
EXPECTS: dict[Sign, tuple[Decidable, ...]] = {"positive": ("present",), "negative": ("absent",)}
PRESENT, ABSENT, OPEN = 1.0, 2.0, 1.1
"""Means of effects that spread by 0.02: inside the claim, outside, on its bound."""


def record(
    architecture: str = "mlp",
    task: str = "digits",
    effect: float = PRESENT,
    *,
    seeds: int = 3,
    claim: Bound = CLAIM,
    claim_name: str = "one",
    phenomenon: str = "toy",
    version: int = 1,
    variant: str = "",
    control: ControlId | None = None,
    state: RunState = "done",
) -> CellRecord:
    groups = tuple(
        GroupRecord(
            key=f"s{i}",
            units=(f"s{i}",),
            runs={"run": f"net-s{i}-0123456789ab"},
            state=state,
            outcome=Outcome(effect=effect + 0.02 * (i % 3 - 1)) if state == "done" else None,
        )
        for i in range(seeds)
    )
    return CellRecord(
        phenomenon=phenomenon,
        variant=variant or phenomenon,
        version=version,
        claim_name=claim_name,
        claim=claim,
        architecture=architecture,
        task=task,
        groups=groups,
        control=control,
        expects=EXPECTS[control.sign] if control else (),
    )


def controls(phenomenon: str = "toy", claim_name: str = "one", negative: float = ABSENT) -> list[CellRecord]:
    names = {"phenomenon": phenomenon, "claim_name": claim_name}
    return [
        record("reference", control=ControlId("positive", "wide"), **names),  # type: ignore[arg-type]
        record("reference", effect=negative, control=ControlId("negative", "lazy"), **names),  # type: ignore[arg-type]
    ]


def grid(architectures: int, tasks: int, absent: int = 0, **names: object) -> list[CellRecord]:
    """A full cross of cells that show the claim, but for the first `absent`."""
    cells = [(f"net{a}", f"task{t}") for a in range(architectures) for t in range(tasks)]
    return [
        record(a, t, ABSENT if i < absent else PRESENT, **names)  # type: ignore[arg-type]
        for i, (a, t) in enumerate(cells)
    ]


TOY = About(title="Toy", strand="laws", sense="number", source="Toy 2020", claims={"one": "One"})


def result_set(
    label: str, records: Sequence[CellRecord], *, controlled: bool = True, about: About = TOY
) -> ResultSet:
    keys = dict.fromkeys((r.phenomenon, r.claim_name) for r in records if not r.control)
    everything = [*records, *(c for key in keys for c in controls(*key) if controlled)]
    phenomena = {r.phenomenon: about for r in everything}
    return toy_cells.set_of(everything, label=label, phenomena=phenomena)


def only(board: Board) -> BoardRow:
    assert len(board.rows) == 1
    return board.rows[0]


# ---------------------------------------------------------------------------------------------- order


def test_the_order_is_by_the_lower_bound_and_not_by_the_share() -> None:
    few = grid(2, 2, phenomenon="few")
    many = grid(6, 6, absent=1, phenomenon="many")
    board = leaderboard([result_set("a", [*few, *many])])
    assert [row.phenomenon for row in board.rows] == ["many", "few"]
    shares = [row.prevalence.estimate for row in board.rows if row.prevalence]
    assert shares == [pytest.approx(35 / 36), 1.0]


def test_unvalidated_claims_stand_below_all_validated_ones() -> None:
    strong = result_set("a", grid(6, 6, phenomenon="strong"), controlled=False)
    weak = result_set("b", grid(2, 2, absent=3, phenomenon="weak"))
    board = leaderboard([strong, weak])
    assert [(row.phenomenon, row.validated) for row in board.rows] == [("weak", True), ("strong", False)]
    assert not board.rows[1].survives
    assert "no positive control was run" in forms.table(board).lines[1][-1]


def test_the_order_does_not_depend_on_the_order_of_the_sets() -> None:
    sets = [result_set(p, grid(2, 2, absent=i % 2, phenomenon=p)) for i, p in enumerate("abcd")]
    names = [[r.phenomenon for r in leaderboard(s).rows] for s in (sets, sets[::-1])]
    assert names[0] == names[1] == ["a", "c", "b", "d"]


def test_a_claim_that_decided_nothing_comes_last_of_the_validated() -> None:
    board = leaderboard(
        [result_set("a", [*grid(2, 2, absent=4, phenomenon="no"), record(effect=OPEN, phenomenon="aa")])]
    )
    assert [(row.phenomenon, row.prevalence is None) for row in board.rows] == [("no", False), ("aa", True)]


@pytest.mark.parametrize(
    ("absent", "extent", "survives"), [(0, "most cells", True), (18, "open", False), (36, "few cells", False)]
)
def test_a_claim_survives_pooling_where_its_lower_bound_is_above_one_half(
    absent: int, extent: str, survives: bool
) -> None:
    row = only(leaderboard([result_set("a", grid(6, 6, absent=absent))]))
    assert (row.extent, row.survives) == (extent, survives)


# -------------------------------------------------------------------------------------------- pooling


def test_cells_of_two_sets_are_one_sample() -> None:
    first, second = grid(3, 2), [record(f"net{a}", "task9", ABSENT) for a in range(3)]
    row = only(leaderboard([result_set("a", first), result_set("b", second)]))
    cells = [*first, *second]
    expected = prevalence([True] * 6 + [False] * 3, [r.architecture for r in cells], [r.task for r in cells])
    assert row.prevalence == expected
    assert (row.decided, row.shared, row.spread) == (9, 0, (0.0, 1.0))
    assert row.pooled is not None
    assert row.pooled.cells == 9
    assert row.pooled.estimate == pytest.approx((6 * PRESENT + 3 * ABSENT) / 9)


def test_the_same_cell_in_two_sets_counts_once() -> None:
    once = only(leaderboard([result_set("a", grid(3, 2, absent=1))]))
    twice = only(leaderboard([result_set("a", grid(3, 2, absent=1)), result_set("b", grid(3, 2, absent=1))]))
    assert (twice.prevalence, twice.counts, twice.pooled) == (once.prevalence, once.counts, once.pooled)
    assert (twice.shared, twice.conflicts) == (6, ())


def test_sets_that_contradict_each_other_leave_the_cell_undecided() -> None:
    first, second = grid(2, 2), grid(2, 2, absent=1)
    board = leaderboard([result_set("a", first), result_set("b", second)])
    row = only(board)
    assert (row.counts["present"], row.counts["absent"], row.counts["inconclusive"]) == (3, 0, 1)
    assert [(c.architecture, c.task, c.copies) for c in row.conflicts] == [
        ("net0", "task0", (("a", "present"), ("b", "absent")))
    ]
    assert forms.conflicts(board).lines == [("Toy", "One", "net0", "task0", "a: present, b: absent")]
    assert "4, 1 in conflict" in forms.table(board).lines[0]


def test_an_undecided_copy_is_not_outvoted_by_a_decided_one() -> None:
    """Else ten machines on which one run out of ten is lucky would make the claim present."""
    row = only(leaderboard([result_set("a", [record(effect=OPEN)]), result_set("b", [record()])]))
    assert [c.verdict for c in row.cells] == ["inconclusive"]
    assert row.prevalence is None
    assert row.conflicts == (), "decided here and undecided there is what chance does to a replication"


def test_the_answer_with_more_seeds_speaks_whatever_it_says() -> None:
    sets = [result_set("a", [record(effect=PRESENT)]), result_set("b", [record(effect=ABSENT, seeds=6)])]
    for order in (sets, sets[::-1]):
        row = only(leaderboard(order))
        assert (row.counts["absent"], row.counts["present"], row.conflicts) == (1, 0, ())


def test_a_crash_elsewhere_takes_nothing_away() -> None:
    row = only(
        leaderboard([result_set("a", [record(state="crashed", seeds=6)]), result_set("b", [record()])])
    )
    assert (row.counts["present"], row.counts["crashed"], row.conflicts) == (1, 0, ())


def test_sets_without_passed_controls_are_not_pooled_with_those_that_have_them() -> None:
    broken = [*grid(2, 2, absent=4), *controls(negative=PRESENT)]
    sets = [
        result_set("good", grid(2, 2)),
        result_set("broken", broken, controlled=False),
        result_set("none", grid(2, 2, absent=4), controlled=False),
    ]
    row = only(leaderboard(sets))
    assert (row.counts["present"], row.counts["absent"]) == (4, 0)
    assert [(s.label, s.pooled) for s in row.sets] == [("good", True), ("broken", False), ("none", False)]
    assert forms.table(leaderboard(sets)).lines[0][-1] == "validated in 1 of 3 sets"


def test_a_setting_of_a_positive_control_counts_in_no_set() -> None:
    """`reference` was chosen because it shows the claim; a set that measured it as a cell says so too."""
    row = only(leaderboard([result_set("a", [record("reference"), record("mlp")])]))
    assert [c.architecture for c in row.cells] == ["mlp"]


@pytest.mark.parametrize(
    "other",
    [{"version": 2}, {"claim": Within(low=0.9, high=1.2, unit="u")}, {"variant": "toy[steps=5]"}],
    ids=["version", "bound", "setting"],
)
def test_different_claims_are_never_one_row(other: dict[str, object]) -> None:
    sets = [result_set("a", grid(2, 2)), result_set("b", grid(2, 2, **other))]
    assert len(leaderboard(sets).rows) == 2


def test_claims_on_shares_have_no_pooled_effect() -> None:
    cells = [record(claim=Most(at_least=0.5), effect=PRESENT, seeds=6)]
    assert only(leaderboard([result_set("a", cells, controlled=False)])).pooled is None


def test_claims_of_a_form_have_no_pooled_effect() -> None:
    numbers = result_set("a", grid(2, 2))
    of_a_form = result_set("a", grid(2, 2), about=msgspec.structs.replace(TOY, sense="form"))
    assert only(leaderboard([numbers])).pooled is not None
    assert only(leaderboard([of_a_form])).pooled is None


# -------------------------------------------------------------------------------------- files and forms


def publish(root: Path, records: Sequence[CellRecord]) -> Path:
    return toy_cells.publish(root, records, phenomena={"toy": TOY})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    publish(tmp_path / "results" / "one", [*grid(2, 2), *controls()])
    publish(tmp_path / "results" / "two", [*grid(2, 2, absent=1), *controls()])
    return tmp_path / "results"


def test_every_set_of_a_folder_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "README.md").write_text("no set")
    (results / "empty").mkdir()
    assert command.show(command.leaderboard([results])) == 0
    assert "2 result set(s)" in capsys.readouterr().out
    assert command.show(command.leaderboard([results / "one", results / "one"])) == 0
    assert "1 result set(s)" in capsys.readouterr().out, "named twice, it counts once"


def test_the_default_is_the_results_of_this_folder(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    assert command.show(command.leaderboard()) == 0
    assert "2 result set(s)" in capsys.readouterr().out
    monkeypatch.chdir(results / "one")
    with pytest.raises(StoreError, match="no result set is here"):
        command.leaderboard()


def test_a_damaged_set_is_left_out_and_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(results / "two" / "plan.json.gz", b'{"suite": ')
    assert command.show(command.leaderboard([results], out=results / "out")) == 1
    out, err = capsys.readouterr()
    assert "1 result set(s)" in out
    assert f"left out: {results / 'two'}: a result set cannot be used: plan.json.gz is no JSON" in err
    assert "left out" in (results / "out" / "leaderboard.html").read_text()
    assert "left out" in (results / "out" / "leaderboard.md").read_text()
    (results / "one" / "plan.json.gz").unlink()
    with pytest.raises(StoreError, match="none of these result sets can be used"):
        command.leaderboard([results])


def test_all_forms_agree(results: Path) -> None:
    board = read_board([results])
    forms.write(board, results / "out")
    content = json.loads((results / "out" / "leaderboard.json").read_text())
    row = content["rows"][0]
    assert (row["counts"]["present"], row["decided"], row["shared"]) == (3, 3, 4)
    assert row["conflicts"] == [
        {"architecture": "net0", "task": "task0", "verdicts": [["one", "present"], ["two", "absent"]]}
    ]
    html = (results / "out" / "leaderboard.html").read_text()
    assert "http" not in html.replace("http-equiv", ""), "it opens without a network"
    assert "Toy 2020" in html
    text = (results / "out" / "leaderboard.md").read_text()
    for form in (html, text):
        assert "net0" in form
        assert "no score" not in form
    stream = io.StringIO()
    forms.print_board(board, stream)
    assert "Sets that contradict each other" in stream.getvalue()


def test_the_table_is_written_between_its_markers_and_nowhere_else(results: Path) -> None:
    path = results / "README.md"
    path.write_text("# Mine\n\n<!-- leaderboard: -->\nold\n<!-- end of leaderboard -->\n\nbelow\n")
    board = read_board([results])
    forms.write_between_markers(board, path)
    text = path.read_text()
    assert text.startswith("# Mine\n\n<!-- leaderboard: one two -->\n\n| ")
    assert text.endswith("<!-- end of leaderboard -->\n\nbelow\n")
    assert "old" not in text
    forms.write_between_markers(board, path)
    assert path.read_text() == text, "writing again changes nothing"
    assert sets_of(path) == ["one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- leaderboard: -->",
        "<!-- end of leaderboard -->\n<!-- leaderboard: -->",
        "<!-- leaderboard: -->\n<!-- leaderboard: -->\n<!-- end of leaderboard -->",
    ],
)
def test_a_file_without_one_pair_of_markers_is_left_alone(results: Path, text: str) -> None:
    path = results / "README.md"
    path.write_text(text)
    with pytest.raises(StoreError, match="no place in this file"):
        forms.write_between_markers(read_board([results]), path)
    assert path.read_text() == text


def test_a_set_whose_name_could_end_the_marker_is_refused(results: Path) -> None:
    path = results / "README.md"
    path.write_text("<!-- leaderboard: -->\n<!-- end of leaderboard -->\n")
    board = read_board([results])
    evil = replace(board, sets=(replace(board.sets[0], label="x --> <b>"),))
    with pytest.raises(StoreError, match="cannot be a file name"):
        forms.write_between_markers(evil, path)


HOSTILE = ("<script>alert(1)</script>", "../../etc", "\x1b[31mred", "a|b](javascript:x)", "\u202egnp")


def test_hostile_text_stays_text() -> None:
    about = msgspec.structs.replace(TOY, title=HOSTILE[0], source=HOSTILE[0], claims={"one": HOSTILE[3]})
    first = [record(name) for name in HOSTILE]
    second = [record(name, effect=ABSENT) for name in HOSTILE]
    sets = [result_set(HOSTILE[i], r, about=about) for i, r in enumerate((first, second))]
    board = leaderboard(sets, [(HOSTILE[2], HOSTILE[0])])
    seen: set[str] = set()
    links: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.add(tag)
            links.extend(value or "" for name, value in attrs if name == "href")

    html, text, stream = forms.html(board), forms.markdown(board), io.StringIO()
    Tags().feed(html)
    assert not seen & {"script", "img", "link", "iframe"}
    assert all(re.fullmatch("#[a-z0-9-]+", link) for link in links), "into the page, by names of its own"
    forms.print_board(board, stream)
    for form in (html, text, stream.getvalue()):
        assert not set(form) & {"\x1b", "\u202e"}
    assert "<script" not in text.replace(r"\<", "")
    assert "](" not in text.replace(r"\]", "")
    json.loads(forms.json_form(board))


# ------------------------------------------------------------------------------------ the published sets


def sets_of(path: Path) -> list[str]:
    """The names of the sets that the table between the markers of a file was made from."""
    (names,) = re.findall(r"^<!-- leaderboard:(.*)-->$", path.read_text(), re.MULTILINE)
    return names.split()


def test_the_published_table_is_what_the_published_sets_give(tmp_path: Path) -> None:
    """`universality leaderboard --write results/README.md SET...` writes it anew."""
    readme = RESULTS / "README.md"
    names = sets_of(readme)
    copy = tmp_path / "README.md"
    copy.write_text(readme.read_text())
    forms.write_between_markers(read_board([RESULTS / name for name in names]), copy)
    assert copy.read_text() == readme.read_text()


def test_every_published_set_is_in_the_table() -> None:
    ignore = (RESULTS.parent / ".gitignore").read_text()
    published = re.findall(r"^!results/([\w-]+)/$", ignore, re.MULTILINE)
    assert published
    assert sorted(sets_of(RESULTS / "README.md")) == sorted(published)


def test_a_board_of_no_folder_is_refused_and_one_folder_needs_no_list() -> None:
    with pytest.raises(StoreError, match="none of these result sets can be used"):
        read_board([])
    one = str(RESULTS / "quick-cpu")
    assert command.leaderboard(one).sets[0].layout.root == Path(one)  # type: ignore[arg-type]
