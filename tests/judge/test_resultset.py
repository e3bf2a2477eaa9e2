"""A result set is read whole or refused with what is wrong, and everything else is a function of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import universality
from tests.judge.toy_cells import PASSING, PHENOMENA, cell, effects, group, publish
from tests.stored import content, edit, edit_bytes, edit_line, write_lines
from universality.errors import StoreError
from universality.judge.controls import judge
from universality.judge.resultset import ResultSet, find, labels
from universality.store.compressed import gunzipped
from universality.store.files import decode_json
from universality.store.layout import Layout
from universality.store.measurements import lines

PUBLISHED = sorted(
    path.parent for path in (Path(universality.__file__).parents[1] / "results").glob("*/manifest.json")
)

CELLS = [cell(effects(0.5, 0.5, 0.6)), cell([group(0, gate=1.0)], architecture="cnn"), *PASSING]


def refusal(root: Path) -> StoreError:
    with pytest.raises(StoreError, match="a result set cannot be used") as caught:
        ResultSet.load(root)
    return caught.value


def test_a_set_is_its_plan_and_its_measurements_in_the_order_of_the_plan(tmp_path: Path) -> None:
    root = publish(tmp_path / "mine", CELLS[::-1])
    results = ResultSet.load(root)
    assert results.label == results.plan.suite == "mine"
    assert results.records == tuple(CELLS[::-1])
    assert results.verdicts == tuple(judge(CELLS[::-1]))
    assert [(row.phenomenon, row.about) for row in results.rows] == [("edge", PHENOMENA["edge"])]
    assert ResultSet.load(root, "another label").label == "another label"


def test_measurements_that_the_plan_does_not_name_are_left_out(tmp_path: Path) -> None:
    """Between the writing of the measurements and of the plan, those of the earlier plan stand behind the new ones."""
    root = publish(tmp_path / "mine", CELLS)
    write_lines(root, [cell(effects(0.5), task="other"), *CELLS[::-1]])
    assert ResultSet.load(root).records == tuple(CELLS)


def test_a_measurement_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    root = publish(tmp_path / "mine", CELLS)
    write_lines(root, [*CELLS, CELLS[0]])
    assert refusal(root).got == f"measurements.jsonl.gz holds {CELLS[0].id} twice"


def test_a_set_of_the_earlier_form_says_how_it_is_made_anew(tmp_path: Path) -> None:
    layout = Layout(publish(tmp_path / "mine", CELLS))
    layout.plan.rename(layout.root / "plan.json")
    error = refusal(layout.root)
    assert error.got == "plan.json.gz is missing; plan.json is of an earlier version of universality"
    assert "run the same `universality run` again" in error.do


def test_a_set_in_which_nothing_was_measured_is_refused(tmp_path: Path) -> None:
    assert refusal(publish(tmp_path / "mine", [])).got == (
        "plan.json.gz names no measurement: nothing has been measured here yet"
    )


def test_a_path_at_which_there_is_nothing_is_what_to_check(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").do == "check the path"


def test_a_measurement_of_a_phenomenon_that_the_plan_does_not_describe_is_refused(tmp_path: Path) -> None:
    root = publish(tmp_path / "mine", CELLS, phenomena={"other": PHENOMENA["edge"]})
    assert refusal(root).got == (
        f"measurements.jsonl.gz holds {CELLS[0].id}, of 'edge', of which the plan says nothing"
    )


def test_damage_is_named_and_nothing_is_concluded(tmp_path: Path) -> None:
    root = publish(tmp_path / "first", CELLS)
    edit_bytes(root, 2, lambda line: line[:100] + b"\n")
    error = refusal(root)
    assert "measurements.jsonl.gz line 3 is no JSON" in error.got
    assert f"universality check {root}" in error.do


def test_a_set_of_an_earlier_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    root = publish(tmp_path / "first", CELLS)
    edit(Layout(root).manifest, lambda raw: raw.update(schema_version=1))
    with pytest.raises(StoreError, match="a result set of another version") as caught:
        ResultSet.load(root)
    assert caught.value.got == "manifest.json has schema version 1, this reads 2"
    assert "run its suite" in caught.value.do


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.update(architecture="x" * 10_000_000), "a text of 10000000 characters"),
        (lambda raw: raw["groups"][0]["outcome"].update(effect=10**400), "a number beyond 1e+150"),
        (
            lambda raw: raw["groups"][0]["outcome"].update(effect="1"),
            "got `str` - at `$.groups[0].outcome.effect`",
        ),
        (
            lambda raw: raw["groups"][0]["outcome"].update(effect=True),
            "got `bool` - at `$.groups[0].outcome.effect`",
        ),
        (
            lambda raw: raw["groups"][0]["outcome"].update(effect=1),
            "not in the form that universality writes",
        ),
        (
            lambda raw: raw["groups"][0]["outcome"]["gates"].append(0),
            "got `int` - at `$.groups[0].outcome.gates[0]`",
        ),
        (lambda raw: raw.update(task="other"), "holds the measurement"),
        (lambda raw: raw.update(extra=1), "unknown field `extra`"),
        (
            lambda raw: raw["groups"][0].update(state="fine"),
            "Invalid enum value 'fine' - at `$.groups[0].state`",
        ),
        (
            lambda raw: raw["groups"][0].update(units="s0"),
            "Expected `array`, got `str` - at `$.groups[0].units`",
        ),
        (lambda raw: raw["groups"][0].update(units=[]), "of length >= 1 - at `$.groups[0].units`"),
        (lambda raw: raw.update(groups=raw["groups"] * 2), "two groups of one name"),
        (lambda raw: raw.update(version="1"), "Expected `int`, got `str` - at `$.version`"),
        (lambda raw: raw.update(version=True), "Expected `int`, got `bool` - at `$.version`"),
        (lambda raw: raw.update(expects=["present"]), "no control with some"),
        (lambda raw: raw["claim"].update(kind="maybe"), "Invalid value 'maybe' - at `$.claim.kind`"),
        (lambda raw: raw["claim"].update(low=2.0), "the lower bound lies above the upper"),
    ],
)
def test_a_measurement_of_another_shape_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    root = publish(tmp_path / "first", CELLS)
    edit_line(root, 0, change)
    error = refusal(root)
    assert error.got.startswith("measurements.jsonl.gz line 1 ")
    assert why in error.got


# ------------------------------------------------------------------------------------------ finding sets


def test_sets_are_found_in_the_folders_below_a_place_and_count_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        publish(tmp_path / "results" / name, CELLS)
    (tmp_path / "results" / "README.md").write_text("no set")
    (tmp_path / "results" / "empty").mkdir()
    first, second = tmp_path / "results" / "a", tmp_path / "results" / "b"
    assert find([tmp_path / "results"]) == [first, second]
    assert find([second, tmp_path / "results", second]) == [second, first]


def test_a_place_without_a_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no result set is here") as caught:
        find([tmp_path])
    assert caught.value.where == str(tmp_path)


def test_sets_are_called_by_their_folders_or_by_their_paths_where_two_share_a_name(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "one", tmp_path / "y" / "one", tmp_path / "two"]
    assert labels(paths) == [str(paths[0]), str(paths[1]), "two"]


# ------------------------------------------------------------------------------------ the published sets


def test_there_are_published_sets() -> None:
    """Beside sets of one's own, such as that of `make run`."""
    assert {path.name for path in PUBLISHED} >= {"quick-cpu", "standard-cpu", "strands-cpu", "cross-cpu"}


