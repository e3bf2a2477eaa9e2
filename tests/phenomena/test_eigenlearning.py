"""The learning curve of features whose kernel is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, split


def regression(features: np.ndarray, targets: np.ndarray) -> FakeRun:
    return FakeRun(
        arrays={0: features},
        data=split(features.astype(np.float32), targets.astype(np.float32)),
        spec=SimpleNamespace(seed=0),
    )


def test_gaussian_features_follow_the_theory_unless_the_target_lies_elsewhere() -> None:
    rng, i = np.random.default_rng(0), np.arange(1, 101)
    z = rng.standard_normal((512, 100))
    run = regression(z * i**-0.75, z @ (1.0 / i)[:, None])
    found = outcome("eigenlearning", "curve", run)
    assert found.effect < 0.10
    assert found.criteria[0].met
    measured = np.array(found.points["measured"].y)
    assert measured[-1] < 0.5 * measured[0]
    assert found.effect == pytest.approx(
        np.median(abs(np.log(measured / np.array(found.points["theory"].y))))
    )
    assert outcome("eigenlearning", "curve", run, coefficients="shuffled").effect > 0.3
