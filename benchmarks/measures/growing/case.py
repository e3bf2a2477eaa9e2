"""A case of growth, and the cost that a docstring states."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from universality import measures


@dataclass(frozen=True, slots=True)
class Growth:
    """`make` prepares one size and returns what is timed.

    measure: its name in `universality.measures`.
    varied: symbols of its stated cost, several where they grow together.
    operations: what the cost comes to at a size, up to a constant factor.
    regime: what else is said of the sizes: which term of the cost is the larger.
    reason: why time grows otherwise than operations at sizes that a benchmark can afford; shown with a miss.
    """

    measure: str
    varied: str
    sizes: Sequence[int]
    operations: Callable[[int], float]
    make: Callable[[int], Callable[[], Any]]
    regime: str = ""
    reason: str = ""


def doubled(smallest: int) -> tuple[int, int, int]:
    return smallest, 2 * smallest, 4 * smallest


def stated_cost(name: str) -> str:
    """What stands behind `Cost:` in the docstring, to the end of the paragraph; empty where nothing does."""
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(getattr(measures, name)) or ""):
        if found := re.search(r"\bCost\b[^:]*:\s*(.+)", paragraph, re.DOTALL):
            return " ".join(found[1].split())
    return ""


def kind_of_cost(cost: str) -> Literal["unsaid", "none", "as", "growth"]:
    """`as`: the cost of another measure and nothing else."""
    if not cost:
        return "unsaid"
    if re.match(r"none\b", cost):
        return "none"
    return "as" if re.match(r"(as )?`\w+`\.(\s|$)", cost) else "growth"


def symbols(name: str) -> set[str]:
    """Sizes in the stated cost of time: single letters, numbered ones, and names from the signature."""
    measure = inspect.unwrap(getattr(measures, name))
    signature = inspect.signature(measure)
    axes = re.findall(
        r"[\"']([\w\s.]+)[\"']", " ".join(str(p.annotation) for p in signature.parameters.values())
    )
    named = {word for axis in axes for word in axis.split()} | set(signature.parameters)
    time = re.split(r"\b[Mm]emory\b", stated_cost(name))[0]
    words = set(re.findall(r"(?<![`\w])[A-Za-z]\w*(?![`\w])", time))
    letters = {word for word in words if re.fullmatch(r"[A-Za-z]\d?", word)} - {"O"}
    return letters | (words & named)
