"""The page: nothing in it can run or call out, its numbers are the verdicts', and a real browser can use it."""

import base64
import dataclasses
import hashlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.judge import test_leaderboard, toy_cells
from tests.output.browsing import Visit
from universality.commands.main import build_parser
from universality.judge import resultset
from universality.judge.boundary import Boundary
from universality.judge.moved import stays
from universality.judge.resultset import ResultSet
from universality.output.build import rebuild
from universality.output.collect import run_ids, thinned
from universality.output.page.commands import Commands
from universality.output.page.earlier import earlier_runs
from universality.output.page.render import frame, with_runs
from universality.output.page.series import fit, stored_series
from universality.output.page.text import unpacked
from universality.output.palette import COLOURS, contrast, ink
from universality.plan.plan_json import PlanRecord
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite, choose
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.charts import MAX_LABEL, Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.outcome import Check, Matrix, Outcome, Points
from universality.plugin.phenomenon import About, ControlId
from universality.plugin.spec import digest
from universality.plugin.trajectory import RunState, Series
from universality.store.cells import CellRecord, GroupRecord, Problem
from universality.store.compressed import gzipped
from universality.store.store import Store
from universality.text import plain, typeset

CHECKOUT = Path(__file__).resolve().parents[2]
ATTACK = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"' onclick=window.hacked=1 "
)
OVERRIDE = "mlp\u202egpj.exe"
EDGE = Within(low=0.9, high=1.15, unit="sharpness / (2/lr)")
RATIO = Lines({"sharpness.ratio": ""}, "sharpness / threshold", band=True, level=1, level_title="threshold")
LAYERS = Matrices({"trained": "after training"}, "similarity")


def run_id(architecture: str, task: str, seed: int) -> str:
    return f"run-s{seed}-{digest([architecture, task, seed])}"


def cell(
    architecture: str = "mlp",
    task: str = "digits",
    *,
    effect: float = 1.0,
    phenomenon: str = "edge_of_stability",
    claim_name: str = "gd",
    claim: Bound = EDGE,
    seeds: int = 3,
    state: RunState = "done",
    met: bool = True,
    **more: Any,
) -> CellRecord:
    outcome = [
        Outcome(
            effect=effect * (1 + i / 1000),
            gates=(Check("training accuracy", 0.95 if met else 0.5 + i / 10, at_least=0.9),),
            criteria=(Check("10 % quantile", 0.93, at_least=0.8),),
            details={"crossing_step": 70.0 + i},
            matrices={"trained": Matrix(("a", "b"), ("a", "b"), ((1.0, 0.25), (0.25, 1.0)))}
            if i == 0
            else {},
        )
        for i in range(seeds)
    ]
    groups = tuple(
        GroupRecord(
            key=f"gd/s{i}",
            units=(f"s{i}",),
            runs={"gd": run_id(architecture, task, i)},
            state=state,
            outcome=outcome[i] if state == "done" else None,
            problem=None if state == "done" else Problem("training", "the worker was killed"),
        )
        for i in range(seeds)
    )
    return CellRecord(
        phenomenon=phenomenon,
        variant=phenomenon,
        version=1,
        claim_name=claim_name,
        claim=claim,
        architecture=architecture,
        task=task,
        groups=groups,
        **more,
    )


POSITIVE, NEGATIVE = ControlId("positive", "tanh"), ControlId("negative", "lazy network")
RECORDS = [
    cell("mlp[width=32]", "digits"),
    cell("cnn", "digits", effect=3.0),
    cell("reference", "digits"),
    cell("mlp[width=32]", "modular[p=23]", met=False),
    cell("cnn", "modular[p=23]", state="crashed"),
    CellRecord(phenomenon="edge_of_stability", version=1, claim_name="gd", claim=EDGE, architecture="reference",
               task="modular[p=23]", not_applicable="refuses tokens"),
    cell("mlp[width=32]", "digits", phenomenon="grokking", claim_name="delay",
         claim=Most(at_least=5, unit="t / t"), effect=20.0, seeds=5),
    cell("reference", "digits", control=POSITIVE, expects=("present",)),
    cell("lazy", "digits", effect=0.1, control=NEGATIVE, expects=("absent", "inconclusive")),
]  # fmt: skip
PLAN = replace(
    toy_cells.plan_of(
        suite="demo",
        phenomena={
            "edge_of_stability": About(title="Edge of stability", strand="laws", sense="number",
                                       source="Cohen et al. 2021, arXiv:2103.00065",
                                       claims={"gd": "gradient descent"},
                                       charts={"gd": (RATIO, LAYERS)}),
            "grokking": About(title="Grokking", strand="universality", sense="form", source="",
                              claims={"delay": "generalises late"}),
        },
    ),
    description="for tests",
    wall_seconds=75.0,
    run_seconds=3700.0,
    probe_seconds=851.0,
    environment={"universality": "0.1.0", "commit": "0123456789abcdef", "torch": "2.11.0", "device": "cpu"},
    tiers={"digits": "small real"},
)  # fmt: skip
RUNS = {
    run_id("mlp[width=32]", "digits", seed): {
        "seed": seed,
        "state": "done",
        "series": {"sharpness.ratio": [[0] + [10] * 99, [1 - 0.9 ** (i + seed) for i in range(100)]]},
    }
    for seed in range(3)
}


def hostile_charts() -> tuple[Chart, ...]:
    """Every kind, with as much of an attack in each text as may stand there."""
    attack = ATTACK[:MAX_LABEL]
    named = {ATTACK: attack, "__proto__": attack}
    return (
        Lines(named, attack, band=True, level=1, level_title=attack),
        Curves(named, x=attack, y=attack, theory="__proto__"),
        Dots(ATTACK, x=attack, y=attack),
        Bars(ATTACK, x=attack, y=attack),
        Levels(ATTACK, named, attack, title=attack),
        Matrices(named, attack, rows=attack, columns=attack),
    )


