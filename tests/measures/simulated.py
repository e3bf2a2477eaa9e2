"""Made-up replicates, and whether intervals of them cover as often as they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N = 2.0 ** torch.arange(5, 13, dtype=torch.float64)
"""Sizes of a sweep."""


def sweep(
    truth: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seeds: int,
    noise: float,
    rng: np.random.Generator,
    *,
    shared: float = 0.0,
    sizes: Tensor = N,
) -> Tensor:
    """Log-normal replicates; `shared` is the part of the variance that a seed has in common across sizes."""
    clean = truth(sizes.numpy())[:, None]
    own, common = rng.normal(size=(len(sizes), seeds)), rng.normal(size=seeds)
    return torch.tensor(clean * np.exp(noise * (math.sqrt(1 - shared) * own + math.sqrt(shared) * common)))


def assert_covers(hits: Sequence[bool], level: float = 0.95) -> None:
    """Within 3.5 binomial standard errors of the level."""
    share = sum(hits) / len(hits)
    assert abs(share - level) <= 3.5 * math.sqrt(level * (1 - level) / len(hits)), share
