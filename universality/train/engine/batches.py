"""Which rows each update sees: a function of the seed and the step alone."""

from __future__ import annotations

import torch
from torch import Tensor

from universality.plugin.spec import derive_seed


class Batches:
    """Row indices of every update, drawn without replacement within an epoch.

    Every epoch is a permutation from its own generator, seeded by (seed, epoch); a last, shorter
    batch is left out, so that all updates average over equally many rows.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, device: torch.device) -> None:
        self.size = min(batch_size, rows)
        self.per_epoch = rows // self.size
        self._rows, self._seed, self._device = rows, seed, device
        self._epoch = -1
        self._order: Tensor = torch.empty(0, dtype=torch.int64)

    def table(self, begin: int, end: int) -> Tensor:
        """Rows of the updates `begin` to `end`, `[updates, size]`: one copy to the device for all of them."""
        parts = []
        while begin < end:
            epoch, position = divmod(begin, self.per_epoch)
            part = self._order_of(epoch)[position : position + end - begin]
            parts.append(part)
            begin += len(part)
        return torch.cat(parts).to(self._device)

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed("batches", self._seed, epoch))
            order = torch.randperm(self._rows, generator=generator)
            self._order = order[: self.per_epoch * self.size].view(self.per_epoch, self.size)
            self._epoch = epoch
        return self._order
