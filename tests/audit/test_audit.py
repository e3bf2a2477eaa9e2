"""Checking result sets that somebody else made: every kind of damage and mischief is named, none is run."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from tests.stored import edit, edit_bytes, edit_line, write_lines
from universality.audit.findings import MAX_LINES
from universality.audit.result_set import audit
from universality.commands.check import check, show
from universality.judge.resultset import ResultSet, read_manifest
from universality.output.write import write_tables
from universality.plan.plan_json import PlanRecord
from universality.plan.runs_file import PlannedRun
from universality.plan.suite import CrossSpec, Suite
from universality.plugin.bounds import Within
from universality.plugin.charts import Dots, Lines
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import About, ControlId, Sign
from universality.plugin.spec import Component, Recipe, RunSpec, parse_address
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord, GroupRecord
from universality.store.layout import Layout
from universality.store.store import Recording, Store

CLAIM = Within(low=0.9, high=1.1, unit="u")
ABOUT = About(
    title="Toy",
    strand="laws",
    sense="number",
    source="Toy 2020",
    claims={"one": "is one"},
    charts={"one": (Lines({"train_loss": "loss"}, "loss", level=1), Dots("predicted"))},
)
SUITE = Suite(
    name="mine", crosses=(CrossSpec(phenomena=("toy",), architectures=("mlp", "cnn"), tasks=("points",)),)
)


def spec(architecture: str, seed: int) -> RunSpec:
    return RunSpec(Component(architecture), Component("points"), Recipe(steps=4, lr=0.1), seed)


def cell(architecture: str, effect: float, control: Sign | None = None) -> CellRecord:
    groups = tuple(
        GroupRecord(
            key=f"s{seed}",
            units=(f"s{seed}",),
            runs={"run": spec(architecture, seed).id},
            state="done",
            outcome=Outcome(effect=effect + 0.01 * seed, details={"final": float("nan")}),
        )
        for seed in range(3)
    )
    return CellRecord(
        phenomenon="toy",
        variant="toy",
        version=1,
        claim_name="one",
        claim=CLAIM,
        architecture=architecture,
        task="points",
        groups=groups,
        control=None if control is None else ControlId(control, architecture),
        expects=() if control is None else ("present",) if control == "positive" else ("absent",),
    )


OWN = "bounds were not compared, as this is not built in: toy, version 1"

CELLS = [
    cell("mlp", 1.0),
    cell("cnn", 2.0),
    cell("wide", 1.0, "positive"),
    cell("lazy", 2.0, "negative"),
]


PLAN = PlanRecord(
    suite="mine",
    description="",
    plugins=(),
    data_root=False,
    wall_seconds=0.0,
    run_seconds=0.0,
    probe_seconds=0.0,
    environment={"commit": "c0ffee", "device": "cpu", "torch": "2"},
    phenomena={"toy": ABOUT},
    settings={"toy": Component("toy")},
    tiers={},
    cells=tuple(r.id for r in CELLS),
    runs={
        s.id: PlannedRun(spec=s, observe={"loss": (0, 4)})
        for s in (spec(r.architecture, seed) for r in CELLS for seed in range(3))
    },
)


def write_tables_of(root: Path, records: Sequence[CellRecord]) -> None:
    """The tables that belong to these measurements, as the program itself writes them."""
    layout = Layout(root)
    write_tables(ResultSet(layout, "mine", read_manifest(layout), PLAN, tuple(records)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole result set with its runs, as the program itself writes it."""
    store = Store.create(tmp_path_factory.mktemp("base") / "mine")
    for r in CELLS:
        for seed in range(3):
            series = {"loss": Series(np.arange(5), np.linspace(1, 0, 5))}
            recording = Recording(
                spec=spec(r.architecture, seed),
                state="done",
                series=series,
                arrays={},
                observed={"loss": (0, 4)},
                facts={"lr": 0.1},
                seconds=0.1,
            )
            store.publish(recording)
    layout = store.layout
    store.write(layout.suite, SUITE.toml())
    store.write_measurements(CELLS, PLAN.file())
    write_tables_of(layout.root, CELLS)
    for folder in layout.folders:
        if not list(folder.iterdir()):
            folder.rmdir()
    return layout.root


