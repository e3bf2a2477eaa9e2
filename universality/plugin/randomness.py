"""The global random generators that a network may draw from: of torch, of `random` and of `numpy.random`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from universality.plugin.spec import derive_seed


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's generator starts at `seed` and the others at seeds that follow from it; afterwards all are as
    they were.

    >>> with seeded(0):
    ...     first = random.random(), np.random.rand()
    >>> with seeded(0):
    ...     first == (random.random(), np.random.rand())
    True
    """
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(derive_seed("random", seed))
            np.random.seed(derive_seed("numpy.random", seed) % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def generator_states(device: torch.device) -> dict[str, Any]:
    """Where the global generators stand: numbers, texts, tuples, arrays and tensors."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "random": random.getstate(),
        "numpy.random": np.random.get_state(legacy=False),
    }


def set_generator_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Let the global generators go on from there."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
    random.setstate(states["random"])
    np.random.set_state(states["numpy.random"])


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside from a global generator, the next to draw outside does not notice."""
    states = generator_states(device)
    try:
        yield
    finally:
        set_generator_states(states, device)


class Draws:
    """Tells which generators have been drawn from since it was made.

    >>> with seeded(0):
    ...     draws = Draws(torch.device("cpu"))
    ...     _ = random.random()
    ...     draws.taken()
    ['random']
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = self._states()

    def taken(self) -> list[str]:
        """Names of those that have moved on: torch, random, numpy.random."""
        return [name for name, state in self._states().items() if state != self._before[name]]

    def _states(self) -> dict[str, object]:
        torch_states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            torch_states.append(torch.cuda.get_rng_state(self._device))
        numpy = np.random.get_state(legacy=False)
        return {
            "torch": tuple(state.numpy().tobytes() for state in torch_states),
            "random": random.getstate(),
            "numpy.random": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"], numpy["has_gauss"]),
        }
