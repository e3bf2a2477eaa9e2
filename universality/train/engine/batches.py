"""Which rows each update sees: a function of the seed, the fork and the step alone."""

from __future__ import annotations

import torch
from torch import Tensor

from universality.plugin.spec import derive_seed


class Batches:
    """Row indices of every update, drawn without replacement within an epoch.

    Every epoch is a permutation from its own generator, seeded by (seed, epoch); a last, shorter
    batch is left out, so that all updates average over equally many rows.

    Args:
        fork: (step, branch): updates from `step` on follow permutations seeded by (seed, epoch, branch).
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        fork: tuple[int, int] | None = None,
    ) -> None:
        self.size = min(batch_size, rows)
        self.per_epoch = rows // self.size
        self._rows, self._seed, self._device = rows, seed, device
        # Branch 0 is the run's own: without a fork it lasts from the first update on.
        self._fork_step, self._branch = fork or (0, 0)
        self._kept: tuple[int, int] | None = None
        self._order: Tensor = torch.empty(0, dtype=torch.int64)

    def table(self, begin: int, end: int) -> Tensor:
        """Rows of the updates `begin` to `end`, `[updates, size]`: one copy to the device for all of them."""
        parts = []
        while begin < end:
            epoch, position = divmod(begin, self.per_epoch)
            forked = begin >= self._fork_step
            stop = end if forked else min(end, self._fork_step)
            part = self._order_of(epoch, self._branch if forked else 0)[position : position + stop - begin]
            parts.append(part)
            begin += len(part)
        return torch.cat(parts).to(self._device)

    def _order_of(self, epoch: int, branch: int) -> Tensor:
        if (epoch, branch) != self._kept:
            keys = (epoch, branch) if branch else (epoch,)
            generator = torch.Generator().manual_seed(derive_seed("batches", self._seed, *keys))
            order = torch.randperm(self._rows, generator=generator)
            self._order = order[: self.per_epoch * self.size].view(self.per_epoch, self.size)
            self._kept = epoch, branch
        return self._order