@pytest.fixture
def mine(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "mine"))


def problems(root: Path) -> list[str]:
    return [str(problem) for problem in audit(root).problems]


PLAN_FILE = "plan.json.gz"
LINES = "measurements.jsonl.gz"


# --------------------------------------------------------------------------------------------- whole sets


def test_a_set_as_the_program_writes_it_holds_together(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = audit(mine)
    assert problems(mine) == []
    assert report.notes == [OWN]
    assert dict(report.counts) == {"measurements": 4, "recordings": 12, "cells": 2, "controls": 2}
    assert show(check([str(mine)])) == 0
    assert "holds together (4 measurements, 12 recordings, 2 cells, 2 controls)" in capsys.readouterr().out


def test_a_group_that_was_measured_may_rest_on_a_run_that_diverged(mine: Path) -> None:
    """Sweeps over rates are measured where one of them is too large (`Claim.diverged`)."""
    shutil.rmtree(mine / RUN)
    series = {"loss": Series(np.arange(5), np.linspace(1, 9, 5))}
    found = Recording(
        spec=spec("mlp", 0), state="diverged", series=series, arrays={}, observed={"loss": (0, 4)},
        facts={"lr": 0.1}, seconds=0.1,
    )  # fmt: skip
    store = Store.open(mine)
    store.publish(found)
    assert not [each for each in problems(mine) if "called done" in each]


def test_a_claim_that_its_controls_do_not_validate_is_noted_with_what_the_tables_say(mine: Path) -> None:
    lost = CELLS[-1]
    write_lines(mine, CELLS[:-1])
    edit(mine / PLAN_FILE, lambda p: p["cells"].remove(lost.id))
    write_tables_of(mine, CELLS[:-1])
    assert problems(mine) == []
    why = "no negative control was run"
    assert f"toy.one is unvalidated: {why}" in audit(mine).notes
    assert why in (mine / "universality.csv").read_text()


def test_a_published_set_without_runs_holds_together_and_says_what_was_not_checked(mine: Path) -> None:
    shutil.rmtree(mine / "runs")
    assert problems(mine) == []
    assert audit(mine).notes == [OWN, "no runs here: measurements cannot be made anew"]


def test_looking_changes_nothing(mine: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in mine.rglob("*")}
    audit(mine)
    assert {p: p.stat().st_mtime_ns for p in mine.rglob("*")} == before


# ------------------------------------------------------------------------------------------- what is wrong

UNBOUNDED = {"name": "reached", "value": 1.0, "at_least": None, "at_most": None}
RAGGED = {"rows": ["a"], "columns": ["b"], "values": [[1.0, 2.0]]}
MEASUREMENT = f"{LINES}, line 1"
RUN = f"runs/{spec('mlp', 0).id}"

Change = Callable[[Path], object]


def in_json(name: str, change: Callable[[Any], object]) -> Change:
    return lambda root: edit(root / name, change)


def in_line(change: Callable[[Any], object], number: int = 0) -> Change:
    return lambda root: edit_line(root, number, change)


def in_bytes(old: bytes, new: bytes) -> Change:
    def changed(line: bytes) -> bytes:
        assert old in line
        return line.replace(old, new, 1)

    return lambda root: edit_bytes(root, 0, changed)


def in_chart(**change: Any) -> Change:
    return in_json(PLAN_FILE, lambda p: p["phenomena"]["toy"]["charts"]["one"][0].update(change))


def appended(name: str, text: str) -> Change:
    return lambda root: (root / name).write_text((root / name).read_text() + text)


def replaced(name: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return change


def effect(value: object) -> Change:
    return in_line(lambda m: m["groups"][0]["outcome"].update(effect=value))


def renamed(old: str, new: str) -> Change:
    return lambda root: (root / old).rename(root / new)


def with_name(architecture: str) -> Change:
    return with_changed(architecture=architecture)


def with_changed(**changes: Any) -> Change:
    """A measurement with these changes and the id that belongs to it, in the plan."""

    def change(root: Path) -> None:
        record = msgspec.structs.replace(CELLS[0], **changes)
        write_lines(root, [record, *CELLS[1:]])
        edit(Layout(root).plan, lambda p: p.update(cells=[record.id, *p["cells"][1:]]))
        write_tables_of(root, [record, *CELLS[1:]])

    return change


WRONG: dict[str, tuple[Change, str]] = {
    # Half-written sets.
    "no manifest": (lambda r: (r / "manifest.json").unlink(), ".: holds no manifest.json"),
    "no plan": (lambda r: (r / PLAN_FILE).unlink(), "plan.json.gz: is missing"),
    "no suite": (lambda r: (r / "suite.toml").unlink(), "suite.toml: is missing"),
    "no measurements": (lambda r: (r / LINES).unlink(), f"{LINES}: is missing"),
    "one measurement": (
        lambda r: write_lines(r, CELLS[1:]),
        f"{LINES}: lacks {CELLS[0].id}; the plan asks for it",
    ),
    "another order": (lambda r: write_lines(r, CELLS[::-1]), f"{LINES}: is in another order than the plan"),
    "a measurement twice": (
        lambda r: write_lines(r, [*CELLS, CELLS[0]]),
        f"{LINES}, line 5: holds {CELLS[0].id} a second time",
    ),
    "half a file of measurements": (
        lambda r: (r / LINES).write_bytes((r / LINES).read_bytes()[:-20]),
        f"{LINES}: is damaged: it ends too early",
    ),
    "something behind the measurements": (
        lambda r: (r / LINES).write_bytes((r / LINES).read_bytes() * 2),
        f"{LINES}: is damaged: something stands behind its end",
    ),
    "measurements of the earlier form": (
        lambda r: (r / PLAN_FILE).rename(r / "plan.json"),
        "plan.json: is of an earlier version; the same `universality run` makes it anew",
    ),
    "no evidence": (lambda r: (r / "evidence.csv").unlink(), "evidence.csv: is missing"),
    "no report": (lambda r: shutil.rmtree(r / "report"), "report/universality.md: is missing"),
    "half a measurement": (
        lambda r: edit_bytes(r, 0, lambda line: line[:200] + b"\n"),
        f"{MEASUREMENT}: is no JSON of a result set",
    ),
    "an empty plan": (in_json(PLAN_FILE, lambda p: p.update(cells=[])), "plan.json.gz: asks for no cell"),
    # Tampering.
    "an effect": (effect(1.5), "evidence.csv: toy, one, mlp, points: "),
    "a row of evidence": (
        replaced("evidence.csv", "points,,,,,yes,present", "points,,,,,yes,absent"),
        "evidence.csv: toy, one, mlp, points: verdict is 'absent', the measurements give 'present'",
    ),
    "a row too few": (
        lambda r: (r / "evidence.csv").write_text(
            "".join((r / "evidence.csv").read_text().splitlines(True)[:-1])
        ),
        "evidence.csv: has 3 rows, the measurements give 4",
    ),
    "the universality table": (
        replaced("universality.csv", ",validated,", ",unvalidated,"),
        "universality.csv: toy, one: controls is 'unvalidated'",
    ),
    "the Markdown table": (
        appended("report/universality.md", "everything is universal"),
        "report/universality.md: is not what",
    ),
    "a cell left out": (
        lambda r: (
            edit(r / PLAN_FILE, lambda p: p["cells"].pop(1)),
            write_lines(r, [CELLS[0], *CELLS[2:]]),
        ),
        "suite.toml: asks for 1 cells of toy, cnn, points; 0 are here",
    ),
    "a cell more than planned": (
        in_json(PLAN_FILE, lambda p: p["cells"].pop(0)),
        f"{LINES}, {CELLS[0].id}: is not in the plan",
    ),
    "a suite that asks for less": (
        replaced("suite.toml", '"mlp", "cnn"', '"mlp"'),
        "plan.json.gz: holds a cell that the suite does not ask for: toy, cnn, points",
    ),
    "a verdict that was expected": (
        in_line(lambda m: m.update(expects=["present"]), 3),
        "is damaged: a negative control that does not expect absent",
    ),
    "a bound": (
        in_line(lambda m: m["claim"].update(high=3.0)),
        "evidence.csv: toy, one, mlp, points",
    ),
    "an id": (in_line(lambda m: m.update(id="0123456789ab")), "holds the measurement"),
    "another run": (
        in_json(PLAN_FILE, lambda p: p["runs"].pop(spec("mlp", 0).id)),
        f"{LINES}, {CELLS[0].id}: draws on a run that is not planned: {spec('mlp', 0).id}",
    ),
    "the settings of a run": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 0).id]["spec"]["recipe"].update(lr=0.2)),
        f"plan.json.gz: the settings of {spec('mlp', 0).id} are those of mlp-points-s0-",
    ),
    "a run's numbers": (
        lambda r: (r / RUN / "arrays.safetensors").write_bytes(
            (r / RUN / "arrays.safetensors").read_bytes()[:-1] + b"\1"
        ),
        f"{RUN}: arrays.safetensors does not have the sha256 of manifest.json",
    ),
    "a run's settings": (
        in_json(f"{RUN}/spec.json", lambda s: s.update(seed=9)),
        f"{RUN}: spec.json does not have the sha256",
    ),
    "a lost run": (
        lambda r: shutil.rmtree(r / RUN),
        f"{LINES}, {CELLS[0].id}: s0 is called done, its run {spec('mlp', 0).id} is not here",
    ),
    "a run under another name": (renamed(RUN, f"{RUN}x"), f"{RUN}x: holds the run {spec('mlp', 0).id}"),
    "another folder name": (
        in_json(PLAN_FILE, lambda p: p.update(suite="theirs")),
        "plan.json.gz: is of the suite 'theirs', the folder is 'mine'",
    ),
    "another suite name": (
        replaced("suite.toml", '"mine"', '"theirs"'),
        "suite.toml: is called 'theirs', the plan 'mine'",
    ),
    # Mischief.
    "a huge number": (effect(10**400), f"{MEASUREMENT}: is no JSON of a result set: a number beyond 1e+150"),
    "a huge float": (effect(1e200), f"{MEASUREMENT}: is no JSON of a result set: a number beyond 1e+150"),
    "1e999": (
        in_bytes(b'"effect":1.0', b'"effect":1e999'),
        f"{MEASUREMENT}: is not in the form that universality writes",
    ),
    "ten thousand digits": (
        in_bytes(b'"effect":1.0', b'"effect":' + b"9" * 10_000),
        f"{MEASUREMENT}: is no JSON of a result set",
    ),
    "NaN": (
        in_bytes(b'"effect":1.0', b'"effect":NaN'),
        f"{MEASUREMENT}: is no JSON of a result set: NaN is not JSON",
    ),
    "deep JSON": (
        lambda r: edit_bytes(r, 0, lambda line: b"[" * 200_000 + b"]" * 200_000 + b"\n"),
        f"{MEASUREMENT}: is nested too deeply",
    ),
    "a repeated key": (
        in_bytes(b'"effect":1.0', b'"effect":5.0,"effect":1.0'),
        f"{MEASUREMENT}: is not in the form that universality writes (a repeated key",
    ),
    "no UTF-8": (lambda r: edit_bytes(r, 0, lambda line: b"\xff\xfe{\n"), f"{MEASUREMENT}: is no JSON"),
    "path traversal in the plan": (
        in_json(PLAN_FILE, lambda p: p["cells"].append("../../etc/passwd")),
        "plan.json.gz: is damaged: a name cannot be a file name: '../../etc/passwd'",
    ),
    "path traversal in a run": (
        in_json(PLAN_FILE, lambda p: p["runs"].update({"../x": next(iter(p["runs"].values()))})),
        "plan.json.gz: is damaged: a name cannot be a file name: '../x'",
    ),
    "path traversal in a run of a measurement": (
        with_changed(groups=(msgspec.structs.replace(CELLS[0].groups[0], runs={"run": "../x"}),)),
        "draws on a run that is not planned: ../x",
    ),
    "escapes in a unit": (
        with_changed(claim=Within(low=0.9, high=1.1, unit="\x1b[31m")),
        "has unprintable text: '\\x1b[31m'",
    ),
    "escapes in a control": (
        in_line(lambda m: m["control"].update(name="\x1b[31m"), 2),
        f"{LINES}, line 3: holds the measurement",
    ),
    "a folder of plugins somewhere": (
        in_json(PLAN_FILE, lambda p: p.update(plugins=["mine", "/home/me/mine"])),
        "plan.json.gz: is damaged: '/home/me/mine' is a path of somebody's machine",
    ),
    "a place of data": (
        in_json(PLAN_FILE, lambda p: p.update(data_root="/home/me")),
        "plan.json.gz: is damaged: Expected `bool`, got `str` - at `$.data_root`",
    ),
    "a script as a name": (
        with_name("<script>alert(1)</script>"),
        "its architecture is no address: '<script>alert(1)</script>'",
    ),
    "a path as a name": (with_name("../../etc"), "its architecture is no address: '../../etc'"),
    "escapes in a name": (with_name("mlp\x1b[31m"), "its architecture is no address"),
    "a name of 10 MB": (
        in_line(lambda m: m.update(architecture="x" * 10_000_000)),
        f"{MEASUREMENT}: is no JSON of a result set: a text of 10000000 characters, at most 10000",
    ),
    "escapes in a title": (
        in_json(PLAN_FILE, lambda p: p["phenomena"]["toy"].update(title="\x1b]0;owned\x07")),
        "plan.json.gz: describes a phenomenon with unprintable text",
    ),
    "escapes in a chart": (
        in_chart(series=[["train_loss", "\x1b[31m"]]),
        "plan.json.gz: is damaged: a title in series of a chart is a text of at most 120 characters in one line",
    ),
    "a chart that nobody can read": (
        in_chart(label="x" * 5000),
        "plan.json.gz: is damaged: label of a chart is a text of at most 120 characters",
    ),
    "a chart of a thousand lines": (
        in_chart(series=[[f"s{i}", ""] for i in range(1000)]),
        "plan.json.gz: is damaged: Expected `array` of length <= 12",
    ),
    "a chart at infinity": (in_chart(level={"$float": "inf"}), "level is a finite number, got inf"),
    "a chart of another kind": (in_chart(kind="pie"), "plan.json.gz: is damaged: Invalid value 'pie'"),
    "a chart of a claim that is not made": (
        in_json(
            PLAN_FILE,
            lambda p: p["phenomena"]["toy"]["charts"].update(two=p["phenomena"]["toy"]["charts"]["one"]),
        ),
        "plan.json.gz: draws a claim that 'toy' does not make: 'two'",
    ),
    "a link": (lambda r: (r / "report" / "x.png").symlink_to("/etc/passwd"), "report/x.png: is a link"),
    "a link for the measurements": (
        lambda r: ((r / LINES).unlink(), (r / LINES).symlink_to("/etc/passwd")),
        f"{LINES}: is a link, which is not followed",
    ),
    "a link for a folder": (
        lambda r: (shutil.rmtree(r / "report"), (r / "report").symlink_to("/etc")),
        "report: is a link, which is not followed",
    ),
    "a link in a run": (
        lambda r: ((r / RUN / "log.txt").unlink(), (r / RUN / "log.txt").symlink_to("/etc/passwd")),
        f"{RUN}/log.txt: is a link, which is not followed",
    ),
    "a pipe": (lambda r: os.mkfifo(r / "report" / "x.md"), "report/x.md: is no plain file"),
    "a pickle": (
        lambda r: (r / "weights.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR."),
        "weights.pkl: is a file that no result set has",
    ),
    "a pickle in a run": (
        lambda r: (r / RUN / "weights.pt").write_bytes(b"\x80\x04"),
        f"{RUN}/weights.pt: is a file that no recording has",
    ),
    "a plugin": (
        lambda r: (r / "toy.py").write_text("raise SystemExit"),
        "toy.py: is a file that no result set has",
    ),
    "a program in the report": (
        lambda r: (r / "report" / "run.sh").write_text("rm -rf /"),
        "report/run.sh: is of a kind that no report has",
    ),
    "a folder of its own": (lambda r: (r / "extra").mkdir(), "extra: is a folder that no result set has"),
    "a figure with a script": (
        lambda r: (r / "report" / "x.svg").write_text("<svg><ScRipt>alert(1)</ScRipt></svg>"),
        "report/x.svg: is a figure that could run code",
    ),
    "a figure with a handler": (
        lambda r: (r / "report" / "x.svg").write_text("<svg onload='alert(1)'/>"),
        "report/x.svg: is a figure that could run code",
    ),
    "a figure that calls home": (
        lambda r: (r / "report" / "x.svg").write_text("<svg><image href='https://evil.example/x'/></svg>"),
        "report/x.svg: is a figure that could run code",
    ),
    "a bad suite": (
        lambda r: (r / "suite.toml").write_text("name = ["),
        "suite.toml: is damaged: a suite is not valid TOML",
    ),
    "a deep suite": (
        lambda r: (r / "suite.toml").write_text("a = " + "[" * 100_000),
        "suite.toml: is damaged: RecursionError",
    ),
    "a CSV of one enormous field": (
        lambda r: (r / "evidence.csv").write_text('id\n"' + "x" * 1_000_000 + '"\n'),
        "evidence.csv: is no table: field larger than field limit",
    ),
    "another schema": (
        in_json("manifest.json", lambda m: m.update(schema_version=7)),
        "manifest.json: has schema version 7, this reads 2: upgrade universality",
    ),
    "no schema": (
        in_json("manifest.json", lambda m: m.update(schema_version=True)),
        "manifest.json: has schema version True, this reads 2",
    ),
    "a manifest with more": (
        in_json("manifest.json", lambda m: m.update(author="me")),
        "manifest.json: is damaged: Object contains unknown field `author`",
    ),
    "a manifest that does not say when": (
        in_json("manifest.json", lambda m: m.pop("created")),
        "manifest.json: is damaged: Object missing required field `created`",
    ),
    # Values of another kind: the part is named by its path.
    "a truth value for a version": (
        in_line(lambda m: m.update(version=True)),
        f"{MEASUREMENT}: is damaged: Expected `int`, got `bool` - at `$.version`",
    ),
    "a truth value for an effect": (
        effect(True),
        f"{MEASUREMENT}: is damaged: Expected `float | null`, got `bool` - at `$.groups[0].outcome.effect`",
    ),
    "a whole number for an effect": (effect(1), f"{MEASUREMENT}: is not in the form that universality"),
    "a text for an effect": (
        effect("1.0"),
        f"{MEASUREMENT}: is damaged: Expected `float | null`, got `str` - at `$.groups[0].outcome.effect`",
    ),
    "a truth value for a seed": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id]["spec"].update(seed=True)),
        "plan.json.gz: is damaged: Expected `int`, got `bool` - at `$.runs[...].spec.seed`",
    ),
    "a truth value for a step": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id].update(observe={"loss": [False, 4]})),
        "plan.json.gz: is damaged: Expected `int`, got `bool` - at `$.runs[...].observe[...][0]`",
    ),
    "a step before the first": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id].update(observe={"loss": [-1, 4]})),
        "plan.json.gz: is damaged: Expected `int` >= 0 - at `$.runs[...].observe[...][0]`",
    ),
    "a setting that is no number": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id]["spec"]["recipe"].update(gamma=math.nan)),
        f"plan.json.gz: a setting of {spec('mlp', 1).id} is no finite number",
    ),
    "a setting more": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id]["spec"]["recipe"].update(more=1)),
        "plan.json.gz: is not in the form that universality writes",
    ),
    "a recipe that cannot be": (
        in_json(PLAN_FILE, lambda p: p["runs"][spec("mlp", 1).id]["spec"]["recipe"].update(steps=-1)),
        "plan.json.gz: is damaged: a recipe has a negative number of steps: -1",
    ),
    "a key more": (
        in_line(lambda m: m.update(verdict="present")),
        f"{MEASUREMENT}: is damaged: Object contains unknown field `verdict`",
    ),
    "a key less": (
        in_line(lambda m: m["groups"][1].pop("units")),
        f"{MEASUREMENT}: is damaged: Object missing required field `units` - at `$.groups[1]`",
    ),
    "a state of its own": (
        in_line(lambda m: m["groups"][2].update(state="perfect")),
        f"{MEASUREMENT}: is damaged: Invalid enum value 'perfect' - at `$.groups[2].state`",
    ),
    "a group that draws on nothing": (
        in_line(lambda m: m["groups"][0].update(units=[])),
        f"{MEASUREMENT}: is damaged: Expected `array` of length >= 1 - at `$.groups[0].units`",
    ),
    "a group twice": (
        in_line(lambda m: m["groups"].append(m["groups"][0])),
        f"{MEASUREMENT}: is damaged: two groups of one name",
    ),
    "a check without a bound": (
        in_line(lambda m: m["groups"][0]["outcome"].update(gates=[UNBOUNDED])),
        f"{MEASUREMENT}: is damaged: the check 'reached' has no bound",
    ),
    "a check that says itself that it is met": (
        in_line(lambda m: m["groups"][0]["outcome"].update(gates=[{**UNBOUNDED, "met": True}])),
        f"{MEASUREMENT}: is damaged: Object contains unknown field `met`",
    ),
    "a matrix of another size": (
        in_line(lambda m: m["groups"][0]["outcome"].update(matrices={"m": RAGGED})),
        f"{MEASUREMENT}: is damaged: a matrix of another size than its labels",
    ),
    "a control of neither sign": (
        in_line(lambda m: m["control"].update(sign="neutral"), 2),
        f"{LINES}, line 3: is damaged: Invalid enum value 'neutral' - at `$.control.sign`",
    ),
    "a control that expects nothing": (
        in_line(lambda m: m.update(expects=[]), 2),
        "is damaged: a control without verdicts that are right",
    ),
    "a control that is swept": (
        in_line(lambda m: m.update(swept=True), 2),
        "is damaged: both a control and swept",
    ),
    "a claim that everything meets": (
        in_line(lambda m: m["claim"].update(low=-math.inf, high=math.inf)),
        f"{MEASUREMENT}: claims what no effect can meet or every one does: no finite bound",
    ),
    "a claim of an empty range": (
        in_line(lambda m: m["claim"].update(low=3.0)),
        f"{MEASUREMENT}: claims what no effect can meet or every one does: the lower bound lies above",
    ),
    "a unit of a page": (
        in_line(lambda m: m["claim"].update(unit="u" * 301)),
        f"{MEASUREMENT}: has a control or a unit of more than 300 characters",
    ),
    "a name of a page": (
        in_line(lambda m: m.update(task="t" * 301)),
        f"{MEASUREMENT}: is damaged: Expected `str` of length <= 300 - at `$.task`",
    ),
    "a phenomenon without a word": (
        in_json(PLAN_FILE, lambda p: p.update(phenomena={})),
        f"{MEASUREMENT}: is of 'toy', of which the plan says nothing",
    ),
    "a strand of its own": (
        in_json(PLAN_FILE, lambda p: p["phenomena"]["toy"].update(strand="magic")),
        "plan.json.gz: is damaged: Invalid enum value 'magic' - at `$.phenomena[...].strand`",
    ),
    "a tier of its own": (
        in_json(PLAN_FILE, lambda p: p.update(tiers={"points": "best"})),
        "plan.json.gz: is damaged: Invalid enum value 'best' - at `$.tiers[...]`",
    ),
    "escapes in the title of a claim": (
        in_json(PLAN_FILE, lambda p: p["phenomena"]["toy"]["claims"].update(one="\x1b[31m")),
        "plan.json.gz: describes a phenomenon with unprintable text",
    ),
    "a cell twice": (
        in_json(PLAN_FILE, lambda p: p["cells"].append(p["cells"][0])),
        "plan.json.gz: is damaged: asks for a cell twice",
    ),
    "columns in another order": (
        lambda r: (r / "evidence.csv").write_text(
            pd.read_csv(r / "evidence.csv", dtype=str).iloc[:, ::-1].to_csv(index=False)
        ),
        "evidence.csv: has other columns: in another order",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, expected = WRONG[name]
    change(mine)
    texts = problems(mine)
    assert [text for text in texts if expected in text], texts
    assert show(check([str(mine)])) == 1
    out = capsys.readouterr().out
    assert not set(out) & {"\x1b", "\x07"}
    assert len(out) < 20_000


@pytest.mark.parametrize("name", ["R&D.npz", "cost_$1_vs_$2.npz", "<script>", '損失\'s "data".npz', "a b"])
def test_a_name_that_can_be_run_is_an_address_here_too(mine: Path, name: str) -> None:
    address = f"mlp[path={name}]"
    assert parse_address(address) == ("mlp", {"path": name})
    with_name(address)(mine)
    assert not any("no address" in problem for problem in problems(mine))


def test_everything_that_is_wrong_is_said_at_once(mine: Path) -> None:
    for name in ("no suite", "a pickle", "a link", "a huge number", "a lost run"):
        WRONG[name][0](mine)
    text = "\n".join(problems(mine))
    for name in ("no suite", "a pickle", "a link", "a huge number"):
        assert WRONG[name][1] in text


def test_nothing_from_the_set_is_executed_or_imported(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    code = "import pathlib; pathlib.Path(__file__).with_name('owned').touch()"
    for place in ("toy.py", "sitecustomize.py", "report/toy.py", "universality.py"):
        (mine / place).write_text(code)
    before = set(sys.modules)
    audit(mine)
    assert not list(tmp_path.rglob("owned"))
    assert not {name for name in set(sys.modules) - before if name.startswith("universality_plugins")}


def test_many_problems_are_cut_in_the_terminal_only(mine: Path) -> None:
    for i in range(MAX_LINES + 50):
        (mine / f"x{i}").touch()
    report = audit(mine)
    assert len(report.problems) == MAX_LINES + 50
    lines = report.lines()
    assert len(lines) == MAX_LINES + 3
    assert lines[-3:-1] == ["problem  50 more", f"note     {OWN}"]


def test_numbers_may_differ_in_their_last_digits(mine: Path) -> None:
    """Libraries of statistics do; a sixth digit is another number."""
    path = mine / "universality.csv"
    text = path.read_text()
    number = next(
        field for field in text.splitlines()[1].split(",") if field.startswith("0.0") and len(field) > 12
    )
    path.write_text(text.replace(number, repr(float(number) * (1 + 1e-9))))
    assert problems(mine) == []
    path.write_text(text.replace(number, repr(float(number) * (1 + 1e-4))))
    assert len(problems(mine)) == 1


def test_work_in_progress_and_pages_are_noted(mine: Path) -> None:
    (mine / "tmp").mkdir()
    (mine / "tmp" / "host.1.abc").mkdir()
    (mine / "tmp" / "host.1.abc" / "spec.json").touch()
    (mine / "report" / "index.html").write_text("<script></script>")
    edit(mine / PLAN_FILE, lambda p: p["environment"].update(commit="c0ffee+changes"))
    report = audit(mine)
    assert not report.problems
    notes = " ".join(report.notes)
    assert "work in progress" in notes
    assert "report/index.html can run code" in notes
    assert "c0ffee+changes" in notes