def attacked(record: CellRecord) -> CellRecord:
    """With something to draw under every name of `hostile_charts`."""
    names = (ATTACK, f"{ATTACK}:{ATTACK}", "__proto__")
    outcome = Outcome(
        effect=1.0,
        details=dict.fromkeys(names, 1e150),
        points=dict.fromkeys(names, Points((1.0, 1e150), (-1e150, 1.0))),
        matrices=dict.fromkeys(names, Matrix((ATTACK, OVERRIDE), (ATTACK,), ((1e150,), (math.nan,)))),
    )
    return replace(record, groups=tuple(replace(group, outcome=outcome) for group in record.groups))


def hostile() -> tuple[list[CellRecord], PlanRecord]:
    """Every text of a result set is an attack, an override of the writing direction, or 10 kB long; some
    numbers are too."""
    long = "x" * 10_000
    records = [
        cell(ATTACK, OVERRIDE, phenomenon=ATTACK, claim_name=ATTACK, claim=Within(low=0.9, unit=ATTACK)),
        cell(long, long + "y", phenomenon=ATTACK, claim_name=ATTACK, claim=Within(low=0.9, unit=ATTACK)),
        cell(long + "z", "\ud800", phenomenon=ATTACK, claim_name=ATTACK, claim=Within(low=0.9, unit=ATTACK)),
        cell("lstm", OVERRIDE, phenomenon=ATTACK, claim_name=ATTACK, claim=Within(low=0.9, unit=ATTACK),
             control=ControlId("positive", ATTACK), expects=("present",)),
    ]  # fmt: skip
    records = list(map(attacked, records))
    # Of other types than `load` lets through, too.
    text: Any = ATTACK
    about = About(
        title=ATTACK,
        strand=text,
        sense=text,
        source=ATTACK + "arXiv:2103.00065",
        claims={ATTACK: ATTACK},
        charts={ATTACK: hostile_charts()},
    )
    plan = replace(PLAN, suite=ATTACK, description=ATTACK, phenomena={ATTACK: about}, tiers={OVERRIDE: text},
                   environment={"commit": ATTACK, "torch": OVERRIDE, "cpu": ATTACK}, wall_seconds=math.inf,
                   run_seconds=1e149, probe_seconds=1e150)  # fmt: skip
    return records, plan


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in self.raw and data.strip():
            self.raw[self.found[-1][0]][-1] += data


def result_set(records: list[CellRecord], plan: PlanRecord = PLAN) -> ResultSet:
    """A result set that is on no disk; what a plan says of phenomena is made up where it says nothing."""
    unknown = About(title="", strand="laws", sense="form", source="", claims={})
    phenomena = {**{r.phenomenon: replace(unknown, title=r.phenomenon) for r in records}, **plan.phenomena}
    results = toy_cells.set_of(records)
    return dataclasses.replace(results, plan=replace(plan, phenomena=phenomena))


def page(results: ResultSet, *, toml: str = "", runs: dict[str, Any] | None = None) -> str:
    return with_runs(frame(results, toml, len(runs or {})), runs or {})


def written(records: list[CellRecord], plan: PlanRecord = PLAN, **more: Any) -> str:
    return page(result_set(records, plan), **more)


def embedded(html: str) -> tuple[list[dict[str, Any]], list[str]]:
    found = cell_data(html)
    return found["cells"], found["texts"]


def cell_data(html: str) -> Any:
    (text,) = re.findall(r'id="cell-data">(.*?)</script>', html)
    return json.loads(unpacked(text))


def test_what_is_known_is_told_with_the_stricter_bound_at_which_it_is_not() -> None:
    wide, near = (Within(low=1 - by, high=1 + by, unit="u") for by in (0.5, 0.07))
    # Intervals end 0.05 from 1: inside of half of the first bound, and not of the second.
    for claim, told in ((wide, False), (near, True)):
        html = page(test_leaderboard.result_set("a", test_leaderboard.grid(4, 4, claim=claim)))
        (known,) = re.findall(r"<li><strong>[^<]*</strong> it holds in all 16 decided cells.*?</li>", html)
        assert ("At a stricter bound (" in known) is told


def test_of_controls_alone_the_page_shows_controls_alone() -> None:
    control = cell(control=ControlId("positive", "known"), expects=("present",))
    alone, beside = written([control]), written([cell(), control])
    for name in ("answers", "table", "cells", "missing"):
        assert re.search(f'<section id="{name}"[^>]* hidden>', alone), name
        assert f'href="#{name}"' not in alone, name
        assert not re.search(f'<section id="{name}"[^>]* hidden>', beside), name
        assert f'href="#{name}"' in beside, name
    for html in (alone, beside):
        assert 'href="#controls"' in html
        assert "<small>3 of 3</small>" in html


def test_an_undecided_tile_says_why_to_eye_and_ear_and_a_decided_one_does_not() -> None:
    tiles = [a for tag, a in Elements(written(RECORDS)).found if "cell" in a.get("class", "").split()]
    verdicts = [v for v in result_set(RECORDS).verdicts if not v.record.control]
    assert len(tiles) == len(verdicts) == 7
    for tile, v in zip(sorted(tiles, key=lambda a: int(a["data-i"])), verdicts, strict=True):
        why = "" if v.verdict in ("present", "absent") else v.reason.text
        assert tile.get("title", "") == why
        assert tile["aria-label"].partition("; ")[2] == why
    assert [a["title"] for a in tiles if a["data-v"] == "not applicable"] == ["refuses tokens"]


def test_only_its_own_script_and_styles_may_run() -> None:
    html = written(RECORDS, runs=RUNS)
    elements = Elements(html)
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, text in (("style", elements.raw["style"][0]), ("script", elements.raw["script"][-1])):
        digest_of = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest_of}'" in policy
    types = [a.get("type", "") for tag, a in elements.found if tag == "script"]
    assert types == ["application/gzip", "application/gzip", ""]


