"""Whether corresponding layers of two networks are each other's most similar ones.

L: layers of either network.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@measure
def layers_identified(similarity: Float[Tensor, "L L"]) -> float:
    """The share of layers whose most similar layer of the other network is the corresponding one, in [0, 1].

    similarity[i, j] is that of layer i of one network and layer j of the other; the mean of both directions, over
    rows and over columns. Of m layers that are equally similar each is counted as 1/m of the answer.

    Chance is exactly 1/L, whatever the similarities: were the layers of one network in random order, each would be
    the most similar one of a given layer with probability 1/L. So also where every layer is most similar to one and
    the same. The share varies by chance by at most 1/L (its standard deviation; fixed points of a permutation have
    variance 1), and is 1 in at most one of L! orders.

    Cost: none; L^2 comparisons.

    Raises:
        MeasurementError: a matrix that is not square, of fewer than two layers, or with entries that are no finite real numbers.

    Source: Kornblith et al. 2019, arXiv:1905.00414, section 6.1.

    >>> import torch
    >>> found = layers_identified(torch.tensor([[0.9, 0.5, 0.1], [0.6, 0.8, 0.2], [0.7, 0.4, 0.3]]))
    >>> round(found, 6)  # 2 rows, 3 columns
    0.833333
    >>> round(layers_identified(torch.ones(4, 4)), 6)
    0.25
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise MeasurementError(
            "layers that do not correspond",
            where="layers_identified",
            got=f"shape {list(similarity.shape)}",
            expected="one row and one column for each of at least two layers",
        )
    if not (similarity.is_floating_point() and bool(similarity.isfinite().all())):
        raise MeasurementError(
            "similarities that are no numbers",
            where="layers_identified",
            got=str(similarity.dtype),
            do="check for a dead layer",
        )
    directions = [_hits(similarity, dim) for dim in (0, 1)]
    return sum(directions) / 2


def _hits(similarity: Tensor, dim: int) -> float:
    best = similarity == similarity.amax(dim, keepdim=True)
    credit = best.double() / best.sum(dim, keepdim=True)
    return credit.diagonal().mean().item()
