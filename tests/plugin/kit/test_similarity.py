"""Neighbours of a representation are found once, however many others it is compared with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from universality.measures import calibrated, mutual_knn, nearest_neighbours
from universality.plugin.kit import similarity


def test_each_representation_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[Tensor] = []

    def counted(x: Tensor, k: int, **ties: torch.Generator) -> Tensor:
        searched.append(x)
        return nearest_neighbours(x, k)

    monkeypatch.setattr(similarity, "nearest_neighbours", counted)
    monkeypatch.setattr(similarity, "_FOUND", {})
    monkeypatch.setattr(similarity, "MAX_FOUND", 3)
    a, b, c, d = torch.randn(4, 30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for x, y in ((a, b), (b, c), (c, a.clone()), (a.reshape(5, 30).T, b)):
        assert similarity.nearest_in_common(x, y) == calibrated(mutual_knn(x, y, 10), 10, 30)
    assert len(searched) == 4
    similarity.nearest_in_common(d, c)
    similarity.nearest_in_common(a, d)  # a was found first of all, and forgotten first
    assert len(searched) == 6
