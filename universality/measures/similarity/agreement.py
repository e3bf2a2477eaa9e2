"""Whether two classifiers err alike, beyond what their accuracies imply.

n: inputs; y: labels; a, b: the classes that the two predict.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure

Labels = Int[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """`kappa` = (observed - expected) / (1 - expected) over so many `inputs`: 0 at chance, 1 where all agree."""

    kappa: float
    observed: float
    expected: float
    inputs: int


@measure
def error_consistency(first: Labels, second: Labels, labels: Labels) -> Agreement:
    """Cohen's kappa of being right: how often two classifiers are both right or both wrong, beyond independent errors.

        observed = mean 1[1[a = y] = 1[b = y]]
        expected = p_a p_b + (1 - p_a)(1 - p_b),     p the accuracies

    Of independent errors it is 0 but for a standard deviation of at most 1/sqrt(n), that of equal accuracies. Networks
    that share nothing but which inputs are hard (overlapping classes, wrong labels) are above 0 too: it does not say
    why they agree.

    Cost: n comparisons.

    Raises:
        MeasurementError: no inputs, other numbers of predictions, or both are always right, or both always wrong.

    Source: Geirhos, Meding, Wichmann 2020, arXiv:2006.16736, equations 1 and 3.

    >>> import torch
    >>> y = torch.zeros(4, dtype=torch.int64)
    >>> error_consistency(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 2]), y)
    Agreement(kappa=0.5, observed=0.75, expected=0.5, inputs=4)
    """
    _check(first, second, labels, "error_consistency")
    right, right_too = (first == labels).double(), (second == labels).double()
    p, q = right.mean().item(), right_too.mean().item()
    return _kappa((right == right_too).double().mean().item(), p * q + (1 - p) * (1 - q), len(labels))


@measure
def wrong_alike(first: Labels, second: Labels, labels: Labels) -> Agreement:
    """Kappa of the answers to inputs that both get wrong: the same wrong class, beyond the habits of either.

        observed = mean_i 1[a_i = b_i],   expected = mean_i mean_{j != i, y_j = y_i} 1[a_i = b_j]

    over inputs i, j that both get wrong, in classes that have at least two of these. Had b given its wrong answers to
    the inputs of each class in random order, the means of both would be equal: that all take a 4 for a 9 rather than
    for a 1 counts for nothing.

    Cost: O(n C) for C classes.

    Raises:
        MeasurementError: no class has two such inputs, or no other wrong answer is ever given, as of two classes.

    Source: derived above; after Geirhos, Meding, Wichmann 2020, arXiv:2006.16736.

    >>> import torch
    >>> y = torch.zeros(4, dtype=torch.int64)
    >>> wrong_alike(torch.tensor([1, 1, 2, 2]), torch.tensor([1, 1, 2, 2]), y)
    Agreement(kappa=1.0, observed=1.0, expected=0.3333333333333333, inputs=4)
    """
    _check(first, second, labels, "wrong_alike")
    both = (first != labels) & (second != labels)
    matches = expected = inputs = 0.0
    for label in sorted(set(labels[both].tolist())):
        a, b = first[both & (labels == label)], second[both & (labels == label)]
        if len(a) < 2:
            continue
        same, pairs = (a == b).sum().item(), _equal_pairs(a, b)
        matches, inputs = matches + same, inputs + len(a)
        expected += (pairs - same) / (len(a) - 1)
    if not inputs:
        raise MeasurementError(
            "no class has two inputs that both get wrong",
            where="wrong_alike",
            got=f"{int(both.sum())} inputs that both get wrong",
        )
    return _kappa(matches / inputs, expected / inputs, int(inputs))


def _equal_pairs(a: Tensor, b: Tensor) -> int:
    """Of all pairs of one answer of `a` and one of `b`, how many are the same class."""
    classes, answers = torch.unique(torch.cat((a, b)), return_inverse=True)
    of_a, of_b = (torch.bincount(part, minlength=len(classes)) for part in answers.tensor_split((len(a),)))
    return int((of_a * of_b).sum())


def _kappa(observed: float, expected: float, inputs: int) -> Agreement:
    if expected >= 1:
        raise MeasurementError(
            "agreement beyond chance is not defined where chance is 1", got=f"{expected:g}"
        )
    return Agreement((observed - expected) / (1 - expected), observed, expected, inputs)


def _check(first: Tensor, second: Tensor, labels: Tensor, where: str) -> None:
    given = (first, second, labels)
    wrong = any(each.ndim != 1 or each.is_floating_point() or each.is_complex() for each in given)
    if wrong or not 0 < len(first) == len(second) == len(labels):
        raise MeasurementError(
            "predictions and labels are no lists of classes of the same inputs",
            where=where,
            got=", ".join(f"{str(each.dtype).removeprefix('torch.')} {list(each.shape)}" for each in given),
            expected="three of integers, of one length above 0",
        )
