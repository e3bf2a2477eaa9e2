"""When the runs of a training are saved, and how a training ends that is asked to make room."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from universality.errors import first_line
from universality.train.engine.ensemble import Ensemble, Separate
from universality.train.engine.member import Member
from universality.train.engine.packing import CannotPack
from universality.train.engine.pulse import WORTH
from universality.train.engine.run import MemberRun
from universality.train.engine.snapshot import Snapshot
from universality.train.interruption import Stopped, is_asked

EVERY = 600.0
"""Seconds of training after which its runs are saved."""

Keep = Callable[[Member, Snapshot], None]
"""Puts a snapshot where the next attempt at the run finds it."""


class Saving:
    """Saves the runs of one training. Args: `keep`: None saves none."""

    def __init__(self, keep: Keep | None) -> None:
        self._keep, self._last = keep, time.monotonic()

    def due(self) -> bool:
        """Whether `save` has anything to do."""
        return is_asked() or time.monotonic() - self._last >= EVERY

    def save(
        self, step: int, runs: Sequence[MemberRun], ensemble: Ensemble | Separate, generators: object
    ) -> None:
        """Save the runs that still train, after `step` updates. One that cannot be saved says why in its facts.

        Args:
            generators: states of the global ones, None where the runs have drawn from none.

        Raises:
            Stopped: this process is asked to end.
        """
        if self._keep is not None and time.monotonic() - self._last >= (WORTH if is_asked() else EVERY):
            for number, run in enumerate(runs):
                if run.updating:
                    try:
                        snapshot = run.snapshot(step, ensemble.optimizer_of(number), generators)
                    except (CannotPack, MemoryError, RuntimeError) as error:  # of memory torch's own is one
                        run.facts["no_checkpoint"] = first_line(error)
                    else:
                        self._keep(run.member, snapshot)
            self._last = time.monotonic()
        if is_asked():
            raise Stopped
