"""What two trained networks share, beside what they share without having learnt the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.measures.ambient import measure
from universality.measures.features import within_class

Pair = tuple[Float[Tensor, "n _"], Float[Tensor, "n _"]]


@measure
def against_defaults(
    similarity: Callable[[Tensor, Tensor], float],
    trained: Pair,
    untrained: Pair,
    random_labels: Pair,
    inputs: Float[Tensor, "n _"],
    labels: Int[Tensor, " n"],
) -> dict[str, float]:
    """The similarity of two representations of the same n inputs, of the pairs named, and

        through_inputs = s(a, inputs) s(b, inputs)    what both share because each keeps geometry of the raw inputs
        permuted_rows                                 of pairs that do not belong together
        within_class                                  after the class means were taken away

    Linear CKA is a cosine of centred Gram matrices: where what a and b add to the inputs x is orthogonal,
    cos(a, b) = cos(a, x) cos(b, x). Mutual neighbours likewise: if a and b keep a neighbour of x independently, both
    keep it with the product of the probabilities.

    Raises `MeasurementError` where a similarity is not defined. Cost: none of its own; `similarity` is called seven
    times. Source: Kornblith et al. 2019, arXiv:1905.00414 (untrained networks as a null); the product through the
    inputs is derived above.

    >>> _ = torch.manual_seed(0)
    >>> x, y, z = torch.randn(3, 40, 4)
    >>> overlap = lambda a, b: float((a * b).mean())
    >>> found = against_defaults(overlap, (x, x), (x, y), (y, z), z, torch.arange(40) % 2)
    >>> found["through_inputs"] == overlap(x, z) ** 2
    True
    """
    a, b = trained
    shuffled = b[
        torch.randperm(len(b), generator=torch.Generator("cpu").manual_seed(0), device="cpu").to(b.device)
    ]
    to_inputs = similarity(a, inputs), similarity(b, inputs)
    return {
        "trained": similarity(a, b),
        "untrained": similarity(*untrained),
        "random_labels": similarity(*random_labels),
        "through_inputs": to_inputs[0] * to_inputs[1],
        "a_to_inputs": to_inputs[0],
        "b_to_inputs": to_inputs[1],
        "permuted_rows": similarity(a, shuffled),
        "within_class": similarity(within_class(a, labels), within_class(b, labels)),
    }
