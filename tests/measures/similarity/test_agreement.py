"""Agreement beyond accuracy against its definition, all orders, and classifiers that are planted."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures import error_consistency, wrong_alike


def labels_of(n: int, classes: int = 4) -> Tensor:
    return torch.arange(n) % classes


def erring(labels: Tensor, share: float, rng: np.random.Generator, classes: int = 4) -> Tensor:
    """Wrong at random, with a uniform wrong answer."""
    wrong = torch.from_numpy(rng.random(len(labels)) < share)
    return torch.where(
        wrong, (labels + torch.from_numpy(rng.integers(1, classes, len(labels)))) % classes, labels
    )


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_independent_errors_are_at_chance_whatever_the_accuracy(share: float) -> None:
    rng, y = np.random.default_rng(0), labels_of(400)
    pairs = [(erring(y, share, rng), erring(y, 0.3, rng)) for _ in range(200)]
    errors = [error_consistency(a, b, y).kappa for a, b in pairs]
    answers = [wrong_alike(a, b, y).kappa for a, b in pairs if share > 0.1]
    assert np.mean(errors) == pytest.approx(0, abs=4 / math.sqrt(400 * 200))
    spread = 2 * math.sqrt(0.3 * 0.7 * share * (1 - share)) / (0.3 * (1 - share) + 0.7 * share)
    assert np.std(errors) == pytest.approx(spread / math.sqrt(400), rel=0.2)
    if answers:  # of few errors the chance may be 1
        assert np.mean(answers) == pytest.approx(0, abs=4 * float(np.std(answers)) / math.sqrt(200))


@pytest.mark.parametrize("copied", [0.0, 0.3, 0.7, 1.0])
def test_the_share_that_is_copied_is_the_kappa_of_being_right(copied: float) -> None:
    # Of equal accuracies: observed = c + (1 - c) expected.
    rng, y = np.random.default_rng(1), labels_of(40000)
    a, own = erring(y, 0.3, rng), erring(y, 0.3, rng)
    b = torch.where(torch.from_numpy(rng.random(len(y)) < copied), a, own)
    assert error_consistency(a, b, y).kappa == pytest.approx(copied, abs=0.02)


def test_the_expected_matches_are_those_of_all_orders_within_the_class() -> None:
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    a, b = torch.tensor([1, 2, 1, 0, 2, 0]), torch.tensor([1, 1, 2, 0, 0, 0])
    first, second = list(permutations(range(3))), list(permutations(range(2)))
    # Orders that move every input: the mean over i and j != i.
    moved = [[o for o in orders if all(i != j for i, j in enumerate(o))] for orders in (first, second)]
    means = [
        np.mean([[int(a[start + i] == b[start + j]) for i, j in enumerate(o)] for o in orders])
        for start, orders in zip((0, 3), moved, strict=True)
    ]
    found = wrong_alike(a, b, y)
    assert found.inputs == 5  # the only wrong input of class 2 has nothing to be compared with
    assert found.observed == 2 / 5
    assert found.expected == pytest.approx((3 * means[0] + 2 * means[1]) / 5)


def test_habits_of_a_class_are_no_agreement() -> None:
    """Both mostly answer the next class, each at inputs of its own choice."""
    rng, y = np.random.default_rng(2), labels_of(4000)
    a, b = (torch.where(torch.from_numpy(rng.random(4000) < 0.8), (y + 1) % 4, (y + 2) % 4) for _ in range(2))
    found = wrong_alike(a, b, y)
    assert found.observed == pytest.approx(0.8**2 + 0.2**2, abs=0.03)
    assert found.kappa == pytest.approx(0, abs=0.05)
    assert wrong_alike(a, a, y).kappa == 1


@pytest.mark.parametrize("measure", [error_consistency, wrong_alike])
def test_what_is_not_defined_is_refused(measure: object) -> None:
    y = labels_of(8, 2)
    assert callable(measure)
    with pytest.raises(MeasurementError):
        measure(y, y, y)  # nobody errs
    with pytest.raises(MeasurementError):
        measure(1 - y, 1 - y, y)  # both always err, with the only other answer
    with pytest.raises(MeasurementError, match="no lists of classes"):
        measure(y[:0], y[:0], y[:0])