@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_nothing_is_fetched_and_no_attribute_runs(kind: str) -> None:
    records, plan = hostile() if kind == "hostile" else (RECORDS, PLAN)
    html = written(records, plan, toml=ATTACK)
    for tag, attributes in Elements(html).found:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form") or tag == "form"
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "style", "srcdoc")
        ]
        link = attributes.get("href", "#")
        assert link.startswith(("#", "https://arxiv.org/abs/")), link
    assert len([tag for tag, _ in Elements(html).found if tag == "script"]) == 3


def test_hostile_names_are_shown_as_text_and_cut() -> None:
    records, plan = hostile()
    html = written(records, plan)
    html.encode()
    inside = unpacked(re.findall(r'id="cell-data">(.*?)</script>', html)[0]).decode()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u0000-\u0008]", html + inside)
    assert "mlp\\u202egpj.exe" in html
    assert "\\ud800" in html
    assert len(html) < 250_000
    shown = {a["data-architecture"] for _, a in Elements(html).found if "data-architecture" in a}
    assert len(shown) == 3, "names that differ only in the middle stay apart"


def test_the_embedded_numbers_are_those_of_the_verdicts() -> None:
    verdicts = result_set(RECORDS).verdicts
    cells, texts = embedded(written(RECORDS))
    assert len(cells) == len(verdicts)
    for found, v in zip(cells, verdicts, strict=True):
        assert (found["id"], found["verdict"], found["counted"]) == (v.record.id, v.verdict, v.counted)
        assert texts[found["architecture"]] == v.record.architecture
        assert texts[found["reason"]] == str(v.reason)
        for shown, exact in zip(found["estimate"], (v.effect, v.low, v.high), strict=True):
            known = exact is not None and math.isfinite(exact)
            assert shown == (pytest.approx(exact, rel=1e-3) if known else None)
        assert [texts[g["key"]] for g in found["groups"]] == [g.key for g in v.record.groups]
    name, needs, value, met = cells[0]["groups"][1]["gates"][0]
    assert (texts[name], texts[needs], value, met) == ("training accuracy", ">= 0.9", 0.95, True)
    name, needs, value, met = cells[3]["groups"][1]["gates"][0]
    assert (texts[name], texts[needs], value, met) == ("training accuracy", ">= 0.9", 0.6, False)


def test_a_number_beside_its_bound_keeps_the_digits_that_tell_its_side() -> None:
    """0.949996 of a gate at 0.95 would read 0.95 at four digits, and an effect of 1.150004 as the bound of the claim."""
    record = cell("mlp[width=32]", "digits")
    gate = Check("share", 0.949996, at_least=0.95)
    missed = replace(record.groups[0], outcome=Outcome(effect=1.150004, gates=(gate,)))
    record = replace(record, groups=(missed, *record.groups[1:]))
    cells, texts = embedded(page(result_set([record])))
    group = cells[0]["groups"][0]
    assert group["effect"] == 1.150004
    name, needs, value, met = group["gates"][0]
    assert (texts[name], texts[needs], value, met) == ("share", ">= 0.95", 0.949996, False)


def test_a_cell_says_for_which_bounds_its_verdict_stays() -> None:
    results = result_set(RECORDS)
    cells, texts = embedded(written(RECORDS))
    for found, v in zip(cells, results.verdicts, strict=True):
        assert texts[found["stays"]] == typeset("; ".join(map(str, stays(v))))
    assert any(texts[found["stays"]] for found in cells)


LOSS = Curves({"loss": "loss"}, x="width", y="loss at the end", log="xy", theory="law")
KINDS: dict[str, Chart] = {
    "lines": replace(RATIO, low=0, high=2),
    "curves": LOSS,
    "dots": Dots("predicted", x="theory"),
    "bars": Bars("gaps", x="gap"),
    "levels": Levels("trained", {"untrained": "", "shuffled": "random labels"}, "CKA", margin=0.1),
    "matrices": LAYERS,
}
SHOWN = Outcome(
    effect=1.0,
    details={"trained": 0.9, "untrained": 0.2, "shuffled": 0.5},
    points={
        "loss:width 16": Points((1.0, 10.0, 100.0), (1.0, 0.1, 0.01)),
        "loss:width 4": Points((1.0, 10.0, 0.0), (2.0, 0.2, 1.0)),
        "law": Points((1.0, 100.0), (1.0, 0.01)),
        "predicted": Points((1.0, 3.0), (1.5, 2.0)),
        "gaps": Points((1.0, 2.0, 3.0), (4.0, 0.0, 2.0)),
    },
    matrices={"trained": Matrix(("a", "b"), ("a", "b"), ((1.0, 0.25), (0.25, 1.0)))},
)


def of_kind(kind: str) -> ResultSet:
    """One cell, of which the last of three groups met no gate, with a chart of this kind alone."""
    record = cell("mlp[width=32]", "digits")
    outcomes = [SHOWN, SHOWN, replace(SHOWN, gates=(Check("fitted", 0, at_least=1),))]
    groups = zip(record.groups, outcomes, strict=True)
    record = replace(record, groups=tuple(replace(group, outcome=o) for group, o in groups))
    about = replace(PLAN.phenomena["edge_of_stability"], charts={"gd": (KINDS[kind],)})
    return result_set([record], replace(PLAN, phenomena={"edge_of_stability": about}))


def drawn(kind: str) -> tuple[dict[str, Any], Any, list[str]]:
    """The first chart on the page, what is drawn of it, and the texts."""
    data = cell_data(page(of_kind(kind)))
    index, shown = data["cells"][0]["charts"][0]
    return data["charts"][index], shown, data["texts"]


