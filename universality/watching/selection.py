"""Which claims one training can speak to: those whose run set asks for it and for no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from universality.errors import described, first_line
from universality.plugin.cell import Cell
from universality.plugin.claim import Claim
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.runs import Run
from universality.plugin.spec import Recipe

SEVERAL = "needs several trainings: universality run"
_COMPARED = ("optimizer", "momentum", "nesterov", "loss")


@dataclass(frozen=True, slots=True)
class WatchedClaim:
    """A claim of the training that is watched.

    Args:
        observe: steps of each probe, by address, that its run set asks for.
        otherwise: how the training differs from the recipe of the run set.
    """

    phenomenon: Phenomenon
    name: str
    claim: Claim
    observe: Mapping[str, tuple[int, ...]]
    otherwise: str

    @property
    def address(self) -> str:
        return f"{self.phenomenon.name}.{self.name}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Claims that are watched, and by address those that are not, each with the reason why not."""

    claims: tuple[WatchedClaim, ...]
    left_out: Mapping[str, str]


def select(phenomena: Sequence[Phenomenon], cell: Cell, recipe: Recipe, unknown: str = "") -> Selection:
    """Ask each phenomenon for the runs of each of its claims, as the planner does, of this network on these rows.

    Args:
        recipe: of the training; probes record at the steps that their schedules name for its length.
        unknown: why the optimizer has no recipe; then no claim is watched, since gates are about it.
    """
    claims: list[WatchedClaim] = []
    left_out: dict[str, str] = {}
    for phenomenon in phenomena:
        reasons = reasons_against(phenomenon, cell)
        for name, claim in phenomenon.claims.items():
            address, answer = f"{phenomenon.name}.{name}", _run_of(phenomenon, claim, cell)
            if answer != SEVERAL or phenomenon.calibration:  # else more rows would not help
                answer = reasons.get(name) or unknown or answer
            if isinstance(answer, str):
                left_out[address] = answer
                continue
            observe = {probe: at.steps(recipe.steps) for probe, at in answer.observe.items()}
            claims.append(WatchedClaim(phenomenon, name, claim, observe, departures(answer.recipe, recipe)))
    return Selection(tuple(claims), left_out)


def reasons_against(phenomenon: Phenomenon, cell: Cell) -> Mapping[str, str]:
    """Of claims that cannot be asked of this network on this data."""
    if phenomenon.calibration:
        told = "exact theory, asked on its own reference alone: universality run --suite calibration"
        return dict.fromkeys(phenomenon.claims, told)
    try:
        reason = phenomenon.applies(cell)
        return dict.fromkeys(phenomenon.claims, reason) if reason else phenomenon.left_out(cell)
    except Exception as error:  # of a condition, which is a plugin's code
        return dict.fromkeys(phenomenon.claims, f"its conditions raise {first_line(described(error))}")


def _run_of(phenomenon: Phenomenon, claim: Claim, cell: Cell) -> Run | str:
    """The one run that a claim is about, or why that is not this training."""
    if claim.runs.scope != "seed" or claim.pooled:
        return SEVERAL
    own = Run(cell.architecture, cell.task, seed=0)
    try:
        run = claim.runs.method(phenomenon, own)
    except Exception as error:  # it asks for what a network of no family has not, such as another width
        return f"{SEVERAL} ({first_line(described(error))})"
    if not isinstance(run, Run):
        return SEVERAL
    if run.architecture is not own.architecture:
        modifiers = [part.name for part in getattr(run.architecture, "modifiers", ())]
        return f"of another network than this: {' and '.join(modifiers) or 'changed'} (universality run)"
    if run.task is not own.task:
        return "of other data than this (universality run)"
    if run.fork is not None:
        return SEVERAL
    return run


def departures(asked: Recipe | None, own: Recipe) -> str:
    """Where a training departs from what the benchmark trains; empty where it does not."""
    if asked is None or asked.steps == 0:
        return ""
    parts = [
        f"{name} {_shown(getattr(own, name))}, there {_shown(getattr(asked, name))}"
        for name in _COMPARED
        if getattr(own, name) != getattr(asked, name)
    ]
    if bool(own.batch_size) != bool(asked.batch_size):
        parts.append("batches, there all rows" if own.batch_size else "all rows, there batches")
    if bool(own.weight_decay) != bool(asked.weight_decay or asked.memory):
        parts.append("weight decay, there none" if own.weight_decay else "no weight decay, there some")
    if own.steps < asked.steps:
        parts.append(f"{own.steps} updates, there {asked.steps}")
    return "; ".join(parts)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
