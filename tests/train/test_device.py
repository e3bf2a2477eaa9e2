"""What a process settles before it trains: precision and determinism, and that it records both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from universality.measures.ambient import own_settings
from universality.store.environment import environment
from universality.train.device import configure


@pytest.fixture
def tf32_restored() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    "backend", [torch.backends.cuda.matmul, torch.backends.cudnn], ids=["matmul", "cudnn"]
)
def test_tf32_is_off_whoever_turned_it_on_and_the_environment_says_which(
    backend: Any, tf32_restored: None
) -> None:
    configure(threads=1)
    assert environment()["tf32"] is False
    backend.allow_tf32 = True
    assert environment()["tf32"] is True
    configure(threads=1)
    assert environment()["tf32"] is False


def test_algorithms_are_deterministic_and_new_memory_is_not_filled_for_it() -> None:
    configure(threads=1)
    assert environment()["deterministic"] is True
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]


def test_the_environment_is_read_within_a_measure_too() -> None:
    with own_settings():
        assert environment()["tf32"] is False