def test_the_page_holds_what_each_chart_draws() -> None:
    chart, shown, texts = drawn("curves")
    assert (chart["kind"], chart["points"]) == ("curves", [["loss", "loss"]])
    assert [(texts[t], g, x) for t, g, x, _ in shown["lines"][:2]] == [
        ("loss, width 4", 0, [1.0, 10.0]),
        ("loss, width 16", 0, [1.0, 10.0, 100.0]),
    ]
    assert len(shown["lines"]) == 6
    assert shown["theory"][1:] == [0, [1.0, 100.0], [1.0, 0.01]]
    _, shown, _ = drawn("dots")
    assert [line[1:] for line in shown["lines"]] == [[g, [1.0, 3.0], [1.5, 2.0]] for g in range(3)]
    _, shown, _ = drawn("bars")
    assert shown["edges"] == [[0.5, 1.5, 2.5, 3.5]] * 3
    chart, shown, _ = drawn("levels")
    assert chart["nulls"] == [["untrained", ""], ["shuffled", "random labels"]]
    assert shown["rows"] == [[g, 0.9, [0.2, 0.5], 0.6] for g in range(3)]
    _, shown, texts = drawn("matrices")
    assert [g for g, _ in shown["groups"]] == [0, 1, 2]
    assert texts[shown["groups"][0][1][0]["name"]] == "after training"
    chart, shown, _ = drawn("lines")
    assert shown is None
    assert chart["series"] == [["sharpness.ratio", ""]]


def test_cells_of_one_chart_share_it() -> None:
    data = cell_data(written(RECORDS))
    # Two declared ones, and how runs were trained where nothing is declared.
    assert [chart["kind"] for chart in data["charts"]] == ["lines", "matrices", "lines"]
    assert [index for index, _ in data["cells"][0]["charts"]] == [0, 1]
    assert [index for index, _ in data["cells"][6]["charts"]] == [2]


def test_every_section_says_what_is_known() -> None:
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", written(RECORDS, runs=RUNS)))
    assert "2026-01-01 · universality 0.1.0 at 0123456789 · torch 2.11.0 · cpu · 1:01:40 of training" in text
    assert re.search(r"share of it that probes took ?23%", text)
    assert "same number · strand: laws · Cohen et al. 2021, arXiv:2103.00065" in text
    assert "inconclusive: gate not met: training accuracy" in text
    assert "not applicable: refuses tokens" in text
    assert "gradient descent (gd) 0.9 to 1.15 · sharpness / (2/lr)" in text
    assert "3 of 3 groups crashed: the worker was killed" in text
    assert "no positive control was run" in text, "grokking has none"
    assert "decided but not counted" in text


def test_a_failed_control_is_named_with_what_was_expected() -> None:
    failing = cell("lazy", "digits", control=NEGATIVE, expects=("absent",))
    html = written([RECORDS[0], RECORDS[7], failing])
    assert "✗ no" in html
    assert "expected absent" in html
    assert "negative: lazy network is present, expected absent" in html


def test_a_negative_control_that_was_not_exercised_is_no_failure_and_validates_nothing() -> None:
    idle = cell("lazy", "digits", control=NEGATIVE, met=False, expects=("absent", "inconclusive"))
    html = written([RECORDS[0], RECORDS[7], idle])
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", html))
    assert "✗ unvalidated negative not exercised" in text
    assert "negative not exercised: lazy network: inconclusive, training accuracy" in text
    assert "✗ no" not in text
    assert "controls came out as they must1/2" in text.replace("must ", "must")
    assert [c["result"] for c in cell_data(html)["cells"]] == [None, "passed", "not exercised"]


@pytest.mark.parametrize("records", [RECORDS[:1], RECORDS[5:6], RECORDS[7:8]], ids=["cell", "n/a", "control"])
def test_a_single_cell_of_any_kind_makes_a_page(records: list[CellRecord]) -> None:
    assert "<h1>" in written(records)


@given(
    st.integers(1, 900),
    st.integers(8, 200),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 0.01]),
)
def test_thinning_keeps_the_ends_the_extremes_and_the_order(
    n: int, most: int, log: bool, seed: int, broken: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    values[rng.random(n) < broken] = rng.choice([np.nan, np.inf])
    steps = np.cumsum(np.arange(n) % 7 + 1)
    series = Series(steps, values)
    kept = thinned(series, most, log)
    assert len(kept) <= max(most, 2)
    assert (kept.steps[0], kept.steps[-1]) == (steps[0], steps[-1])
    assert (np.diff(kept.steps) > 0).all()
    for step, value in zip(kept.steps, kept.values, strict=True):
        np.testing.assert_equal(value, series.at(int(step)))
    if np.isfinite(series.values).all():
        assert (kept.values.min(), kept.values.max()) == (series.values.min(), series.values.max())
    else:
        assert not np.isfinite(kept.values).all(), "a run that left the finite numbers must show it"


def test_the_command_of_a_cell_measures_that_cell_again(toys: Path, tmp_path: Path) -> None:
    """Planned anew from its own command, a cell has the same measurement id: same runs, same partners."""
    both = ("toy_early", "toy_late")
    crosses = (
        CrossSpec(phenomena=both, architectures=("toy_other", "toy_net"), tasks=("toy_points",), seeds=4),
        CrossSpec(
            phenomena=both,
            architectures=("toy_net[width=6]", "toy_other[width=6]"),
            tasks=("toy_points",),
            seeds=2,
        ),
    )
    records = planned(Suite(name="t", crosses=crosses), tmp_path)
    commands = Commands(records, PLAN)
    cells = [record for record in records if not record.control]
    assert len(cells) == (2 + 1) * 4
    for record in cells:
        words = shlex.split(" ".join(commands.rerun(record)))
        options = vars(build_parser().parse_args(words[1:]))
        axes = ("suite", "architectures", "tasks", "phenomena", "seeds", "name")
        assert record.id in {again.id for again in planned(choose(*(options[key] for key in axes)), tmp_path)}
    asked = {(r.phenomenon, r.architecture): " ".join(commands.rerun(r)) for r in cells}
    assert "--architectures toy_other --tasks" in asked["toy_early", "toy_other"]
    assert "--architectures toy_other toy_net --tasks" in asked["toy_late", "toy_net"]


def planned(suite: Suite, root: Path) -> list[CellRecord]:
    plan = Planner(root).add_suite(suite)
    return [
        CellRecord(
            phenomenon=cell.phenomenon.name,
            version=cell.phenomenon.version,
            claim_name=name,
            claim=claim,
            architecture=cell.architecture,
            task=cell.task,
            variant=cell.phenomenon.name,
            control=cell.control and cell.control.id,
            expects=("present",) if cell.control else (),
            groups=tuple(
                GroupRecord(key=g.key, units=g.units, runs=g.runs, state="missing") for g in cell.groups
            ),
        )
        for cell in plan.cells
        for name, claim in cell.phenomenon.claims.items()
    ]


def test_commands_quote_what_a_shell_would_read() -> None:
    evil = "$(touch x)`id`;'\"\\ \n\u202e\U000e0041!"
    record = cell(evil, "digits")
    plan = replace(PLAN, plugins=(evil,), data_root=True)
    command = " ".join(Commands([record], plan).rerun(record))
    assert plain(command, None) == command, "what is shown is what is copied"
    script = f"universality() {{ printf '%s\\0' \"$@\"; }}; {command}"
    result = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
    )
    words = result.stdout.decode().split("\0")
    assert words[words.index("--architectures") + 1] == words[words.index("--plugins") + 1] == evil
    assert words[words.index("--data-root") + 1] == "PATH/TO/DATA"


