"""What the benchmarks promise of themselves: peers that did not run are not beaten, shares can be scaled."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import universality

CHECKOUT = Path(universality.__file__).resolve().parents[1]

if not (CHECKOUT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are in a checkout only", allow_module_level=True)


@pytest.fixture
def measures(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT))
    return lambda name: import_module(f"benchmarks.measures.{name}")


def test_a_peer_that_did_not_run_has_missed_its_target(measures):
    harness = measures("harness")
    ours, slow, broken = harness.Sample(cpu=[1.0, 3.0, 2.0]), harness.Sample(cpu=[30.0]), harness.Sample()
    broken.error = "`peer` is not installed"
    assert harness.against(ours, slow, 15.0) == ("15 x", [("time >= 15 x ours", True)])
    assert harness.against(ours, slow, 15.1)[1] == [("time >= 15.1 x ours", False)]
    assert harness.against(ours, broken, 2.0) == ("-", [("time >= 2 x ours", False)])
    assert harness.against(ours, broken, None) == ("-", [])


def test_timed_pairs_of_neighbours_meet_every_combination_of_widths_equally_often(measures):
    neighbours = measures("neighbours")
    Xs = [torch.zeros(1)] * 12
    job = neighbours.pairwise(lambda X: X, lambda first, second: 0.0)({"Xs": Xs, "Ys": Xs})
    timed = np.argwhere(~np.isnan(job.run()["scores"]))
    assert job.share == len(timed) / 144 == 12 / 144
    combinations = np.bincount(3 * (timed[:, 0] % 3) + timed[:, 1] % 3, minlength=9)
    assert combinations.min() >= 1
    assert np.bincount(timed[:, 0] % 3).tolist() == np.bincount(timed[:, 1] % 3).tolist() == [4, 4, 4]


def test_timed_layers_of_slow_peers_have_the_widths_of_all(measures):
    similarity = measures("similarity")
    Xs = [torch.zeros(1, width) for width in similarity.WIDTHS * 6]
    job = similarity._subset(
        {"Xs": Xs, "Ys": [], "full": False}, lambda rows, columns: torch.zeros(len(rows), len(columns))
    )
    found = job.run()
    assert sorted(Xs[i].shape[1] for i in found["rows"]) == sorted(similarity.WIDTHS)
    assert found["columns"] == list(range(24))
    assert job.share == 4 / 24


def test_every_measure_that_states_a_cost_is_timed_in_all_its_sizes_or_refers_to_one_that_is(measures):
    from universality import measures as public

    case, cases = measures("growing.case"), measures("growing").CASES
    varied: dict[str, set[str]] = {}
    for growth in cases:
        varied.setdefault(growth.measure, set()).update(growth.varied.split(", "))
    # The other classes are results.
    computing = {n for n in public.__all__ if not is_dataclass(getattr(public, n))}
    costs = {name: case.stated_cost(name) for name in computing}
    kinds = {name: case.kind_of_cost(cost) for name, cost in costs.items()}
    assert [name for name, kind in kinds.items() if kind == "unsaid"] == []
    for name, kind in kinds.items():
        if kind == "growth":
            assert varied.get(name), f"{name}: {costs[name]}"
            assert case.symbols(name) - varied[name] == set(), f"{name}: {costs[name]}"
        else:
            assert name not in varied, name
        if kind == "as":
            assert kinds[re.findall(r"`(\w+)`", costs[name])[0]] == "growth", name
    # What is varied is what the cost is stated in.
    for name, names in varied.items():
        assert {word for word in names if not re.search(rf"(?<!\w){word}(?!\w)", costs[name])} == set(), name


def test_a_cost_is_read_from_its_docstring(measures, monkeypatch):
    case = measures("growing.case")
    texts = {
        "Cost: n^2 d for a `matrix`, plus steps;\n more. Memory: n^2 m.\n\nRaises: k.": "growth",
        "Cost: none; each closure is called later.": "none",
        "Cost and errors: as `gram`.": "as",
        "Mean. Cost, errors and `dtype`: `gram`.": "as",
        "Cost: as `gram` of C outputs.": "growth",
        "No word of it.": "unsaid",
    }
    from universality import measures as public

    def some(X: Float[Tensor, "steps rows"]) -> None:
        pass

    monkeypatch.setattr(public, "some", some, raising=False)
    for text, kind in texts.items():
        some.__doc__ = text
        assert case.kind_of_cost(case.stated_cost("some")) == kind, text
    some.__doc__ = next(iter(texts))
    assert case.symbols("some") == {"n", "d", "a", "steps"}


@pytest.mark.slow  # what is timed depends on what else the machine does
def test_growth_is_missed_on_either_side_and_found_within_the_slack(measures):
    growth, case = measures("growth"), measures("growing.case")

    def busy(size):
        def run():
            total = 0
            for i in range(20 * size):
                total += i
            return total

        return run

    def met(stated):
        grown = case.Growth("gram", "n", (500, 1000, 2000), lambda n: n**stated, busy)
        return growth.timed(grown)[0].targets[0][1]

    assert (met(1), met(0.5), met(1.5)) == (True, False, False)


def test_counts_are_of_calls_and_leave_what_they_count_as_it_was(measures):
    counts = measures("counts")
    before = torch.autograd.grad
    with counts.counting(torch.autograd, "grad") as calls:
        x = torch.ones(1, requires_grad=True)
        torch.autograd.grad((x * x).sum(), x)
    assert calls.calls == 1
    assert torch.autograd.grad is before
    assert [line for line in (*counts.curvature(), *counts.repeats()) if not line[-1]] == []
