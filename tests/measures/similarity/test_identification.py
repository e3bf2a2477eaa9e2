"""Identification of layers against all orders of the layers, and on similarities that are planted."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from universality.errors import MeasurementError
from universality.measures import debiased_cka, layers_identified, mean_cca, mean_cca_matrix


def uniform(layers: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(layers, layers, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_for_all(layers: int) -> torch.Tensor:
    """Every layer is most similar to the first of the other network."""
    return torch.arange(layers, 0, -1.0).expand(layers, layers) + torch.arange(layers, 0, -1.0)[:, None]


@pytest.mark.parametrize(
    "similarity",
    [uniform(3), uniform(4), uniform(5, seed=1), one_for_all(4), torch.eye(4), torch.ones(3, 3)],
    ids=["3 layers", "4 layers", "5 layers", "one for all", "planted", "all tied"],
)
def test_over_all_orders_of_the_layers_the_mean_share_is_one_of_the_layers(similarity: torch.Tensor) -> None:
    layers = len(similarity)
    shares = [layers_identified(similarity[:, list(order)]) for order in permutations(range(layers))]
    assert sum(shares) / len(shares) == pytest.approx(1 / layers)
    assert torch.tensor(shares, dtype=torch.float64).std(correction=0) <= 1 / layers + 1e-12
    assert sum(share > 1 - 1e-12 for share in shares) <= 1


def test_both_directions_count_alike() -> None:
    similarity = torch.tensor([[0.9, 0.5, 0.1], [0.6, 0.8, 0.7], [0.2, 0.3, 0.65]])
    # Rows find 1, 2, 3; the third column finds the second row.
    assert layers_identified(similarity) == pytest.approx((1 + 2 / 3) / 2)
    assert layers_identified(similarity.T) == pytest.approx((1 + 2 / 3) / 2)


def test_where_every_layer_resembles_the_first_most_one_is_identified() -> None:
    assert layers_identified(one_for_all(5)) == pytest.approx(0.2)


def test_an_invertible_map_leaves_cca_as_it_is_and_changes_cka() -> None:
    """What CKA sees beyond CCA is which directions are large, which such maps change."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(200, 6, generator=generator, dtype=torch.float64) for _ in range(3)]
    stretched = [X @ torch.diag(torch.logspace(0, 3, 6, dtype=torch.float64)) for X in layers]
    found = mean_cca_matrix(layers, stretched)
    assert layers_identified(found) == 1
    assert found.diagonal().tolist() == pytest.approx([1, 1, 1])
    assert debiased_cka(layers[0], stretched[0]) < 0.5


def test_all_pairs_at_once_are_the_pairs() -> None:
    generator = torch.Generator().manual_seed(1)
    Xs, Ys = ([torch.randn(60, d, generator=generator) for d in widths] for widths in ((3, 5), (4, 2, 6)))
    found = mean_cca_matrix(Xs, Ys)
    assert found.shape == (2, 3)
    expected = torch.tensor([[mean_cca(X, Y) for Y in Ys] for X in Xs], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_of_one_layer_there_is_nothing_to_identify() -> None:
    with pytest.raises(MeasurementError, match="layers that do not correspond"):
        layers_identified(torch.ones(1, 1))


def test_similarities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no numbers"):
        layers_identified(torch.tensor([[1.0, torch.nan], [0.0, 1.0]]))


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (([torch.randn(6, 3)], [torch.randn(6, 3)]), "too few rows"),
        (([torch.randn(9, 2)], [torch.ones(9, 2)]), "constant features"),
    ],
)
def test_what_one_pair_refuses_all_pairs_refuse(sides: tuple[object, object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        mean_cca_matrix(*sides)  # type: ignore[arg-type]
