"""Suites: read exactly, written back exactly, refused with the reason and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from universality.errors import BadSuite, UniversalityError, UnknownName
from universality.plan import suite
from universality.plan.suite import CrossSpec, Suite, parse
from universality.plugin import registry

CROSS = """
[[cross]]
phenomena = ["grokking"]
architectures = ["mlp[width=8]", "lstm"]
tasks = ["modular[p=7]"]
"""


def test_a_suite_is_read_with_its_defaults() -> None:
    assert parse(f"name = 'a-b_1'\n{CROSS}", where="x") == Suite(
        name="a-b_1",
        crosses=(
            CrossSpec(
                phenomena=("grokking",), architectures=("mlp[width=8]", "lstm"), tasks=("modular[p=7]",)
            ),
        ),
    )


def test_an_axis_written_twice_is_asked_once() -> None:
    text = f"name = 'a'\n{CROSS}".replace('"lstm"', '"lstm", "lstm"')
    assert parse(text, where="x").crosses[0].architectures == ("mlp[width=8]", "lstm")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
axes = st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple)
crosses = st.builds(CrossSpec, phenomena=axes, architectures=axes, tasks=axes, seeds=st.integers(1, 10**6))
suites = st.builds(
    Suite,
    name=st.from_regex(r"[A-Za-z0-9_-]*[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True),
    description=st.text(st.characters(exclude_categories=["Cs"])),
    controls=st.booleans(),
    crosses=st.lists(crosses, min_size=1, max_size=3).map(tuple),
    sweeps=st.lists(crosses, max_size=2).map(tuple),
)


@given(suites)
def test_what_is_written_is_read_back(written: Suite) -> None:
    assert parse(written.toml(), where="x") == written


def test_control_characters_and_astral_letters_survive() -> None:
    # JSON would write a surrogate pair, which TOML refuses, and leave DEL bare.
    odd = Suite(
        name="a",
        description='"\\ \x00 \x1f \x7f \n \t \U0001f600 ü',
        crosses=(CrossSpec(phenomena=("p",), architectures=("a",), tasks=("arrays[path=\U0001f600.npz]",)),),
    )
    assert parse(odd.toml(), where="x") == odd


def unreadable(got: str) -> str:
    return (
        "a suite cannot be read\n"
        "  where:    x.toml\n"
        f"  got:      {got}\n"
        "  expected: name, and [[cross]] tables with phenomena, architectures and tasks: lists of names"
    )


MALFORMED: dict[str, tuple[str, str]] = {
    "not TOML": (
        "name = ",
        "a suite is not valid TOML\n  where:    x.toml\n  got:      Invalid value (at end of document)\n"
        '  expected: name = "mine", then [[cross]] tables',
    ),
    "unknown key": (
        f"name = 'a'\ndescripton = 'b'\n{CROSS}",
        "unknown key of a suite 'descripton'\n"
        "  where:    x.toml\n"
        "  expected: one of: control_seeds, controls, cross, description, name, sweep\n"
        "  do:       did you mean 'description'?",
    ),
    "crosses instead of cross": (
        f"name = 'a'\n{CROSS}".replace("cross", "crosses"),
        "unknown key of a suite 'crosses'\n"
        "  where:    x.toml\n"
        "  expected: one of: control_seeds, controls, cross, description, name, sweep\n"
        "  do:       did you mean 'cross' or 'control_seeds'?",
    ),
    "unknown key of a cross": (
        f"name = 'a'\n{CROSS}seed = 3",
        "unknown key of a suite 'seed'\n"
        "  where:    x.toml, cross 1\n"
        "  expected: one of: architectures, first_seed, phenomena, seeds, tasks\n"
        "  do:       did you mean 'seeds'?",
    ),
    "no name": (CROSS, unreadable("Object missing required field `name`")),
    "a path as name": (
        f"name = '../x'\n{CROSS}",
        "a suite needs a name of letters, digits, - and _\n  where:    x.toml\n  got:      name = '../x'\n"
        '  expected: such as name = "my-suite"',
    ),
    "a number as name": (f"name = 7\n{CROSS}", unreadable("Expected `str`, got `int` - at `$.name`")),
    "controls as text": (
        f"name = 'a'\ncontrols = 'no'\n{CROSS}",
        unreadable("Expected `bool`, got `str` - at `$.controls`"),
    ),
    "controls as number": (
        f"name = 'a'\ncontrols = 0\n{CROSS}",
        unreadable("Expected `bool`, got `int` - at `$.controls`"),
    ),
    "description as list": (
        f"name = 'a'\ndescription = ['b']\n{CROSS}",
        unreadable("Expected `str`, got `array` - at `$.description`"),
    ),
    "no cross": ("name = 'a'", unreadable("Object missing required field `cross`")),
    "empty list of crosses": (
        "name = 'a'\ncross = []",
        unreadable("Expected `array` of length >= 1 - at `$.cross`"),
    ),
    "a cross that is no table": (
        "name = 'a'\ncross = [3]",
        unreadable("Expected `object`, got `int` - at `$.cross[0]`"),
    ),
    "one table of crosses": (
        f"name = 'a'\n{CROSS}".replace("[[cross]]", "[cross]"),
        unreadable("Expected `array`, got `object` - at `$.cross`"),
    ),
    "empty axis, in the second cross": (
        f"name = 'a'\n{CROSS}\n{CROSS}".rsplit("tasks", 1)[0] + "tasks = []",
        unreadable("architectures without tasks, or tasks without architectures - at `$.cross[1]`"),
    ),
    "absent axis": (
        "name = 'a'\n[[cross]]\narchitectures = ['mlp']\ntasks = ['digits']",
        unreadable("Object missing required field `phenomena` - at `$.cross[0]`"),
    ),
    "a sweep that is no table": (
        f"name = 'a'\nsweep = 3\n{CROSS}",
        unreadable("Expected `array`, got `int` - at `$.sweep`"),
    ),
    "a sweep without tasks": (
        f"name = 'a'\n{CROSS}[[sweep]]\narchitectures = ['mlp']\nphenomena = ['grokking']",
        unreadable("architectures without tasks, or tasks without architectures - at `$.sweep[0]`"),
    ),
    "a sweep of controls": (
        f"name = 'a'\n{CROSS}[[sweep]]\nphenomena = ['grokking']",
        unreadable("a [[sweep]] without architectures and tasks"),
    ),
    "controls alone, and none of them": (
        "name = 'a'\ncontrols = false\n[[cross]]\nphenomena = ['grokking']",
        unreadable("a [[cross]] without architectures and tasks, and controls = false"),
    ),
    "replicates of no controls": (
        f"name = 'a'\ncontrols = false\ncontrol_seeds = 9\n{CROSS}",
        unreadable("control_seeds where controls = false"),
    ),
    "fewer replicates than none": (
        f"name = 'a'\ncontrol_seeds = -1\n{CROSS}",
        unreadable("Expected `int` >= 0 - at `$.control_seeds`"),
    ),
    "text instead of a list": (
        f"name = 'a'\n{CROSS}".replace('["grokking"]', '"grokking"'),
        unreadable("Expected `array`, got `str` - at `$.cross[0].phenomena`"),
    ),
    "a number in a list": (
        f"name = 'a'\n{CROSS}".replace('"lstm"', "3"),
        unreadable("Expected `str`, got `int` - at `$.cross[0].architectures[1]`"),
    ),
} | {
    f"seeds = {written}": (
        f"name = 'a'\n{CROSS}seeds = {written}",
        unreadable(f"Expected `int`{told} - at `$.cross[0].seeds`"),
    )
    for written, told in [
        ("true", ", got `bool`"),
        ("0", " >= 1"),
        ("-1", " >= 1"),
        ("3.0", ", got `float`"),
        ("'3'", ", got `str`"),
        ("[1]", ", got `array`"),
    ]
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_suite_is_refused_with_the_reason(case: str) -> None:
    text, expected = MALFORMED[case]
    with pytest.raises(BadSuite) as caught:
        parse(text, where="x.toml")
    assert str(caught.value) == expected


toml_values = st.one_of(
    st.just("true"), st.just("3"), st.just("-1"), st.just("1.5"), st.just("'a'"), st.just("[]"),
    st.just("['a']"), st.just("[1]"), st.just("{a = 1}"), st.just("1979-05-27"), st.just("nan"),
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["name", "description", "controls", "cross", "sweep", "seeds", "x"]),
        toml_values,
        max_size=5,
    ),
    st.dictionaries(
        st.sampled_from(["phenomena", "architectures", "tasks", "seeds", "y"]), toml_values, max_size=5
    ),
)
def test_any_values_make_a_suite_or_a_bad_suite(top: dict[str, str], cross: dict[str, str]) -> None:
    lines = [f"{k} = {v}" for k, v in top.items()]
    if "cross" not in top:
        lines += ["[[cross]]", *(f"{k} = {v}" for k, v in cross.items())]
    try:
        suite_read = parse("\n".join(lines), where="x")
    except BadSuite:
        return
    assert parse(suite_read.toml(), where="x") == suite_read


def test_a_suite_is_loaded_by_the_path_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"name = 'ü'\n{CROSS}", encoding="utf-8")
    assert suite.load(str(path)).name == "ü"


def test_a_file_that_does_not_exist_is_not_mistaken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(BadSuite) as caught:
        suite.load(str(tmp_path / "quick.toml"))
    assert str(caught.value) == (
        f"no such suite file\n  got: {tmp_path / 'quick.toml'}\n"
        "  do:  check the path; `universality list suites` names those that come along"
    )


def test_a_file_of_other_bytes_than_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(BadSuite, match="a suite cannot be read") as caught:
        suite.load(str(path))
    assert caught.value.where == str(path)
    assert "can't decode byte 0xff" in caught.value.got


def test_an_unknown_suite_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName) as caught:
        suite.load("quikc")
    assert str(caught.value) == (
        "unknown suite 'quikc'\n"
        f"  expected: one of: {', '.join(sorted(suite.builtin()))}\n"
        "  do:       did you mean 'quick'?"
    )


# -------------------------------------------------------------------------------------- built-in suites


def test_there_is_a_quick_suite() -> None:
    assert "quick" in suite.builtin()


@pytest.mark.parametrize("name", suite.builtin())
def test_a_builtin_suite_is_named_as_its_file_described_and_validated(name: str) -> None:
    found = suite.load(name)
    assert found.name == name
    assert found.description
    assert found.controls


@pytest.mark.parametrize("name", suite.builtin())
def test_every_address_in_a_builtin_suite_resolves(name: str) -> None:
    wrong: dict[str, Any] = {}
    found = suite.load(name)
    for cross in (*found.crosses, *found.sweeps):
        kinds = {"phenomenon": cross.phenomena, "architecture": cross.architectures, "task": cross.tasks}
        for kind, addresses in kinds.items():
            for address in addresses:
                try:
                    registry.resolve(kind, address)
                except UniversalityError as error:
                    wrong[address] = str(error)
    assert wrong == {}


@pytest.mark.parametrize("name", suite.builtin())
def test_a_builtin_suite_asks_for_each_cross_once(name: str) -> None:
    found = suite.load(name)
    asked = [replace(cross, seeds=1) for cross in found.crosses]
    assert len(set(asked)) == len(asked)
