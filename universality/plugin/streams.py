"""Streams of randomness: runs that share an initialisation, batches or data with a run of another seed, and
forks, which share all of it up to some update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from msgspec import UNSET, UnsetType

from universality.errors import BadParameter

Axis = Literal["init", "batches", "data"]
"""What a run draws: the weights that it starts from, the order of rows, the task's data."""

AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the randomness of a run departs from its own seed.

    Args:
        seeds: axes that follow another seed than the run's, with that seed.
        fork: (step, branch). Batches are the run's own in its first `step` updates, and those of branch
            `branch` >= 1 from there on, so that the weights after up to `step` updates are those of the
            run without a fork, to the last bit. An epoch that the fork cuts may show a row twice.

    What is no axis, such as the noise of dropout, follows the seed of the run, on both sides of a fork.

    Raises:
        BadParameter: an unknown axis or one given twice, a branch below 1, a seed or step that is negative or
            no whole number.
    """

    seeds: tuple[tuple[Axis, int], ...] = ()
    fork: tuple[int, int] | UnsetType = UNSET

    def __post_init__(self) -> None:
        # Equal streams need equal ids.
        object.__setattr__(self, "seeds", tuple(sorted((axis, seed) for axis, seed in self.seeds)))
        named = [axis for axis, _ in self.seeds]
        if len(set(named)) < len(named) or not set(named) <= set(AXES):
            raise BadParameter(
                "seed streams follow axes of randomness",
                got=", ".join(named),
                expected=f"each at most once of {', '.join(AXES)}",
            )
        for axis, seed in self.seeds:
            if type(seed) is not int or seed < 0:
                raise BadParameter(
                    "a seed is no whole number", where=f"stream {axis}", got=repr(seed), expected=">= 0"
                )
        if self.fork is not UNSET:
            step, branch = self.fork
            if type(step) is not int or type(branch) is not int or step < 0 or branch < 1:
                raise BadParameter(
                    "a fork needs a step, and the number of a branch",
                    got=f"step={step}, branch={branch}",
                    expected="whole numbers, step >= 0 and branch >= 1: branch 0 is the run itself",
                )

    @classmethod
    def of(cls, seeds: Mapping[Axis, int], fork: tuple[int, int] | None) -> Streams | UnsetType:
        """The streams that a request names, UNSET where it names none."""
        if not seeds and fork is None:
            return UNSET
        return cls(tuple(seeds.items()), UNSET if fork is None else fork)