def test_every_verdict_can_be_read_on_its_colour() -> None:
    assert all(contrast(colour, ink(colour)) >= 4.5 for colour in COLOURS.values())


def test_report_writes_the_page_and_the_latex_table_without_torch(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "results")
    plan = replace(PLAN, cells=tuple(record.id for record in RECORDS))
    store.write_measurements(RECORDS, plan.file())
    store.write(store.layout.suite, 'name = "demo"\n')
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] != 'torch', 'torch was imported'\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from universality.commands.main import main\n"
        f"sys.exit(main(['report', {str(store.layout.root)!r}]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120,
                            env={**os.environ, "PYTHONPATH": str(CHECKOUT)})  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = store.layout.report
    first = (report / "index.html").read_bytes()
    assert b"name = &#34;demo&#34;" in first
    assert (report / "universality.tex").read_text().count("\\\\") > 3
    assert str(report / "index.html") in result.stdout
    rebuild(store)
    assert (report / "index.html").read_bytes() == first, "equal results, equal bytes"


def test_the_boundaries_of_the_table_are_those_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Boundary(
        phenomenon="edge_of_stability",
        claim_name="gd",
        of="mlp",
        parameter="output_scale",
        example="mlp",
        beside="<b>digits",
        decided=((1.0, "present"), (10.0, "absent")),
        undecided=(),
    )
    monkeypatch.setattr(resultset, "boundaries", lambda verdicts, plan: [end])
    store = Store.create(tmp_path / "results")
    plan = replace(PLAN, cells=tuple(record.id for record in RECORDS))
    store.write_measurements(RECORDS, plan.file())
    assert rebuild(store).results.boundaries == (end,)
    for name in ("universality.md", "index.html"):
        assert "changes between 1 and 10" in (store.layout.report / name).read_text()
    assert "&lt;b&gt;digits" in written(RECORDS)
    monkeypatch.undo()
    assert 'id="boundaries"' not in written(RECORDS)


# In a browser.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(written(RECORDS, runs=RUNS, toml='name = "demo"'), encoding="utf-8")
    return path


def count(view: Any) -> str:
    return view.locator("output").inner_text()


def test_filters_leave_what_they_name_and_live_in_the_address(browser: Any, demo: Path) -> None:
    with Visit(browser, demo) as view:
        assert count(view) == "7 of 7 cells"
        view.locator("select[name=phenomenon]").select_option("Edge of stability")
        assert count(view) == "6 of 7 cells"
        assert not view.locator(".panel[data-phenomenon=Grokking]").is_visible()
        view.locator(".toggle[data-value='decided']").click()
        assert count(view) == "3 of 7 cells"
        view.locator("select[name=architecture]").select_option("cnn")
        assert count(view) == "1 of 7 cells"
        assert (
            view.locator(".cell:visible").get_attribute("aria-label")
            == "absent 3.00: gradient descent (gd), cnn, digits"
        )
        headers = view.locator(".grid thead th:visible").all_inner_texts()
        assert [header.split() for header in headers] == [["digits", "small", "real"], ["gd"]]
        view.reload()
        view.locator("output", has_text="1 of 7 cells").wait_for()
        assert view.locator(".toggle[data-value='decided']").get_attribute("aria-pressed") == "true"
        view.locator(".reset").click()
        assert count(view) == "7 of 7 cells"
        assert "#" not in view.url
        view.locator("select[name=task]").select_option("modular[p=23]")
        view.locator(".toggle[data-value=present]").click()
        assert count(view) == "0 of 7 cells"
        assert view.locator(".none").is_visible()


def test_cells_are_filtered_by_what_evidence_from_their_task_is_worth(browser: Any, demo: Path) -> None:
    """A task that does not say counts as not stated."""
    with Visit(browser, demo) as view:
        tiers = view.locator(".toggle[data-filter=tier]")
        on_digits = sum(r.task == "digits" for r in RECORDS if not r.control)
        assert [text.split() for text in tiers.all_inner_texts()] == [
            ["small", "real", str(on_digits)],
            ["not", "stated", str(7 - on_digits)],
        ]
        tiers.first.click()
        assert count(view) == f"{on_digits} of 7 cells"
        assert set(
            view.locator(".cell:visible").evaluate_all("all => all.map(b => b.ariaLabel.split(', ').at(-1))")
        ) == {"digits"}
        view.reload()
        view.locator("output", has_text=f"{on_digits} of 7 cells").wait_for()
        view.locator(".cell[data-i='0']").click()
        assert "on digits (data: small real)" in view.locator("dialog").inner_text()


