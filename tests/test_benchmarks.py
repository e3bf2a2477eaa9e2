"""What the benchmarks promise of themselves: peers that did not run are not beaten, shares can be scaled."""

from __future__ import annotations

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
