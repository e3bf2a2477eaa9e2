"""Plans: every training once, every mistake before the first of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from universality.errors import BadParameter, BadSuite, DataUnavailable, UnknownName
from universality.judge.measure import measure_cell
from universality.plan import inquiry, suite
from universality.plan import planner as planning
from universality.plan.cost import (
    FEW,
    LONG,
    OPTIMIZER_SECONDS,
    ROWS,
    SHARPNESS_GRADIENTS,
    GradientCost,
    gradient_cost,
    timed_gradient,
)
from universality.plan.plan import Plan, PlannedCell, unscaled, unvalidated
from universality.plan.planner import Planner
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.controls import positive
from universality.plugin.phenomenon import Phenomenon, controls_of
from universality.plugin.runs import Request
from universality.plugin.sources import edition
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature
from universality.store.store import Store


@pytest.fixture(autouse=True)
def _free_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "gradient_cost", lambda rows, timed: GradientCost(0.5, 100.0))
    monkeypatch.setattr(inquiry, "try_request", lambda *_, curvature: None)


def cross(phenomena: str, architectures: str, tasks: str, seeds: int = 2) -> CrossSpec:
    return CrossSpec(
        phenomena=tuple(phenomena.split()),
        architectures=tuple(architectures.split()),
        tasks=tuple(tasks.split()),
        seeds=seeds,
    )


def planned(root: Path, *crosses: CrossSpec, controls: bool = False) -> Plan:
    return Planner(root).add_suite(Suite(name="toy", crosses=crosses, controls=controls))


def runs_of(cell: PlannedCell) -> set[str]:
    return {run for group in cell.groups for run in group.runs.values()}


@pytest.mark.usefixtures("toys")
def test_a_cross_is_every_phenomenon_in_every_architecture_on_every_task(tmp_path: Path) -> None:
    plan = planned(tmp_path, cross("toy_early toy_late", "toy_net toy_other", "toy_points digits"))
    found = Counter((c.phenomenon.name, c.architecture, c.task) for c in plan.cells)
    assert found == Counter(
        (p, a, t)
        for p in ("toy_early", "toy_late")
        for a in ("toy_net", "toy_other")
        for t in ("toy_points", "digits")
    )


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("controls", [True, False])
def test_claims_that_no_control_judges_are_named_before_anything_is_trained(
    tmp_path: Path, controls: bool
) -> None:
    asked = Suite(name="toy", crosses=(cross("toy_early", "toy_net", "toy_points"),), controls=controls)
    lines = unvalidated(Planner(tmp_path).add_suite(asked), asked)
    both, where = "no positive and no negative control", "" if controls else " in this suite"
    assert lines == [
        f"toy_early.one has {'no negative control' if controls else both}{where}: its row will be unvalidated",
        f"toy_early.two has {'no negative control' if controls else both}{where}: its row will be unvalidated",
    ]


def test_inputs_far_from_what_networks_are_initialised_for_are_named(tmp_path: Path) -> None:
    """Columns as of the wine data: some of hundreds, some below one."""
    y = np.arange(60) % 3
    for name, scales in {
        "raw": (750.0, 0.2),
        "scaled": (1.0, 1.0),
        "tiny": (1e-3, 1e-4),
        "huge": (1e25, 1.0),
    }.items():
        x = np.random.default_rng(0).normal(size=(120, 2)) * scales
        np.savez(tmp_path / f"{name}.npz", train_x=x[:60], train_y=y, test_x=x[60:], test_y=y)
    planner = Planner(tmp_path)
    for name in ("raw", "scaled", "tiny", "huge", "huge.npz,standardise=true"):
        path = name if "," in name else f"{name}.npz"
        planner._inquiry.signature(registry.resolve("task", f"arrays[path={path}]"))
    raw, tiny, huge = unscaled(planner.plan)
    assert raw.startswith("arrays[path=raw.npz]: inputs have root mean squares up to 7")
    assert raw.endswith("by (x - mean) / std of the training rows, as arrays[standardise=true] does")
    assert tiny.startswith("arrays[path=tiny.npz]: ")
    assert huge.startswith("arrays[path=huge.npz]: inputs have root mean squares up to inf")


@pytest.mark.usefixtures("toys")
def test_a_run_that_two_phenomena_need_is_planned_once_with_the_union_of_what_they_observe(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, cross("toy_early toy_late", "toy_net toy_other", "toy_points", seeds=3))
    assert len(plan.jobs) == 2 * 3
    for run_id, job in plan.jobs.items():
        assert job.spec.id == run_id
        # At(0, 1/2) and Every(3) of 8 steps; At(1/4) and At(0, 1): neither holds the other.
        assert job.observe == {"accuracy": (0, 3, 4, 5, 8), edition("toy_probe"): (0, 2, 8)}
        # Eight updates, five passes forward over both sets, and three records at half a gradient each.
        probes = 5 * (2 / 3) * 0.5 + 3 * 0.5 * 0.5
        assert job.seconds == pytest.approx(8 * (0.5 + OPTIMIZER_SECONDS) + probes)
    assert sum(job.seconds for job in plan.jobs.values()) == pytest.approx(6 * job.seconds)
    # What each group needs is not widened by what others asked of the same run.
    early = next(c for c in plan.cells if c.phenomenon.name == "toy_early")
    assert early.groups[0].observe == {"run": {"accuracy": (0, 4), edition("toy_probe"): (2,)}}


@pytest.mark.usefixtures("toys")
def test_every_group_points_at_planned_runs_that_observe_enough(tmp_path: Path) -> None:
    plan = planned(tmp_path, cross("toy_early toy_late", "toy_net toy_other", "toy_points"), controls=True)
    for cell in plan.cells:
        for group in cell.groups:
            assert set(group.runs) == set(group.observe)
            for role, run_id in group.runs.items():
                for probe, steps in group.observe[role].items():
                    assert set(steps) <= set(plan.jobs[run_id].observe[probe])


@pytest.mark.usefixtures("toys")
def test_observing_more_never_changes_a_run(tmp_path: Path) -> None:
    alone = planned(tmp_path, cross("toy_early", "toy_net", "toy_points"))
    both = planned(tmp_path, cross("toy_early toy_late", "toy_net toy_other", "toy_points"))
    assert set(alone.jobs) <= set(both.jobs)


@pytest.mark.usefixtures("toys")
def test_a_modified_architecture_is_a_cell_of_its_own(tmp_path: Path) -> None:
    plan = planned(tmp_path, cross("toy_early", "toy_net toy_net+output_scale[alpha=3]", "toy_points"))
    plain, modified = plan.cells
    assert (plain.architecture, modified.architecture) == ("toy_net", "toy_net+output_scale[alpha=3.0]")
    assert not runs_of(plain) & runs_of(modified)
    specs = [plan.jobs[next(iter(runs_of(cell)))].spec for cell in plan.cells]
    assert specs[0].architecture == specs[1].architecture.unmodified


@pytest.mark.usefixtures("toys")
def test_a_modifier_that_an_architecture_cannot_take_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        planned(tmp_path, cross("toy_early", "toy_net+mup[base=2,rule=sgd]", "toy_points"))
    assert str(caught.value) == (
        "mup cannot modify toy_net\n"
        "  where: toy_net+mup[base=2,rule=sgd]\n"
        "  got:   toy_net has no scaling axis"
    )


@pytest.mark.usefixtures("toys")
def test_a_recipe_that_a_modifier_cannot_take_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        planned(tmp_path, cross("toy_early", "mlp[width=8]+mup[base=4]", "toy_points"))
    assert re.sub(r"/\S*/", "", str(caught.value)) == (
        "mup does not suit the recipe\n"
        "  where: toys.py:87, mlp[width=8]+mup[base=4]\n"
        "  got:   optimizer=sgd needs rule=sgd"
    )


@pytest.mark.usefixtures("toys")
def test_two_spellings_of_one_architecture_are_one(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, cross("toy_early toy_late", "toy_net toy_net[width=4] toy_net[gain=1]", "toy_points")
    )
    assert [c.phenomenon.name for c in plan.cells] == ["toy_early", "toy_late"]
    assert plan.cells[1].groups == ()  # nor is it its own partner
    assert len(plan.jobs) == 2


@pytest.mark.usefixtures("toys")
def test_crosses_that_overlap_count_the_evidence_once(tmp_path: Path) -> None:
    twice = cross("toy_early", "toy_net", "toy_points")
    assert len(planned(tmp_path, twice, twice).cells) == 1


def partners_in(plan: Plan) -> dict[str, list[str]]:
    return {
        cell.architecture: [plan.jobs[group.runs["b"]].spec.architecture.name for group in cell.groups]
        for cell in plan.cells
    }


@pytest.mark.usefixtures("toys")
def test_partners_are_the_other_architectures_that_can_take_the_task(tmp_path: Path) -> None:
    plan = planned(tmp_path, cross("toy_late", "toy_net toy_other mlp cnn", "toy_points", seeds=1))
    partners = partners_in(plan)
    assert partners["toy_net"] == ["toy_other", "mlp"]  # vectors are nothing for cnn
    images = planned(tmp_path, cross("toy_late", "toy_net mlp cnn", "toy_points[kind=image]", seeds=1))
    assert partners_in(images) == {"toy_net": [], "mlp": ["cnn"], "cnn": ["mlp"]}


@pytest.mark.usefixtures("toys")
def test_cells_that_cannot_be_asked_keep_the_reason_and_cost_nothing(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        cross("toy_early", "toy_net", "toy_points[kind=image] toy_points digits[classes=4]"),
    )
    reasons = {c.task: c.not_applicable for c in plan.cells}
    assert reasons == {
        "toy_points[kind=image]": "toys are flat",
        "toy_points": "",
        "digits[classes=4]": "toys are flat",
    }
    other = planned(tmp_path, cross("toy_early", "toy_net toy_other", "toy_points gaussian_mixture"))
    assert {c.task: c.not_applicable for c in other.cells}["gaussian_mixture"] == "needs two classes"
    assert {job.spec.task.name for job in other.jobs.values()} == {"toy_points"}


@pytest.mark.usefixtures("toys")
def test_a_suite_of_which_nothing_can_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSuite) as caught:
        planned(tmp_path, cross("toy_early toy_late", "toy_net", "digits"), controls=True)
    assert str(caught.value) == (
        "no cell of this suite is applicable\n"
        "  where: toy\n"
        "  got:   toy_early: toys are flat; toy_late: toys are flat\n"
        "  do:    ask another network or another task: `universality list` says what each is made for"
    )


# --------------------------------------------------------------------------- mistakes, before any training


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("phenomena", "architectures", "tasks", "what"),
    [
        ("toy_erly", "toy_net", "toy_points", "unknown phenomenon 'toy_erly'"),
        ("toy_early", "toy_nett", "toy_points", "unknown architecture 'toy_nett'"),
        ("toy_early", "toy_net", "toy_point", "unknown task 'toy_point'"),
        (
            "toy_early",
            "toy_net[widht=3]",
            "toy_points",
            "unknown parameter of architecture 'toy_net' 'widht'",
        ),
        ("toy_late[probe=toy_prob]", "toy_net toy_other", "toy_points", "unknown probe 'toy_prob'"),
        ("toy_late[probe=toy_probe[row=2]]", "toy_net toy_other", "toy_points", "unknown parameter of probe"),
    ],
)
def test_an_unknown_name_is_found_before_training(
    tmp_path: Path, phenomena: str, architectures: str, tasks: str, what: str
) -> None:
    with pytest.raises(UnknownName) as caught:
        planned(tmp_path, cross(phenomena, architectures, tasks))
    assert caught.value.what.startswith(what)
    assert "did you mean" in str(caught.value)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ("toy_net[width=0]", "a toy needs width\n  got: 0"),
        ("toy_net[width=1000]", "a toy is wider than its input allows\n  got: 1000"),
        ("toy_net[width=x]", "not a number\n  where:    toy_net[width=x]\n  got:      'x'\n  expected: int"),
    ],
)
def test_a_parameter_that_does_not_fit_is_found_before_training(
    tmp_path: Path, architecture: str, text: str
) -> None:
    with pytest.raises(BadParameter) as caught:
        planned(tmp_path, cross("toy_early", f"toy_other {architecture}", "toy_points"))
    assert re.sub(r"/\S*/", "", str(caught.value)) == text


@pytest.mark.usefixtures("toys")
def test_missing_data_is_found_before_training_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable) as caught:
        planned(tmp_path, cross("toy_early", "toy_net", "toy_points toy_points[absent=true]"))
    assert str(caught.value) == (
        f"no points\n  where: data root {tmp_path}\n  do:    universality data fetch toy_points"
    )


@pytest.mark.usefixtures("toys")
def test_all_data_that_is_missing_is_named_before_any_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIVERSALITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry.plugin_class("architecture", "toy_net"), "build", pytest.fail)
    crosses = [cross("toy_early", "toy_net", t) for t in ("toy_points", "toy_points[absent=true]", "mnist")]
    with pytest.raises(DataUnavailable, match="data of 2 tasks: toy_points, mnist") as caught:
        planned(tmp_path, *crosses)
    assert (
        caught.value.do
        == f"universality data fetch toy_points\nuniversality data fetch mnist --data-root {tmp_path}"
    )
    with pytest.raises(UnknownName, match="toy_nets"):
        planned(tmp_path, *crosses, cross("toy_early", "toy_nets", "toy_points"))


def test_missing_mnist_is_found_before_training_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIVERSALITY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataUnavailable) as caught:
        planned(tmp_path, cross("neural_collapse", "mlp", "mnist[subset=100]"))
    assert f"universality data fetch mnist --data-root {tmp_path}" in str(caught.value)


@pytest.mark.usefixtures("toys")
def test_a_network_too_large_for_memory_is_refused_in_planning(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="cannot be built") as refused:
        planned(tmp_path, cross("toy_early", "mlp[width=100000000000]", "toy_points"))
    assert refused.value.where == "mlp[width=100000000000]"


@pytest.mark.usefixtures("toys")
def test_planning_loads_each_task_and_builds_each_network_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(cls: Any, method: str) -> None:
        original = getattr(cls, method)

        def wrapper(self: Any, *arguments: Any) -> Any:
            calls[f"{self.name}.{method}"] += 1
            return original(self, *arguments)

        monkeypatch.setattr(cls, method, wrapper)

    counted(registry.plugin_class("task", "toy_points"), "read")
    counted(registry.plugin_class("architecture", "toy_net"), "build")
    both = cross("toy_early toy_late", "toy_net toy_other", "toy_points")
    planned(tmp_path, both, both)
    # Each network once without memory, to see that it fits, and once as it is.
    assert calls == {"toy_points.read": 1, "toy_net.build": 2, "toy_other.build": 2}


@pytest.mark.usefixtures("toys")
def test_planning_leaves_the_random_state_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with real timing
    before = torch.get_rng_state()
    planned(tmp_path, cross("toy_early", "toy_net", "toy_points"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("toys")
def test_the_cost_of_a_run_is_measured_and_positive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    plan = planned(tmp_path, cross("toy_early", "toy_net", "toy_points"))
    assert all(0 < job.seconds < 60 for job in plan.jobs.values())


@pytest.mark.usefixtures("toys")
def test_memory_is_that_of_the_network_its_data_and_an_update_or_a_probe_that_needs_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = registry.plugin_class("probe", "toy_probe")
    (job, *_) = planned(tmp_path, cross("toy_early", "toy_net", "toy_points")).jobs.values()
    rows = Planner(tmp_path)._inquiry.signature(registry.resolve("task", "toy_points")).train_rows
    assert job.bytes == 16 * job.parameters + job.data_bytes + 100 * rows
    monkeypatch.setattr(probe, "memory", lambda self, recipe, signature, row_bytes: 1e9 + row_bytes)
    (job, *_) = planned(tmp_path, cross("toy_early", "toy_net", "toy_points")).jobs.values()
    assert job.bytes == 16 * job.parameters + job.data_bytes + 1e9 + 100
    monkeypatch.setattr(probe, "memory", lambda *_: math.nan)
    with pytest.raises(BadParameter, match="probe 'toy_probe' cannot be planned") as caught:
        planned(tmp_path, cross("toy_early", "toy_net", "toy_points"))
    assert caught.value.expected == "bytes, 0 or more"


def test_what_a_forward_pass_keeps_of_a_row_is_counted() -> None:
    registry.load_plugins()
    architecture = registry.resolve("architecture", "mlp[width=100,depth=1,activation=tanh]")
    request = Request(architecture, registry.resolve("task", "digits"), Recipe(steps=1, lr=0.1), 0, ())
    signature = Signature(InputSpec("vector", (50,)), 10, 300, 10, 10)
    found = timed_gradient(request, signature, 300).row_bytes
    # tanh keeps its 100 outputs, the loss 10 log-probabilities and its target; inputs are the data's.
    assert 4 * 100 <= found <= 4 * (100 + 2 * 10) + 3 * 8


@pytest.mark.parametrize(
    ("rows", "a_row", "timed_at"),
    [
        (8, 1e-6, [8]),
        (300, 1e-6, [FEW, 300]),
        (20_000, 1e-6, [FEW, ROWS]),
        (
            20_000,
            2 * LONG / FEW,
            [FEW],
        ),  # a large network: timing more of its rows takes long, and tells no more
        (8, LONG, [8]),
    ],
)
def test_a_gradient_is_timed_on_as_many_rows_as_tell_what_all_take(
    rows: int, a_row: float, timed_at: list[int]
) -> None:
    asked: list[int] = []

    def timed(rows: int) -> GradientCost:
        asked.append(rows)
        return GradientCost(a_row * rows, 100.0)

    cost = gradient_cost(rows, timed)
    assert (cost.seconds, cost.row_bytes) == (pytest.approx(a_row * rows), 100.0)
    assert asked == timed_at


@pytest.mark.usefixtures("toys")
def test_what_probes_will_take_is_their_cost_in_gradients_of_the_full_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = registry.plugin_class("probe", "toy_probe")
    monkeypatch.setattr(probe, "cost", lambda self, recipe, signature: recipe.steps * signature.train_rows)
    (job, *_) = planned(tmp_path, cross("toy_early", "toy_net", "toy_points")).jobs.values()
    assert sum(map(len, job.observe.values())) == 3  # accuracy at two steps, the toy probe at one
    assert job.probe_seconds == pytest.approx((2 * 2 / 3 + 8 * 8) * 0.5)
    assert job.seconds == pytest.approx(job.probe_seconds + 8 * (0.5 + OPTIMIZER_SECONDS))


@pytest.mark.usefixtures("toys")
def test_the_sharpness_that_gives_a_rate_is_paid_once_by_runs_that_start_and_are_stacked_together(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, cross("batch_rules", "mlp[width=4,depth=1]", "digits[subset=100]", seeds=2))
    cell = next(cell for cell in plan.cells if cell.control is None)
    beside = {optimizer: [] for optimizer in ("sgd", "adam")}
    for run in {run for group in cell.groups for run in group.runs.values()}:
        job = plan.jobs[run]
        updates = job.spec.recipe.steps * (0.5 + OPTIMIZER_SECONDS)
        beside[job.spec.recipe.optimizer].append(round((job.seconds - job.probe_seconds - updates) / 0.5, 6))
    # Of either seed, seven rates of the large batch start alike, and the small batch is another stack.
    assert sorted(beside["sgd"]) == [0] * 12 + [SHARPNESS_GRADIENTS] * 4
    assert beside["adam"] == [0] * 16


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("cost", "told"), [(lambda: -1.0, "-1"), (lambda: math.nan, "nan"), (lambda: 1 / 0, "Zero")]
)
def test_a_probe_that_cannot_tell_its_cost_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: Callable[[], float], told: str
) -> None:
    probe = registry.plugin_class("probe", "toy_probe")
    monkeypatch.setattr(probe, "cost", lambda self, recipe, signature: cost())
    with pytest.raises(BadParameter, match="probe 'toy_probe' cannot be planned") as caught:
        planned(tmp_path, cross("toy_early", "toy_net", "toy_points"))
    assert told in caught.value.got


# -------------------------------------------------------------------------------------------- controls


@pytest.mark.usefixtures("toys")
def test_controls_are_planned_beside_the_cells_with_replicates_of_their_own(tmp_path: Path) -> None:
    asked = cross("toy_early", "toy_net", "toy_points", seeds=2)
    plan = planned(tmp_path, asked, controls=True)
    cell, control = plan.cells
    assert cell.control is None
    assert control.control is not None
    assert (control.control.name, control.architecture) == ("wide toy", "toy_net[width=6]")
    assert len(control.groups) == DEFAULT_SEEDS
    assert set(plan.jobs) == runs_of(cell) | runs_of(control)
    assert not runs_of(cell) & runs_of(control)
    assert len(planned(tmp_path, asked, controls=False).cells) == 1


@pytest.mark.usefixtures("toys")
def test_a_control_in_the_setting_of_a_cell_trains_nothing_twice(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, cross("toy_early", "toy_net[width=6]", "toy_points", seeds=DEFAULT_SEEDS), controls=True
    )
    cell, control = plan.cells
    assert runs_of(cell) == runs_of(control) == set(plan.jobs)


@pytest.mark.usefixtures("toys")
def test_controls_of_a_phenomenon_that_stands_in_two_crosses_run_once(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        cross("toy_early", "toy_net", "toy_points"),
        cross("toy_early", "toy_other", "toy_points"),
        controls=True,
    )
    assert sum(cell.control is not None for cell in plan.cells) == 1


@pytest.mark.parametrize("name", registry.names("phenomenon"))
def test_every_phenomenon_has_a_positive_and_a_negative_control_that_can_be_planned(name: str) -> None:
    phenomenon: Phenomenon = registry.resolve("phenomenon", name)
    controls = controls_of(phenomenon)
    assert {c.sign for c in controls} == {"positive", "negative"}
    assert len({(c.sign, c.name) for c in controls}) == len(controls), "controls need names of their own"
    for control in controls:
        assert type(control.phenomenon) is type(phenomenon)
        assert set(control.claims) <= set(phenomenon.claims), control.name
        assert control.claims, control.name
        assert control.why, control.name
        for address in (control.architecture, *control.partners):
            registry.resolve("architecture", address)
        registry.resolve("task", control.task)


@pytest.mark.parametrize("name", registry.names("phenomenon"))
def test_every_phenomenon_judges_each_of_its_claims_by_a_positive_control(name: str) -> None:
    phenomenon: Phenomenon = registry.resolve("phenomenon", name)
    judged = {claim for c in controls_of(phenomenon) if c.sign == "positive" for claim in c.claims}
    assert judged == set(phenomenon.claims)


@pytest.mark.parametrize("name", ["strands", "controls"])
def test_the_suites_of_all_strands_and_of_controls_ask_every_builtin_phenomenon(name: str) -> None:
    asked = {name.partition("[")[0] for cross in suite.load(name).crosses for name in cross.phenomena}
    assert asked == set(registry.names("phenomenon"))


def test_a_cross_without_networks_asks_for_the_controls_alone_over_the_seeds_of_the_suite(
    tmp_path: Path,
) -> None:
    alone = suite.CrossSpec(phenomena=("double_descent",))
    plan = Planner(tmp_path).add_suite(suite.Suite(name="alone", crosses=(alone,), control_seeds=7))
    assert [cell.control and cell.control.sign for cell in plan.cells] == ["positive", "negative", "negative"]
    assert {cell.control.name: len(cell.groups) for cell in plan.cells if cell.control} == {
        "random ReLU features of digits": 7,
        "with a ridge": 7,
        "two dimensions": 7,
    }
    usual = Planner(tmp_path).add_suite(suite.Suite(name="usual", crosses=(alone,)))
    assert {len(cell.groups) for cell in usual.cells} == {5}
    assert usual.jobs.keys() < plan.jobs.keys()


@pytest.mark.parametrize("name", ["quick"])
def test_the_quick_suite_plans_without_data_and_every_control_applies(name: str, tmp_path: Path) -> None:
    plan = Planner(tmp_path).add_suite(suite.load(name))
    stuck = {
        f"{c.phenomenon.name}: {c.control.name}": c.not_applicable
        for c in plan.cells
        if c.control is not None and not c.groups
    }
    assert stuck == {}


@pytest.mark.usefixtures("toys")
def test_a_control_without_a_group_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = registry.plugin_class("phenomenon", "toy_late")
    monkeypatch.setattr(late, "controls", (positive("pair", "without a partner there is none"),))
    with pytest.raises(BadParameter, match="a control of phenomenon 'toy_late' asks for nothing"):
        planned(tmp_path, cross("toy_late", "toy_net toy_other", "toy_points"), controls=True)


def test_a_network_beyond_memory_is_refused_before_it_is_built(tmp_path: Path) -> None:
    deep = cross("edge_of_stability", "mlp[width=150000]", "digits[subset=50]")
    with pytest.raises(BadParameter, match="a network cannot be built") as caught:
        planned(tmp_path, deep)
    assert "GiB, this machine has" in caught.value.got


def swept(root: Path, *sweeps: CrossSpec, controls: bool = False) -> Plan:
    crosses = (cross("grokking", "mlp", "modular[p=5]", seeds=3),)
    return Planner(root).add_suite(Suite(name="toy", crosses=crosses, sweeps=sweeps, controls=controls))


def test_a_sweep_adds_settings_that_share_the_controls_and_a_cell_of_a_cross_stays_counted(
    tmp_path: Path,
) -> None:
    sweep = cross("grokking[decay=0.5] grokking[decay=1]", "mlp", "modular[p=5]", seeds=3)
    plan = swept(tmp_path, sweep, controls=True)
    found = [(str(planning.component(c.phenomenon)), c.swept) for c in plan.cells if c.control is None]
    assert found == [("grokking", False), ("grokking[decay=0.5]", True)]
    controls = [c.control.name for c in plan.cells if c.control is not None]
    assert len(controls) == len(set(controls)) == 3


def test_a_sweep_needs_a_cross_of_its_phenomenon_and_its_seeds(tmp_path: Path) -> None:
    with pytest.raises(BadSuite, match="a sweep of a phenomenon that no cross asks for"):
        swept(tmp_path, cross("edge_of_stability", "mlp", "digits", seeds=3))
    with pytest.raises(BadSuite, match="two crosses ask for one cell in different ways"):
        swept(tmp_path, cross("grokking", "mlp", "modular[p=5]", seeds=4))


@pytest.mark.usefixtures("toys")
def test_crosses_that_ask_for_one_cell_differently_are_refused_before_training(tmp_path: Path) -> None:
    first = cross("toy_early", "toy_net", "toy_points", seeds=3)
    second = cross("toy_early", "toy_net", "toy_points", seeds=4)
    with pytest.raises(BadSuite, match="two crosses ask for one cell in different ways"):
        planned(tmp_path, first, second)


def test_a_claim_that_cannot_be_asked_of_a_cell_trains_nothing_and_leaves_the_others(tmp_path: Path) -> None:
    deep, shallow = "mlp[width=8,depth=3]", "mlp[width=8]"
    plan = planned(tmp_path, cross("representation_similarity", f"{deep} {shallow}", "digits[subset=600]", 5))
    cells = {cell.architecture: cell for cell in plan.cells}
    sets = {name: {group.run_set for group in cell.groups} for name, cell in cells.items()}
    assert sets[deep] - sets[shallow] == {"pairs_apart"}
    assert cells[shallow].left_out == {"layers_cka": "needs 3 layers, the network names 2"}
    records = {r.claim_name: r for r in measure_cell(cells[shallow], Store.create(tmp_path / "results"))}
    assert records["layers_cka"].not_applicable == cells[shallow].left_out["layers_cka"]
    assert not records["layers_cka"].groups
    assert not records["cka_seeds"].not_applicable
    assert records["cka_seeds"].groups


@pytest.mark.usefixtures("toys")
def test_a_calibration_is_asked_on_its_reference_alone_and_planned_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.plugin_class("phenomenon", "toy_early"), "calibration", True)
    plan = planned(tmp_path, cross("toy_late toy_early", "toy_net toy_other", "toy_points"), controls=True)
    first, *_ = plan.cells
    assert (first.phenomenon.name, first.architecture, first.task) == (
        "toy_early",
        "toy_net[width=6]",
        "toy_points",
    )
    early = [c for c in plan.cells if c.phenomenon.name == "toy_early"]
    assert plan.cells[: len(early)] == early
    assert len([c for c in early if c.control is None]) == 1
    assert {i for i, job in plan.jobs.items() if job.calibrates} == set().union(*map(runs_of, early))
