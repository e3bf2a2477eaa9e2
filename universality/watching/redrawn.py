"""Whether a loader draws other rows at each pass, as of a data set that augments or a stream that makes rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from universality.errors import described, first_line

Pair = tuple[Tensor, Tensor]

LOOK = 32
"""Rows of a look: of rows that are mirrored or not, one look in 2^32 takes them for the same."""
_KEPT = "curvature needs the same ones, so these are kept"
OTHERS = f"draws other rows at each pass; {_KEPT}"
PERHAPS = f"begins its next pass with other rows, drawn anew or in another order; {_KEPT}"


def redrawn(data: Any, loaders: Sequence[DataLoader[Any]], taken: Pair, *, whole: bool) -> str:
    """A sentence where another pass gives other rows; empty where it gives these, in whatever order.

    Rows are compared by content. Rows of a second pass that are none of the first may still stand in a fixed data set,
    where the first was broken off or left out what fills no batch; then a data set is asked twice for the same ones.

    Args:
        data: a loader, of which a pass may be made: the caller puts back what it changes.
        loaders: those of torch among what `data` consists of.
        taken: rows of the first pass.
        whole: whether that came to its end.

    Cost: the first 32 rows of a pass, at most three times; workers are started for each.
    """
    try:
        known = set(_digests(taken))
        # No more rows than were taken: a stream that repeats goes on behind them.
        second = _first(data, min(LOOK, len(taken[1])))
        if known.issuperset(digest for pair in second for digest in _digests(pair)):
            return ""
        by_row = [each for each in loaders if not isinstance(each.dataset, IterableDataset)]
        if any(_answers_differ(each) for each in by_row):
            return OTHERS
    except Exception as error:  # of somebody else's data set, which the first pass did not raise
        return f"whether it draws other rows at each pass is not known: {first_line(described(error))}"
    if whole and not any(_drops_rows(each) for each in loaders):
        return OTHERS
    is_fixed = by_row and type(data).__iter__ is DataLoader.__iter__
    return "" if is_fixed else PERHAPS


def _first(batches: Iterable[Any], rows: int) -> list[Pair]:
    """Batches until there are so many rows."""
    found: list[Pair] = []
    for batch in batches:
        found.append((batch[0], batch[1]))
        if sum(len(targets) for _, targets in found) >= rows:
            break
    return found


def _digests(pair: Pair) -> list[bytes]:
    """Of each row, by its bytes: a NaN is equal to itself."""
    rows = [part.detach().cpu().reshape(len(part), part[0].numel()).view(torch.uint8) for part in pair]
    return [hashlib.sha256(row.tobytes()).digest() for row in torch.cat(rows, dim=1).numpy()]


def _answers_differ(loader: DataLoader[Any]) -> bool:
    """Whether a data set, asked twice for the same rows, gives others. The order is no part of it."""
    keys: list[Any] = []
    sizes = 0
    batched = loader.batch_sampler is not None
    for key in loader.batch_sampler if loader.batch_sampler is not None else loader.sampler:
        keys.append(key)
        sizes += len(key) if isinstance(key, Sized) and not isinstance(key, str) else 1
        if sizes >= LOOK:
            break
    order: dict[str, Any] = (
        {"batch_sampler": keys * 2} if batched else {"batch_size": None, "sampler": keys * 2}
    )
    if loader.num_workers:
        order |= {"num_workers": 1, "multiprocessing_context": loader.multiprocessing_context}
    again = DataLoader(
        loader.dataset, collate_fn=loader.collate_fn, worker_init_fn=loader.worker_init_fn, **order
    )
    answers = [list(_contents(batch[:2] if isinstance(batch, tuple | list) else batch)) for batch in again]
    return answers[: len(keys)] != answers[len(keys) :]


def _contents(batch: Any) -> Iterator[bytes]:
    """Of its tensors, of whatever form a loader inside of another one has them."""
    if isinstance(batch, Tensor):
        yield batch.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(batch, tuple | list | Mapping):
        for each in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _contents(each)


def _drops_rows(loader: DataLoader[Any]) -> bool:
    return bool(loader.drop_last or getattr(loader.batch_sampler, "drop_last", False))
