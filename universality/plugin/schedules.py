"""When something happens in training, as data: which steps out of `0 .. budget`.

Step `t` means "after t updates": 0 is the initialisation, `budget` the end. The steps are known
before training starts, so between two of them the loop runs bare.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A rule that names steps of a run of known length."""

    @abstractmethod
    def steps(self, budget: int) -> tuple[int, ...]:
        """Sorted, distinct steps in `0 .. budget`."""


@dataclass(frozen=True, slots=True)
class At(Schedule):
    """The fractions of the budget that are named.

    >>> At(0.0, 0.5, 1.0).steps(300)
    (0, 150, 300)
    """

    fractions: tuple[float, ...]

    def __init__(self, *fractions: float) -> None:
        if not all(0 <= f <= 1 for f in fractions):
            raise ValueError(f"fractions of the budget lie in [0, 1], got {fractions}")
        object.__setattr__(self, "fractions", fractions)

    def steps(self, budget: int) -> tuple[int, ...]:
        return tuple(sorted({round(f * budget) for f in self.fractions}))


@dataclass(frozen=True, slots=True)
class Every(Schedule):
    """`count` equal intervals over the budget, both ends included.

    >>> Every(4).steps(100)
    (0, 25, 50, 75, 100)
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a schedule needs at least one interval, got count={self.count}")

    def steps(self, budget: int) -> tuple[int, ...]:
        return tuple(sorted({round(i * budget / self.count) for i in range(self.count + 1)}))


@dataclass(frozen=True, slots=True)
class LogSpaced(Schedule):
    """Every step up to `dense`, then `per_decade` steps per factor of ten, and the end.

    >>> LogSpaced(dense=2, per_decade=2).steps(100)
    (0, 1, 2, 3, 10, 32, 100)
    """

    dense: int = 20
    per_decade: int = 30

    def __post_init__(self) -> None:
        if self.per_decade < 1:
            raise ValueError(f"a factor of ten needs at least one step, got per_decade={self.per_decade}")

    def steps(self, budget: int) -> tuple[int, ...]:
        chosen = {0, budget} | set(range(min(self.dense, budget) + 1))
        power = 0
        while (step := round(10 ** (power / self.per_decade))) <= budget:
            chosen.add(step)
            power += 1
        return tuple(sorted(chosen))
