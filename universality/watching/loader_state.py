"""What a pass through a loader may change, put back: so that the training draws the rows that it would have drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from universality.errors import described, first_line
from universality.measures.network.hidden_state import HiddenState

MANY = 1000
"""Entries from which on a container holds rows: it is kept, and what it holds is not looked into."""
_PARTS = (DataLoader, Dataset, Sampler)


class LoaderState(HiddenState):
    """State of a loader, its samplers, its data set and its transformations, found as that of a network is: random
    generators, counters, containers. The content of arrays and tensors, which are the data, is left alone.

    Attributes:
        loaders: all that are found, of which workers that persist are the training's.
    """

    def __init__(self, data: Any) -> None:
        self.loaders: list[DataLoader[Any]] = []
        super().__init__(nn.Module())
        self._follow("", data, outside=False)

    def _copies(self, value: object) -> bool:
        return not isinstance(value, Tensor | np.ndarray)

    def _follow_all(self, name: str, items: Mapping[Any, Any], *, outside: bool) -> None:
        if len(items) <= MANY:
            super()._follow_all(name, items, outside=outside)

    def _belongs(self, value: object) -> bool:
        if isinstance(value, DataLoader):
            self.loaders.append(value)
        return isinstance(value, _PARTS) or super()._belongs(value)


@contextmanager
def untouched(data: Any, notes: list[str]) -> Iterator[LoaderState | None]:
    """Passes inside leave the loader as it was, an epoch in course and workers that persist among it; what cannot be
    put back is added to the notes. Yields what is put back, None where nothing but generators is."""
    try:
        state = LoaderState(data)
    except Exception as error:  # of an attribute of somebody else's object
        notes.append(f"the loader's generators alone are put back: {first_line(described(error))}")
        with _own_generators(data):
            yield None
        return
    for name in state.lost:
        notes.append(f"{name or 'the loader'} cannot be copied: training does not see what was taken of it")
    for name in state.apart:
        notes.append(
            f"{name or 'the loader'} holds a lock, a thread or a file: what it keeps is not put back"
        )
    with _other_workers(state.loaders):
        try:
            yield state
        finally:
            state.restore()


@contextmanager
def _other_workers(loaders: Sequence[Any]) -> Iterator[None]:
    """Workers that persist, and the epoch that they are in, are not those of a pass inside."""
    workers = [(loader, loader._iterator) for loader in loaders if hasattr(loader, "_iterator")]
    try:
        for loader, _ in workers:
            loader._iterator = None
        yield
    finally:
        for loader, own in workers:
            loader._iterator = own


@contextmanager
def _own_generators(loader: Any) -> Iterator[None]:
    """Put the generators that a loader and its samplers draw from back to where they stood."""
    batches = getattr(loader, "batch_sampler", None)
    owners = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    states = [(each, each.get_state()) for each in found if isinstance(each, torch.Generator)]
    with _other_workers([loader]):
        try:
            yield
        finally:
            for generator, state in states:
                generator.set_state(state)
