"""Once: from the stored form 1 to 2. `python migrate_schema.py results/SET ...`

Everything is taken over but for what checks say: a check has bounds now and `met` follows from them. Three
were no comparison of one number, and are rebuilt from what is stored: the highest sharpness after a record
below 0.95 of the threshold from the trajectories of the page (four digits), the two conditions under which a
run that does not generalise counts from its details, and times that were never reached as infinity.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from universality.plan.plan_json import PlannedRun, PlanRecord
from universality.plugin import registry
from universality.plugin.claims import Most, Within
from universality.plugin.outcome import Check, Matrix, Outcome
from universality.plugin.phenomenon import ControlId
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.files import decode_json, encode_json
from universality.store.folder import Manifest

CROSSED = "sharpness over the threshold, after it was below 0.95"


def component(raw: dict[str, Any]) -> Component:
    return Component(raw["name"], tuple(sorted(raw["params"].items())), raw.get("label", ""))


def spec(raw: dict[str, Any]) -> RunSpec:
    recipe = Recipe(**{**raw["recipe"], "milestones": tuple(raw["recipe"]["milestones"])})
    return RunSpec(
        component(raw["architecture"]), component(raw["task"]), recipe, raw["seed"], raw["content"]
    )


def highest_after_below(series: list[list[Any]]) -> float:
    values = [math.nan if v is None else v for v in series[1]]
    below = next((i for i, v in enumerate(values) if v < 0.95), None)
    return -math.inf if below is None else max(values[below:])


def checks(raw: list[dict[str, Any]], outcome: dict[str, Any], budget: int, series: Any) -> list[Check]:
    result = []
    for c in raw:
        name, value, needs, met = c["name"], c["value"], c["needs"], c["met"]
        if name == "sharpness rises to the threshold":
            highest = highest_after_below(series["sharpness.ratio"]) if met or value >= 0.95 else value
            new = [Check(CROSSED, highest, at_least=0.95)]
        elif name == "steps behind the crossing":
            new = [Check("share of steps behind the crossing", value, at_least=0.3)]
        elif name == "eigenvalues converged":
            new = [Check("share of eigenvalues that converged", value, at_least=0.95)]
        elif name == "single steps on which the loss rises":
            new = [Check("share of single steps on which the loss rises", value, at_least=0.05)]
        elif name == "last tenth of the loss over the first":
            new = [Check(name, value, at_most=1.0)]
        elif name == "training set fitted":
            at = value if met else math.inf
            new = [Check("step at which the training set is fitted", at, at_most=budget)]
        elif name == "generalises within the budget":
            new = [Check("step at which it generalises", math.inf, at_most=budget)]
        elif name.startswith("generalised, or stayed"):
            best = outcome["details"]["best_validation"]
            new = [
                Check("steps without generalising", value, at_least=8000),
                Check("highest validation accuracy, above chance", best, at_most=0.1),
            ]
        elif name == "class means differ":
            new = [Check("class means differ, so that NC1 is a number", value, at_least=1)]
        else:
            match = re.fullmatch(r"(>=|<=) ([\d.e-]+)", needs)
            assert match, c
            bound = float(match[2])
            new = [
                Check(name, value, at_least=bound) if match[1] == ">=" else Check(name, value, at_most=bound)
            ]
        assert all(check.met for check in new) == met, (c, new)
        result += new
    return result


def main(root: Path) -> None:
    registry.load_plugins()
    page = (root / "report" / "index.html").read_text()
    runs = json.loads(re.search(r'id="run-data">(.*?)</script>', page, re.DOTALL)[1])
    plan = decode_json((root / "plan.json").read_bytes())
    specs = {run: spec(raw) for run, raw in plan["specs"].items()}
    for run, one in specs.items():
        assert one.id == run, (one.id, run)
    for path in (root / "measurements").glob("*.json"):
        r = decode_json(path.read_bytes())
        kinds = {"within": Within, "most": Most}
        claim = kinds[r["claim"]["kind"]](**{k: v for k, v in r["claim"].items() if k != "kind"})
        groups = []
        for g in r["groups"]:
            o, run = g["outcome"], next(iter(g["runs"].values()))
            series = runs.get(run, {}).get("series", {})
            budget = specs[run].recipe.steps
            outcome = o and Outcome(
                effect=o["effect"],
                censored=o["censored"],
                label=o["label"],
                gates=tuple(checks(o["gates"], o, budget, series)),
                criteria=tuple(checks(o["criteria"], o, budget, series)),
                details=o["details"],
                matrices={
                    k: Matrix(tuple(m["rows"]), tuple(m["columns"]), tuple(map(tuple, m["values"])))
                    for k, m in o["matrices"].items()
                },
            )
            groups.append(
                GroupRecord(
                    key=g["key"],
                    units=tuple(g["units"]),
                    runs=g["runs"],
                    state=g["state"],
                    outcome=outcome,
                    problem=Problem("training", g["message"]) if g["message"] else None,
                )
            )
        sign, _, name = r["control"].partition(": ")
        record = CellRecord(
            phenomenon=r["phenomenon"],
            version=r["version"],
            claim_name=r["claim_name"],
            claim=claim,
            architecture=r["architecture"],
            task=r["task"],
            groups=tuple(groups),
            not_applicable=r["not_applicable"],
            control=ControlId(sign, name) if sign else None,
            expects=tuple(r["expects"]),
            variant=r["variant"],
            swept=r.get("swept", False),
        )
        assert record.id == path.stem == r["id"]
        path.write_bytes(record.file())
        assert CellRecord.read(path) == record, path
    settings = {}
    for address, part in plan["variants"].items():
        settings[address] = Component(part["name"], tuple(sorted(part["params"].items())), address)
    record = PlanRecord(
        suite=plan["suite"],
        description=plan["description"],
        plugins=tuple(plan.get("plugins", ())),
        data_root=plan.get("data_root", False),
        wall_seconds=float(plan["wall_seconds"]),
        run_seconds=float(plan["run_seconds"]),
        probe_seconds=float(plan.get("probe_seconds", 0.0)),
        environment=plan["environment"],
        phenomena={name: registry.plugin_class("phenomenon", name)().about for name in plan["phenomena"]},
        settings=settings,
        tiers={task: about["tier"] for task, about in plan["tasks"].items()},
        cells=tuple(plan["cells"]),
        runs={
            run: PlannedRun(spec=specs[run], observe={p: tuple(s) for p, s in observe.items()})
            for run, observe in plan["runs"].items()
        },
    )
    for name, about in plan["phenomena"].items():
        now = record.phenomena[name]
        assert (now.title, now.strand, now.sense, now.source) == tuple(
            about[k] for k in ("title", "strand", "sense", "source")
        ), name
    (root / "plan.json").write_bytes(record.file())
    assert PlanRecord.read(root / "plan.json") == record
    old = decode_json((root / "manifest.json").read_bytes())
    manifest = Manifest(schema_version=2, created=old["created"], environment=old["environment"])
    (root / "manifest.json").write_bytes(encode_json(msgspec.to_builtins(manifest)))


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(Path(folder))
