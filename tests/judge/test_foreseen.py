"""What a number of replicates can never decide, told from what it can."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from universality.judge.crossed import prevalence
from universality.judge.decide import decide
from universality.judge.foreseen import foreseen_prevalence, least_replicates, too_few_replicates
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.outcome import Check, Outcome
from universality.store.cells import CellRecord, GroupRecord

registry.load_plugins()


def verdict(bound: Bound, seeds: int) -> str:
    """Of as many replicates as seeds, all of which hold."""
    groups = tuple(
        GroupRecord(
            key=f"s{i}", units=(f"s{i}",), runs={"run": f"r{i}"}, state="done", outcome=Outcome(effect=9.0)
        )
        for i in range(seeds)
    )
    return decide(
        CellRecord(
            phenomenon="p", version=1, claim_name="c", claim=bound, architecture="a", task="t", groups=groups
        )
    ).verdict


@pytest.mark.parametrize(
    "bound", [Within(low=1.0), Within(high=99.0, scale="log"), Most(at_least=5.0)], ids=str
)
def test_the_fewest_replicates_decide_and_one_less_does_not(bound: Bound) -> None:
    least = least_replicates(bound)
    assert verdict(bound, least) == "present"
    assert all(verdict(bound, seeds) == "inconclusive" for seeds in range(1, least))


def lines(seeds: int, phenomenon: str, task: str, root: Path) -> list[str]:
    cross = CrossSpec(phenomena=(phenomenon,), architectures=("mlp", "lstm"), tasks=(task,), seeds=seeds)
    return too_few_replicates(Planner(root).add_suite(Suite(name="s", crosses=(cross,))))


def test_three_seeds_never_decide_a_share_of_runs(tmp_path: Path) -> None:
    told = "grokking: 3 seeds can never decide delay, whatever is measured; at least 5 are needed"
    assert lines(3, "grokking", "modular[p=5]", tmp_path) == [told]
    assert lines(5, "grokking", "modular[p=5]", tmp_path) == []


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    (line,) = lines(1, "edge_of_stability", "digits[subset=50]", tmp_path)
    claims = "gd, heavy_ball, nesterov, rmsprop, adam"
    assert line.startswith(f"edge_of_stability: 1 seed can never decide {claims}, ")
    assert line.endswith("at least 3 are needed")
    # Of one seed there is no pair; its partners share it.
    (line,) = lines(1, "representation_similarity", "digits[subset=50]", tmp_path)
    assert "1 seed can never decide cka_architectures, knn_architectures" in line
    assert lines(3, "representation_similarity", "digits[subset=50]", tmp_path) == []


def test_three_seeds_never_call_absent_what_only_a_criterion_refutes(tmp_path: Path) -> None:
    claims = "gd, heavy_ball, nesterov, rmsprop, adam"
    told = f"edge_of_stability: 3 seeds can never call {claims} absent for a criterion, though all miss it; at least 5 are needed"
    assert lines(3, "edge_of_stability", "digits[subset=50]", tmp_path) == [told]
    assert lines(5, "edge_of_stability", "digits[subset=50]", tmp_path) == []
    for seeds, verdict in ((4, "inconclusive"), (5, "absent")):
        missed = tuple(
            GroupRecord(
                key=f"s{i}",
                units=(f"s{i}",),
                runs={"run": f"r{i}"},
                state="done",
                outcome=Outcome(effect=9.0 + 0.01 * i, criteria=(Check("falls", 2.0, at_most=1.0),)),
            )
            for i in range(seeds)
        )
        record = CellRecord(
            phenomenon="p",
            version=1,
            claim_name="c",
            claim=Within(low=1.0),
            architecture="a",
            task="t",
            groups=missed,
        )
        assert decide(record).verdict == verdict


def test_pairs_of_seeds_need_twice_as_many_to_decide_a_share(tmp_path: Path) -> None:
    """All pairs of n seeds are worth n/2 trials, and a share takes five."""
    plan = Planner(tmp_path).add_suite(
        Suite(
            name="s",
            crosses=(
                CrossSpec(
                    phenomena=("representation_similarity",),
                    architectures=("mlp", "lstm"),
                    tasks=("digits[subset=50]",),
                    seeds=9,
                ),
            ),
        )
    )
    assert too_few_replicates(plan) == []
    cell = next(c for c in plan.cells if c.control is None)
    claims = {
        name: dataclasses.replace(claim, bound=Most(at_least=0.1))
        for name, claim in cell.phenomenon.claims.items()
        if name == "cka_seeds"
    }
    asked = [g for g in cell.groups if g.bears_on(claims["cka_seeds"])]
    assert len(asked) == 36
    shares = SimpleNamespace(name="shares", claims=claims)
    told = too_few_replicates(SimpleNamespace(cells=[dataclasses.replace(cell, phenomenon=shares)]))  # type: ignore[arg-type]
    assert told == [
        "shares: 9 seeds can never decide cka_seeds, whatever is measured; at least 10 are needed"
    ]


def test_the_interval_of_the_prevalence_is_foreseen(tmp_path: Path) -> None:
    cross = CrossSpec(
        phenomena=("neural_collapse",),
        architectures=("mlp", "lstm"),
        tasks=("digits[subset=60]", "gaussian_mixture[subset=60]", "sparse_parity[subset=60]"),
        seeds=1,
    )
    plan = Planner(tmp_path).add_suite(Suite(name="s", crosses=(cross,)))
    # Sparse parity has two classes, of which no simplex tells anything.
    full = prevalence([True] * 4, ["a", "a", "b", "b"], ["s", "t"] * 2)
    half = prevalence([True, False, False, True], ["a", "a", "b", "b"], ["s", "t"] * 2)
    assert foreseen_prevalence(plan) == [
        "neural_collapse: 4 cells, 2 networks on 2 tasks; prevalence at best "
        f"[{full.low:.0%}, 100%] if all hold, [{half.low:.0%}, {half.high:.0%}] if half do"
    ]