def test_a_cell_opens_by_mouse_with_all_that_is_known_of_it(browser: Any, demo: Path) -> None:
    with Visit(browser, demo) as view:
        view.locator(".cell[data-i='0']").click()
        panel = view.locator("dialog")
        text = panel.inner_text()
        for expected in ("Edge of stability · gradient descent (gd)", "mlp[width=32] on digits", "present", "3 of 3 hold",
                         "1.001 [0.9985, 1.003]", "0.9 to 1.15 (sharpness / (2/lr))", "training accuracy",
                         "needs >= 0.9", "crossing_step", f"measurement {RECORDS[0].id}",
                         "universality run --name rerun-"):  # fmt: skip
            assert expected in text
        assert "'mlp[width=32]' --tasks digits --seeds 3" in text
        assert panel.locator("svg circle.dot").count() == 3
        lines = panel.locator("svg path.line")
        assert lines.count() == 3
        assert lines.first.get_attribute("d").count("L") == 99
        assert panel.locator(".bandfill").count() == 2
        assert panel.locator(".matrices rect").count() == 4
        assert f"cell={RECORDS[0].id}" in view.url
        panel.locator(".next").click()
        assert "mlp[width=32] on modular[p=23]" in panel.inner_text()
        assert "No trajectory of this cell is stored" in panel.inner_text()
        panel.locator(".close").click()
        assert not panel.is_visible()
        view.locator("#controls .open").first.click()
        assert "positive: tanh. Expected: present. Passed." in panel.inner_text()
        assert panel.locator(".next").is_disabled()


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_of_each_kind_is_drawn_from_its_numbers(browser: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "index.html"
    path.write_text(page(of_kind(kind), runs=RUNS), encoding="utf-8")
    with Visit(browser, path) as view:
        view.locator(".cell[data-i='0']").click()
        charts = view.locator("dialog .content > svg, dialog .matrices svg")
        svg = charts.nth(1)

        def all_of(selector: str, attribute: str) -> list[str]:
            return svg.locator(selector).evaluate_all(
                "(all, name) => all.map((e) => e.getAttribute(name))", attribute
            )

        text = view.locator("dialog").inner_text()
        if kind == "lines":
            assert len(all_of("path.line", "d")) == 3
            assert len(all_of("path.mark", "d")) == 3
            assert [("open" in c) for c in all_of("path.mark", "class")] == [False, False, True]
            assert len(all_of("rect.bandfill", "x")) == len(all_of("path.theory", "d")) == 1
            assert "threshold" in text
            assert heights(all_of("path.theory", "d")[0]) == pytest.approx([130, 130]), "half-way from 0 to 2"
        if kind == "curves":
            assert len(all_of("path.line", "d")) == 6
            assert len({c.split()[1] for c in all_of("path.line", "class")}) == 2, "a colour for each width"
            assert len(all_of("circle.open", "cx")) == 5
            (theory,) = all_of("path.theory", "d")
            short, whole = all_of("path.line", "d")[:2]
            assert heights(theory) == pytest.approx([heights(whole)[0], heights(whole)[2]])
            assert np.diff(heights(whole))[0] == pytest.approx(np.diff(heights(whole))[1], abs=0.2), (
                "straight"
            )
            assert heights(short)[0] < heights(whole)[0], "twice the loss is higher up"
            assert "loss, width 4" in text
            assert "effect: 1" in text
        if kind == "dots":
            (line,) = all_of("path.theory", "d")
            (x0, y0), (x1, y1) = points_in(line)
            assert len(all_of("circle.dot", "cx")) == 6
            for x, y in zip(all_of("circle.dot", "cx")[:2], all_of("circle.dot", "cy")[:2], strict=True):
                above = y0 + (float(x) - x0) / (x1 - x0) * (y1 - y0) - float(y)
                assert (above > 0) == (x == all_of("circle.dot", "cx")[0]), "1.5 for 1, and 2 for 3"
        if kind == "bars":
            bars = all_of("path.bars", "d")
            assert len(bars) == 3
            tops = heights(bars[0])
            assert tops[0] == tops[3] == tops[4] == tops[-1], "a bin of nothing lies on the axis"
            assert (tops[0] - tops[5]) * 2 == pytest.approx(tops[0] - tops[1], abs=0.3)
        if kind == "levels":
            assert len(all_of("circle.dot", "cx")) == 3
            assert len(all_of("path.null", "d")) == 6
            assert len(all_of("path.needed", "d")) == 3
            needed, value = (
                points_in(all_of("path.reach", "d")[0])[0][0],
                float(all_of("circle.dot", "cx")[0]),
            )
            assert needed < value
            assert "the largest of these + 0.1" in text
        if kind == "matrices":
            assert all_of("rect", "fill-opacity") == ["1", "0.25", "0.25", "1"]
            assert "after training" in text


def points_in(path: str) -> list[tuple[float, float]]:
    """The corners of a path of straight lines; of `M1 2H3` both, too."""
    path = re.sub(r"M(\S+) (\S+)H(\S+)", r"M\1 \2L\3 \2", path)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def heights(path: str) -> list[float]:
    return [y for _, y in points_in(path)]


def test_cells_can_be_reached_opened_and_left_by_keyboard(browser: Any, demo: Path) -> None:
    with Visit(browser, demo) as view:
        focused = "document.activeElement.dataset.i"
        assert view.locator("[data-phenomenon='Edge of stability'] .cell[tabindex='0']").count() == 1
        view.locator(".reset").focus()
        view.keyboard.press("Tab")
        assert view.evaluate(focused) == "0"
        view.keyboard.press("ArrowDown")
        assert view.evaluate(focused) == "1"
        view.keyboard.press("ArrowRight")
        assert view.evaluate(focused) == "4"
        view.keyboard.press("Enter")
        assert "crashed" in view.locator("dialog").inner_text()
        view.keyboard.press("ArrowLeft")
        assert "cnn on digits" in view.locator("dialog").inner_text()
        view.keyboard.press("Escape")
        assert not view.locator("dialog").is_visible()
        # The page moves it when the dialog says that it was closed, a task later: back to the cell shown last.
        view.wait_for_function(f"{focused} === '1'")


def test_an_address_with_a_cell_opens_it(browser: Any, demo: Path) -> None:
    with Visit(browser, demo, hash_=f"#verdict=present&cell={RECORDS[6].id}") as view:
        assert "Grokking · generalises late (delay)" in view.locator("dialog").inner_text()
        assert count(view) == "3 of 7 cells"


def test_hostile_names_stay_inert_in_a_browser(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    records, plan = hostile()
    path.write_text(written(records, plan, toml=ATTACK), encoding="utf-8")
    with Visit(browser, path, hash_="#phenomenon=<img src=x>&cell=constructor&verdict=__proto__") as view:
        for index in range(3):
            view.locator(f".cell[data-i='{index}']").click()
            assert "window.hacked=1" in view.locator("dialog h2").inner_text()
            view.keyboard.press("Escape")
        assert view.evaluate("window.hacked") is None
        assert view.locator("img").count() == 0
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, demo: Path, width: int) -> None:
    with Visit(browser, demo, width) as view:
        sideways = "e => [e.scrollWidth, e.clientWidth]"
        assert view.evaluate("document.documentElement.scrollWidth") == width
        view.evaluate("document.querySelectorAll('details').forEach(d => (d.open = true))")
        assert view.evaluate("document.documentElement.scrollWidth") == width
        view.locator(".cell[data-i='0']").click()
        inner, outer = view.locator("dialog").evaluate(sideways)
        assert inner <= outer


def test_displays_stand_in_the_page_and_what_one_cell_says_is_a_list(browser: Any, tmp_path: Path) -> None:
    names = [f"alone{i}" for i in range(4)]
    records = [cell(net, task) for net in ("mlp", "cnn") for task in ("digits", "xor")]
    records += [cell(phenomenon=name, claim_name=c) for name in names for c in ("gd", "adam")]
    path = tmp_path / "index.html"
    path.write_text(written(records), encoding="utf-8")
    for width in (390, 1280):
        with Visit(browser, path, width) as view:
            view.evaluate("document.querySelectorAll('details').forEach(d => (d.open = true))")
            assert view.evaluate("document.documentElement.scrollWidth") == width
            assert view.locator("#evidence svg.drawing:not(.key)").count() == 1 + 5
            assert view.locator("#thresholds figure").count() == 9
            assert view.locator("#effects svg.orchard:not(.key)").count() == 1
            assert view.locator(".panel.single").count() == 4
            # Arrows move inside a list, and filters know it.
            view.locator(".panel.single .cell").first.focus()
            view.keyboard.press("ArrowDown")
            assert "alone0" in view.evaluate("document.activeElement.closest('.panel').dataset.phenomenon")
            assert view.evaluate("document.activeElement.dataset.i") == "5"
            view.locator("select[name=architecture]").select_option("cnn")
            assert count(view) == "2 of 12 cells"
            assert view.locator(".panel.single:visible").count() == 0


def test_many_cells_without_a_verdict_for_one_reason_are_one_line(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    records = [cell(f"net{i}", state="crashed") for i in range(9)]
    path.write_text(written([*records, *(cell(f"n{i}", met=False) for i in range(3))]), encoding="utf-8")
    with Visit(browser, path) as view:
        rows = view.locator("#missing tbody tr")
        assert rows.count() == 2
        assert view.locator("#missing .link:visible").count() == 3
        view.locator("#missing td summary").click()
        assert view.locator("#missing .link:visible").count() == 12


def known_set(phenomena: int = 12) -> ResultSet:
    """30 cells of each phenomenon, with controls: some are universal here, some not at all."""
    records = [
        cell(f"net{a}", f"task{t}", phenomenon=f"phenomenon_{p}", effect=1.0 if p % 3 else 3.0)
        for p in range(phenomena)
        for a in range(6)
        for t in range(5)
    ]
    for p in range(phenomena):
        of = {"phenomenon": f"phenomenon_{p}"}
        records += [
            cell("reference", control=POSITIVE, expects=("present",), **of),
            cell("lazy", effect=0.1, control=NEGATIVE, expects=("absent",), **of),
        ]
    return result_set(records)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("known") / "index.html"
    path.write_text(page(known_set()), encoding="utf-8")
    return path


SECTIONS = ("table", "effects", "thresholds", "controls", "missing", "provenance")


def test_on_a_phone_long_sections_are_folded_and_what_is_asked_for_opens(browser: Any, known: Path) -> None:
    with Visit(browser, known, 390) as view:
        assert view.evaluate("document.documentElement.scrollHeight") < 6 * 844
        assert view.evaluate("document.querySelector('#cells').getBoundingClientRect().top") < 4 * 844
        opened = "name => document.querySelector(`#${name} > .fold`).open"
        assert not any(view.evaluate(opened, name) for name in SECTIONS)
        assert view.locator(".cell:visible").count() == 0
        view.locator("#effects summary").focus()
        view.keyboard.press("Enter")
        assert view.locator("#effects figure").first.is_visible()
        view.keyboard.press("Enter")
        view.locator("nav a[href='#table']").click()
        assert [name for name in SECTIONS if view.evaluate(opened, name)] == ["table"]
        assert view.evaluate("Math.abs(document.querySelector('#table').getBoundingClientRect().top)") < 2
        view.locator("select[name=phenomenon]").select_option("phenomenon_3")
        assert view.locator(".cell:visible").count() == 30
        view.reload()
        view.locator("output", has_text="30 of 360 cells").wait_for()
        assert view.locator(".cell:visible").count() == 30, "what the address asks for is open too"
        view.set_viewport_size({"width": 1280, "height": 850})
        view.locator("#provenance .facts").wait_for()
    with Visit(browser, known, 390, hash_="#controls") as view:
        assert [name for name in SECTIONS if view.evaluate(opened, name)] == ["controls"]
    with Visit(browser, known) as view:
        assert all(view.evaluate(opened, name) for name in SECTIONS)
        assert view.locator(".cell:visible").count() == 360


def test_a_cell_that_was_open_can_be_focused_in_a_folded_table(browser: Any, known: Path) -> None:
    first = known_set().verdicts[0].record.id
    with Visit(browser, known, 390, hash_=f"#cell={first}") as view:
        assert "phenomenon_0" in view.locator("dialog h2").inner_text()
        view.keyboard.press("Escape")
        view.wait_for_function("document.activeElement.dataset.i === '0'")


def test_without_scripts_and_on_paper_nothing_is_folded(browser: Any, known: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    try:
        view = context.new_page()
        view.goto(known.as_uri())
        for name in SECTIONS:
            assert view.locator(f"#{name} > .fold[open]").count() == 1, name
        assert view.locator(".cell:visible").count() == 360
    finally:
        context.close()
    with Visit(browser, known, 390) as view:
        view.pdf()
        assert view.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1400, 900)])
