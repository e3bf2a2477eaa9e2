"""What evidence from a task is worth: data that was made, real data of toy size, real data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Tier = Literal["synthetic", "small real", "real"]

TIERS: Mapping[Tier, str] = {
    "synthetic": "made by a formula: has the structure that it was given",
    "small real": "real data of toy size, such as digits of 8x8 pixels: says nothing of large networks",
    "real": "real data at the size at which it is published",
}
NOT_STATED = "not stated"


def tiers_of(plan: Mapping[str, Any]) -> dict[str, Tier]:
    """Per task of a plan. Tasks that do not say are left out, and so is what is no tier."""
    tasks = plan.get("tasks")
    if not isinstance(tasks, Mapping):
        return {}
    said = {task: about.get("tier") for task, about in tasks.items() if isinstance(about, Mapping)}
    return {task: tier for task, known in said.items() for tier in TIERS if known == tier}
