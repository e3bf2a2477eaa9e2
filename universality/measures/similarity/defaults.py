"""What two trained networks share, beside what they share without having learnt the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import within_class

Pair = tuple[Float[Tensor, "n _"], Float[Tensor, "n _"]]


@measure
def against_defaults(
    similarity: Callable[[Tensor, Tensor], float],
    trained: Pair,
    untrained: Pair,
    random_labels: Pair | None,
    inputs: Float[Tensor, "n _"],
    labels: Int[Tensor, " n"],
) -> dict[str, float]:
    """The similarity of two representations a, b of the same n inputs x, which were a0, b0 before training, and

        through_inputs = s(a, x) s(b, x)               both keep geometry of the raw inputs
        chain = s(a, a0) s(a0, b0) s(b0, b)            both keep geometry of their start, and the starts are alike
        cross = max(s(a, b0), s(b, a0))                with the start of the other, which neither has seen
        untrained = s(a0, b0)                          what training may have kept or erased: no null by itself
        permuted_rows                                  of pairs that do not belong together
        through_labels                                 of pairs of one class: what sharing class means gives
        within_class                                   after the class means were taken away, of classes with several inputs

    with the factors of the products, and that of `random_labels` where there is such a pair. The products are what is left where nothing else is shared. Linear CKA is a
    cosine of centred Gram matrices, debiased of those without diagonal and row sums. Of unit length, they are

        a = s(a, a0) a0 + r,  b = s(b, b0) b0 + q,     r orthogonal to a0, q to b0,
        s(a, b) = chain + s(a, a0) <a0, q> + s(b, b0) <r, b0> + <r, q>.

    So the chain is right where what training adds, r and q, is orthogonal to the other's start and to one another;
    with x in the place of both starts it is `through_inputs`. Mutual neighbours likewise: where each step of the chain
    keeps a neighbour independently of the others, all keep it with the product of the probabilities.

    The chain is no bound. Training that takes from a0 and b0 what they do not share carries through more: where both
    end as their common part, s(a, b) is 1, and with c = s(a0, b0) the chain c^2. Then <r, b0> = s(a, b0) - s(a, a0) c is
    not 0, and the cross similarity, sqrt(c), says so, hence both. What the factors bound is the angle,
    arccos s(a, b) >= arccos s(a0, b0) - arccos s(a, a0) - arccos s(b, b0): nothing, once training moved either far.

    `through_labels` permutes the rows of b within each class, by one fixed draw. Networks that give an input of class k
    the mean of k, and beyond it nothing that the other knows of, lose nothing by that, so that it is what accuracy alone
    brings about; what is above it is of the inputs themselves.

    Raises `MeasurementError` where a similarity is not defined. Cost: none of its own; `similarity` is called eleven or
    twelve times. Source: Kornblith et al. 2019, arXiv:1905.00414 (linear CKA, untrained networks); the rest is derived above.

    >>> _ = torch.manual_seed(0)
    >>> x, y, z = torch.randn(3, 40, 4)
    >>> overlap = lambda a, b: float((a * b).mean())
    >>> found = against_defaults(overlap, (x, x), (x, y), (y, z), z, torch.arange(40) % 2)
    >>> found["through_inputs"] == overlap(x, z) ** 2, found["chain"] == overlap(x, x) * overlap(x, y) ** 2
    (True, True)
    >>> found["cross"] == max(overlap(x, x), overlap(x, y))
    True
    """
    (a, b), (a0, b0) = trained, untrained
    order = torch.randperm(len(b), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    s = {
        "trained": similarity(a, b),
        "untrained": similarity(a0, b0),
        "a_to_inputs": similarity(a, inputs),
        "b_to_inputs": similarity(b, inputs),
        "a_to_its_start": similarity(a, a0),
        "b_to_its_start": similarity(b, b0),
        "a_to_start_of_b": similarity(a, b0),
        "b_to_start_of_a": similarity(b, a0),
        "permuted_rows": similarity(a, b[order.to(b.device)]),
        "through_labels": similarity(a, b[_within_classes(order, labels).to(b.device)]),
    }
    several = (torch.bincount(labels)[labels] > 1).to(a.device)
    with suppress(MeasurementError):  # too few inputs share their class with another
        s["within_class"] = similarity(*(within_class(x, labels)[several] for x in (a, b)))
    if random_labels is not None:
        s["random_labels"] = similarity(*random_labels)
    return s | {
        "through_inputs": s["a_to_inputs"] * s["b_to_inputs"],
        "chain": s["a_to_its_start"] * s["untrained"] * s["b_to_its_start"],
        "cross": max(s["a_to_start_of_b"], s["b_to_start_of_a"]),
    }


def _within_classes(order: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The permutation within each class that takes its rows in the order in which `order` has them.

    >>> _within_classes(torch.tensor([3, 1, 2, 0]), torch.tensor([0, 1, 1, 0])).tolist()
    [3, 1, 2, 0]
    """
    labels = labels.cpu()
    rows = torch.empty_like(order)
    rows[labels.argsort(stable=True)] = order[labels[order].argsort(stable=True)]
    return rows