def test_the_first_screen_answers(browser: Any, known: Path, width: int, height: int) -> None:
    with Visit(browser, known, width, height=height) as view:
        bottom = "e => e.getBoundingClientRect().bottom"
        counts = view.locator(".tally a")
        assert counts.all_inner_texts() == ["8 universal here", "4 not universal"]
        assert all(count.evaluate(bottom) < height / 2 for count in counts.all())
        assert all(view.locator("#answers li").nth(i).evaluate(bottom) < height for i in range(2))
        link = counts.last
        view.evaluate("document.querySelectorAll('.answers').forEach(d => (d.open = false))")
        link.click()
        told = view.locator("#answers-2")
        assert told.evaluate("e => e.open")
        assert "Not universal: 4 claims" in told.inner_text()
        assert view.url.count("#") == 0, "the address is that of the filters"


def test_print_shows_every_table_and_no_control(browser: Any, demo: Path) -> None:
    with Visit(browser, demo) as view:
        assert view.pdf().startswith(b"%PDF")
        assert view.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
        view.emulate_media(media="print")
        assert not view.locator(".filters").is_visible()
        assert not view.locator("nav").is_visible()
        assert view.locator(".legend").is_visible()
        assert view.locator(".cell:visible").count() == 7


def test_two_thousand_cells_are_quick_and_small(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_text(page(large()), encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    with Visit(browser, path) as view:
        ready = view.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        # On an idle core 0.3 s; the bound leaves room for a busy machine, not for quadratic work.
        assert ready < 3000, f"{ready:.0f} ms"
        assert count(view) == "2000 of 2000 cells"
        took = view.evaluate(
            "() => { const t = performance.now(); document.querySelector('[data-value=present]').click();"
            " document.body.offsetHeight; return performance.now() - t; }"
        )
        assert took < 2000, f"{took:.0f} ms"


def test_a_page_without_runs_keeps_the_trajectories_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(written(RECORDS, runs=RUNS), encoding="utf-8")
    some = sorted(RUNS)[:2]
    assert earlier_runs(path, [*some, "another"]) == {run: RUNS[run] for run in some}
    for forged in (
        {some[0]: {**RUNS[some[0]], "state": ATTACK}},
        {some[0]: {**RUNS[some[0]], "seed": "0"}},
        {some[0]: {**RUNS[some[0]], "series": {"m": [[0], [ATTACK]]}}},
        {some[0]: {**RUNS[some[0]], "series": {"m": [[0, 1], [1.0]]}}},
        {some[0]: None},
    ):
        path.write_text(written(RECORDS, runs=forged), encoding="utf-8")
        assert earlier_runs(path, some) == {}
    bomb = base64.b64encode(gzipped([b"[" + b"0," * (33 << 20)])).decode()
    for data in (bomb, bomb[:-8], "é", "", "e30="):
        path.write_text(f'<script type="application/gzip" id="run-data">{data}</script>', encoding="utf-8")
        assert earlier_runs(path, some) == {}
    path.write_text("no page")
    assert earlier_runs(path, some) == earlier_runs(tmp_path / "missing.html", some) == {}


def test_trajectories_take_the_room_that_is_left_and_no_more() -> None:
    """500 runs of two metrics would take .8 MB at 200 points each."""
    random = np.random.default_rng(0)

    class Run:
        spec, state = SimpleNamespace(seed=0), "done"

        def steps(self, metric: str) -> tuple[int, ...]:
            return (0,)

        def series(self, metric: str) -> Series:
            return Series(np.arange(0, 4000, 10), random.normal(1, 0.3, 400))

    store: Any = SimpleNamespace(recordings=lambda run_id: iter([Run()]))
    results = large()
    bare = len(page(results).encode())
    room = 500_000
    runs = fit(stored_series(store, results), room)
    assert len(runs) == 500
    size = len(page(results, runs=runs).encode())
    assert bare + 0.5 * room < size < bare + 1.1 * room
    few = dataclasses.replace(results, records=results.records[:10])
    full = fit(stored_series(store, few), room)
    assert all(len(steps) > 150 for run in full.values() for steps, _ in run["series"].values())


def test_of_more_runs_than_there_is_room_for_every_claim_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universality.output.page.series.MAX_RUNS", 7)
    results = result_set(
        [
            cell(f"mlp[width={width}]", phenomenon=phenomenon, effect=1.0, seeds=2)
            for phenomenon, widths in (("many", range(8, 12)), ("few", range(20, 22)))
            for width in widths
        ]
    )
    run: Any = SimpleNamespace(spec=SimpleNamespace(seed=0), state="done", steps=lambda name: (0,))
    store: Any = SimpleNamespace(recordings=lambda run_id: iter([run]))
    assert set(stored_series(store, results)) == run_ids([*results.records[:2], results.records[4]])


def large() -> ResultSet:
    """20 phenomena, 10 networks, 10 tasks, five seeds."""
    return result_set(
        [
            cell(f"transformer[dim={2**a},activation=tanh]", f"modular[p={t},train_fraction=0.7]",
                 phenomenon=f"phenomenon_{p}", effect=0.5 + (7 * p + 3 * a + t) % 13 / 10, seeds=5)
            for p in range(20)
            for a in range(10)
            for t in range(10)
        ]
    )  # fmt: skip
