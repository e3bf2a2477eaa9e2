"""Conditions on a cell that follow from its data or design alone: asked while planning, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

from universality.plugin.cell import Cell
from universality.plugin.claim import Ask
from universality.text import beside


def classes(at_least: int, why: str = "") -> Ask:
    """The task tells this many classes apart."""

    def ask(cell: Cell) -> str:
        if cell.signature.regression:
            return f"needs {at_least} classes, the task is regression"
        has = cell.signature.outputs
        return "" if has >= at_least else why or f"needs {at_least} classes, the task has {has}"

    return ask


def balanced(at_most: float, why: str = "") -> Ask:
    """The largest class of the training set has at most so many times the rows of the smallest."""

    def ask(cell: Cell) -> str:
        ratio = cell.signature.imbalance
        told = f"the largest class has {beside(ratio, at_most)} times the rows of the smallest, at most {at_most:g} are asked for"
        return "" if ratio <= at_most else f"{told}: {why}" if why else told

    return ask


def simplex(cell: Cell) -> str:
    """The features before the readout have the dimensions that as many classes need to be equally far apart."""
    needed, has = cell.signature.outputs - 1, cell.features
    return (
        ""
        if not has or has >= needed
        else f"{needed + 1} class means need {needed} features, the network has {has}"
    )


def layers(at_least: int) -> Ask:
    """The architecture names this many representations (`taps`)."""

    def ask(cell: Cell) -> str:
        has = cell.layers
        return "" if has >= at_least else f"needs {at_least} layers, the network names {has}"

    return ask


def train_rows(at_least: int) -> Ask:
    """The training set has this many rows."""
    return _rows(at_least, "training rows", lambda cell: cell.signature.train_rows)


def reference_rows(at_least: int) -> Ask:
    """The task has this many reference inputs, on which networks are compared."""
    return _rows(at_least, "reference inputs", lambda cell: cell.signature.reference_rows)


def families(*names: str, why: str) -> Ask:
    """The architecture or the task is of one of these families."""
    return lambda cell: "" if {cell.architecture.family, cell.task.family} & set(names) else why


def not_families(*names: str, why: str) -> Ask:
    """Neither the architecture nor the task is of one of these families."""
    return lambda cell: why if {cell.architecture.family, cell.task.family} & set(names) else ""


def held_out(cell: Cell) -> str:
    """No reference input of the task is a training row."""
    leaks = "algorithmic" in (cell.architecture.family, cell.task.family)
    return "the reference inputs of an algorithmic task include training rows" if leaks else ""


def has_width(cell: Cell) -> str:
    """The architecture can be made wider."""
    try:
        cell.architecture.scaled(2.0)
    except NotImplementedError as error:
        return str(error)
    return ""


def _rows(at_least: int, what: str, count: Callable[[Cell], int]) -> Ask:
    def ask(cell: Cell) -> str:
        has = count(cell)
        return "" if has >= at_least else f"needs {at_least} {what}, the task has {has}"

    return ask
