"""Checking a probe: a good one passes, and one that disturbs its training is told how."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.audit.plugins.probes import check_probe
from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.probe import Probe, Training

Record = Callable[[Any, Training], Mapping[str, Any]]


def findings(record: Record, tmp_path: Path, cost: Any = lambda *_: 1.0) -> list[str]:
    members: dict[str, Any] = {"record": record, "cost": cost, "_count": field(default=0, init=False)}
    members["__annotations__"] = {"_count": "int"}
    cls = dataclass(kw_only=True)(type("Broken", (Probe,), members))
    registry.register("broken")(cls)
    answers = list(check_probe(cls(), tmp_path))
    return [f"{f.question}: {f.wrong}{f.skipped}" for f in answers if f.wrong or f.skipped]


@pytest.mark.parametrize("name", ["accuracy", "sharpness", "balance", "taps", "tangent_kernel"])
def test_built_in_probes_keep_their_contract(name: str, tmp_path: Path) -> None:
    answers = list(check_probe(registry.resolve("probe", name), tmp_path))
    assert len(answers) == 7
    assert [str(f) for f in answers if f.wrong or f.skipped] == []


def steps(self: Any, training: Training) -> Mapping[str, Any]:
    for state in training.optimizer.state.values():
        state["exp_avg"].zero_()
    return {"a": 1.0}


def writes(self: Any, training: Training) -> Mapping[str, Any]:
    training.splits.validation.inputs.zero_()
    return {"a": 1.0}


def differs(self: Any, training: Training) -> Mapping[str, Any]:
    return {"a": float(id(object()) + next(COUNTER))}


def refuses(self: Any, training: Training) -> Mapping[str, Any]:
    raise MeasurementError("there is nothing to see", got="no convolution")


COUNTER = iter(range(1000))


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (steps, "the training is left alone: the training ends at"),
        (writes, "the data is left alone: it writes to training.splits"),
        (differs, "the same training gives the same: two trainings differ"),
        (refuses, "it records at steps 0 and 2 of a tiny training: it refuses mlp[width=8,depth=2] on"),
        (lambda *_: {}, "it gives numbers or tensors by name: record() returns nothing"),
        (lambda *_: {"a": math.nan}, "what it gives is finite: broken.a is no number at step 0"),
        (lambda *_: {"a": math.inf}, "what it gives is finite: broken.a is infinite at step 0"),
        (lambda *_: {"a": torch.tensor([math.nan])}, "what it gives is finite: broken.a is not finite at"),
        (lambda *_: {"a": "text"}, "it records at steps 0 and 2 of a tiny training: ValueError"),
        (lambda *_: 1 / 0, "it records at steps 0 and 2 of a tiny training: ZeroDivisionError"),
        (lambda *_: 1.0, "it records at steps 0 and 2 of a tiny training: AttributeError"),
    ],
    ids=["optimizer", "data", "random", "refusal", "nothing", "nan", "inf", "array", "text", "raises", "float"],
)  # fmt: skip
def test_a_broken_probe_is_told_what_is_wrong(record: Record, expected: str, tmp_path: Path) -> None:
    (answer,) = findings(record, tmp_path)
    assert answer.startswith(expected)


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_a_cost_that_is_none_is_wrong(cost: float, tmp_path: Path) -> None:
    (answer,) = findings(lambda *_: {"a": 1.0}, tmp_path, cost=lambda *_: cost)
    assert answer.startswith(f"its cost is a number of gradients: got {cost:g}")
