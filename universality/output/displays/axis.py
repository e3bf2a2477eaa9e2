"""An axis of a display: from numbers to places, over what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.ticker import LogLocator, MaxNLocator

FEW_TICKS = 5.0
"""Ends of a logarithmic axis, one over the other, below which 1, 2 and 5 are too few ticks."""
LARGEST = 300.0
"""Logarithm, of either sign, up to which there are ticks: matplotlib looks for some far beyond the ends."""
BEYOND = 0.15
"""Of the width of what is drawn of dots and bounds, by which intervals may reach out of it."""


class Axis:
    """From `start` to `end`, in pixels, either of which may be the greater.

    Args:
        values: what must have room; positive on a logarithmic axis.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self._log, self._start, self._end = log, start, end
        places = [self._scaled(value) for value in values]
        low, high = min(places), max(places)
        room = BEYOND * (high - low) or 0.5
        self._low, self._high = low - room, high + room

    def _scaled(self, value: float) -> float:
        return math.log(value) if self._log else value

    def __call__(self, value: float) -> float:
        """The place of a value, at an end of the axis where it lies beyond."""
        if value == math.inf or (not self._log and value == -math.inf):
            return self._end if value > 0 else self._start
        if self._log and value <= 0:
            return self._start
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + (self._end - self._start) * min(1.0, max(0.0, share))

    @property
    def ends(self) -> tuple[float, float]:
        """The numbers at the start and the end; on a logarithmic axis at most those up to which there are ticks."""
        if not self._log:
            return self._low, self._high
        low, high = (math.exp(min(max(end, -LARGEST), LARGEST)) for end in (self._low, self._high))
        return low, high

    def ticks(self, most: int = 6) -> list[float]:
        low, high = self.ends
        if self._log and high > FEW_TICKS * low:
            subs = (1.0,) if math.log10(high / low) > 1.5 else (1.0, 2.0, 5.0)
            ticks = LogLocator(subs=subs, numticks=most + 1).tick_values(low, high)
        else:
            ticks = MaxNLocator(most).tick_values(low, high)
        return [float(t) for t in ticks if low <= t <= high]
