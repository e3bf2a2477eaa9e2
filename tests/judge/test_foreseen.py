"""What a number of replicates can never decide, told from what it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.judge.decide import decide
from universality.judge.foreseen import least_replicates, too_few_replicates
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.outcome import Outcome
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
