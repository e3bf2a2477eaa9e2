"""plan.json.gz comes back as it was written, and is refused with the place where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judge.toy_cells import cell, effects, plan_of
from tests.stored import write
from universality.errors import StoreError
from universality.plan.plan_json import PlanRecord, read_plan
from universality.plan.planner import Planner
from universality.plan.runs_file import PlannedRun
from universality.plan.suite import CrossSpec, Suite
from universality.plugin.charts import Lines
from universality.plugin.phenomenon import About
from universality.plugin.spec import Component
from universality.store.compressed import gunzipped
from universality.store.files import decode_json, encode_json
from universality.store.layout import Layout
from universality.store.untrusted import UntrustedFile

NET, DIGITS = Component("mlp", (("width", 4),), "mlp[width=4]"), Component("digits", (), "digits")
PLAN = plan_of(
    [cell(effects(0.5))], settings=[Component("edge", (("steps", 5),))], components=[(NET, DIGITS)]
)
(RUN,) = PLAN.runs


def written(folder: Path, change: Callable[[Any], object] = lambda raw: None) -> Path:
    raw = decode_json(gunzipped(PLAN.file(), 1 << 30))
    raw["runs"][RUN]["observe"] = {"accuracy": [0, 10]}
    change(raw)
    path = folder / "plan.json.gz"
    write(path, encode_json(raw))
    return path


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = PlanRecord.read(written(tmp_path))
    assert plan.runs[RUN] == PlannedRun(spec=PLAN.runs[RUN].spec, observe={"accuracy": (0, 10)})
    assert plan.runs[RUN].spec.id == RUN
    assert str(plan.runs[RUN].spec.architecture) == "mlp[width=4]"
    assert plan.file() == written(tmp_path).read_bytes()
    assert plan_of().file() != PLAN.file()


@pytest.mark.usefixtures("toys")
def test_the_record_of_a_plan_says_what_was_asked(tmp_path: Path) -> None:
    cross = CrossSpec(
        phenomena=("toy_early", "toy_late"), architectures=("toy_net", "toy_other"), tasks=("toy_points",)
    )
    suite = Suite(name="toy", crosses=(cross,), description="toys")
    plan = Planner(tmp_path).add_suite(suite)
    record = PlanRecord.of(plan, suite, {"torch": "2"}, plugins=["plugins/mine/", "/home/me/mine"])
    assert (record.suite, record.description, record.environment) == ("toy", "toys", {"torch": "2"})
    assert (record.cells, record.wall_seconds, record.data_root) == ((), 0.0, False)
    assert record.plugins == ("plugins/mine", "PATH/TO/mine")
    assert record.phenomena["toy_early"] == About(
        title="Early",
        strand="laws",
        sense="number",
        source="Toy 2020",
        claims={"one": "one", "two": "two"},
        charts=dict.fromkeys(("one", "two"), (Lines({"train_loss": "loss"}, "loss"),)),
    )
    assert record.settings["toy_late"] == Component("toy_late", (("probe", "toy_probe"),))
    assert {run_id: run.spec.id for run_id, run in record.runs.items()} == {r: r for r in plan.jobs}
    assert {run_id: run.observe for run_id, run in record.runs.items()} == {
        run_id: job.observe for run_id, job in plan.jobs.items()
    }
    path = tmp_path / "plan.json.gz"
    path.write_bytes(record.file())
    assert PlanRecord.read(path) == record


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "a path of a machine": (
        lambda raw: raw.update(plugins=["/home/me/mine"]),
        "'/home/me/mine' is a path of somebody's machine",
    ),
    "a path upwards": (
        lambda raw: raw.update(plugins=["../mine"]),
        "'../mine' is a path of somebody's machine",
    ),
    "a repeated cell": (lambda raw: raw.update(cells=raw["cells"] * 2), "asks for a cell twice"),
    "a cell that is a path": (lambda raw: raw.update(cells=["../x"]), "a name cannot be a file name: '../x'"),
    "a run that is a path": (
        lambda raw: raw["runs"].update({"a/b": raw["runs"][RUN]}),
        "a name cannot be a file name: 'a/b'",
    ),
    "an unknown key": (lambda raw: raw.update(extra=1), "Object contains unknown field `extra`"),
    "an unknown key of a run": (
        lambda raw: raw["runs"][RUN].update(extra=1),
        "Object contains unknown field `extra` - at `$.runs[...]`",
    ),
    "a missing key": (lambda raw: raw.pop("tiers"), "Object missing required field `tiers`"),
    "true as a step": (
        lambda raw: raw["runs"][RUN]["observe"].update(accuracy=[0, True]),
        "Expected `int`, got `bool` - at `$.runs[...].observe[...][1]`",
    ),
    "a step before the first": (
        lambda raw: raw["runs"][RUN]["observe"].update(accuracy=[-1]),
        "Expected `int` >= 0 - at `$.runs[...].observe[...][0]`",
    ),
    "a step as a float": (
        lambda raw: raw["runs"][RUN]["observe"].update(accuracy=[1.5]),
        "Expected `int`, got `float` - at `$.runs[...].observe[...][0]`",
    ),
    "a whole number of seconds": (
        lambda raw: raw.update(wall_seconds=1),
        "is not in the form that universality writes",
    ),
    "seconds before the start": (
        lambda raw: raw.update(run_seconds=-1.0),
        "Expected `float` >= 0.0 - at `$.run_seconds`",
    ),
    "text as truth": (
        lambda raw: raw.update(data_root="no"),
        "Expected `bool`, got `str` - at `$.data_root`",
    ),
    "an architecture that is none": (
        lambda raw: raw["runs"][RUN]["spec"].update(architecture=3),
        "Expected `object`, got `int` - at `$.runs[...].spec.architecture`",
    ),
    "a run that cannot be trained": (
        lambda raw: raw["runs"][RUN]["spec"]["recipe"].update(steps=-1),
        "a recipe has a negative number of steps",
    ),
    "no tier": (
        lambda raw: raw.update(tiers={"digits": "<b>"}),
        "Invalid enum value '<b>' - at `$.tiers[...]`",
    ),
    "no sense": (
        lambda raw: raw["phenomena"]["edge"].update(sense="law"),
        "Invalid enum value 'law' - at `$.phenomena[...].sense`",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_plan_that_universality_does_not_write_is_refused_with_the_place(tmp_path: Path, case: str) -> None:
    change, told = WRONG[case]
    with pytest.raises(UntrustedFile) as caught:
        PlanRecord.read(written(tmp_path, change))
    assert told in str(caught.value)


def test_a_folder_without_a_plan_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the plan of these results cannot be read") as caught:
        read_plan(Layout(tmp_path))
    assert (caught.value.where, caught.value.got) == (str(tmp_path / "plan.json.gz"), "is missing")