@pytest.mark.parametrize("root", PUBLISHED, ids=lambda path: path.name)
def test_the_ids_of_published_runs_and_measurements_have_not_changed(root: Path) -> None:
    """Ids hash what was asked: were they to change, every stored run would be orphaned."""
    results = ResultSet.load(root)
    assert {run.spec.id: run_id for run_id, run in results.plan.runs.items()} == {
        run_id: run_id for run_id in results.plan.runs
    }
    names = [decode_json(line)["id"] for line in lines(Layout(root).measurements)]
    assert [record.id for record in results.records] == names
    assert {run for r in results.records for g in r.groups for run in g.runs.values()} <= set(
        results.plan.runs
    )


@pytest.mark.parametrize("root", PUBLISHED, ids=lambda path: path.name)
def test_what_is_published_is_written_as_this_version_writes_it(root: Path) -> None:
    results = ResultSet.load(root)
    # Another zlib makes other bytes of the same content.
    assert gunzipped(results.plan.file(), 1 << 30) == content(Layout(root).plan)
    assert b"".join(record.line() for record in results.records) == content(Layout(root).measurements)


@pytest.mark.parametrize("root", PUBLISHED, ids=lambda path: path.name)
def test_every_claim_that_is_published_has_a_short_title(root: Path) -> None:
    for row in ResultSet.load(root).rows:
        assert row.title != row.claim_name
        assert len(row.title) <= 40


def test_judging_and_reporting_do_not_import_torch() -> None:
    modules = "judge.resultset", "judge.compare", "judge.leaderboard", "output.build"
    code = (
        f"import sys, {', '.join(f'universality.{m}' for m in modules)};"
        "sys.exit(sorted(m for m in sys.modules if m.split('.')[0] == 'torch')[:1] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
