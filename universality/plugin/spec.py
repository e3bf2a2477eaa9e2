"""Frozen descriptions of what is trained, their ids, and the seeds that follow from them.

A run is (architecture, task, recipe, seed, and the content of files of the user's own, data and plugins). Its id
hashes exactly that, never what is observed: the same training measured twice is the same run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from universality.errors import BadParameter

IDENTITY_VERSION = 1
"""Of what ids hash. What lies on the disk has a version of its own (`store.layout.SCHEMA_VERSION`)."""

Value = bool | int | float | str
Sources = tuple[tuple[str, str], ...]
"""Pairs such as ("task mine", SHA-256 of its source), sorted."""

_ADDRESS = re.compile(r"^(?P<name>[A-Za-z_][\w-]*)(?:\[(?P<params>.*)\])?$", re.DOTALL)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal objects give equal text.

    >>> canonical({"b": 1, "a": 2.0})
    '{"a":2.0,"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def derive_seed(axis: str, *keys: int | str) -> int:
    """A 63-bit seed for one named axis of randomness (data, init, batches, probe).

    Named axes keep what should not change from changing: the data split does not depend on the
    architecture, the batches do not depend on the probes.
    """
    return int(digest([axis, *keys], 16), 16) >> 1


def parse_address(text: str) -> tuple[str, dict[str, str]]:
    """Split `mlp[width=512,activation=tanh]` into the name and its parameters, still text.

    >>> parse_address("mlp[width=512]")
    ('mlp', {'width': '512'})
    """
    match = _ADDRESS.match(text.strip())
    if match is None:
        raise BadParameter("malformed address", got=repr(text), expected="name or name[parameter=value,...]")
    params: dict[str, str] = {}
    for item in filter(None, (s.strip() for s in (match["params"] or "").split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BadParameter("malformed parameter", where=text, got=repr(item), expected="parameter=value")
        if key.strip() in params:
            raise BadParameter("parameter given twice", where=text, got=repr(key.strip()))
        params[key.strip()] = value.strip()
    return match["name"], params


@dataclass(frozen=True, slots=True)
class Component:
    """A plugin by name with all of its parameters; `label` shows only those that differ from the defaults."""

    name: str
    params: tuple[tuple[str, Value], ...] = ()
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.label or self.name

    def identity(self) -> list[Any]:
        """What ids hash."""
        return [self.name, [list(pair) for pair in sorted(self.params)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Args:
        steps: number of updates.
        lr: learning rate; with `lr_over_stability` it is derived and this must be 0.
        lr_over_stability: where positive, lr is chosen per run such that the stability threshold
            of gradient descent, 2/lr (with heavy ball 2(1+momentum)/lr), is this multiple of the
            sharpness at initialisation (SGD only).
        batch_size: rows per update; 0 is the full training set.
        milestones: fractions of `steps` at which lr is multiplied by `gamma`.
        warmup: fraction of `steps` over which lr rises linearly to its value.
        loss: `cross_entropy`, or `mse` = mean over rows of half the squared distance to the
            one-hot target.
    """

    steps: int
    lr: float = 0.0
    lr_over_stability: float = 0.0
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup: float = 0.0
    batch_size: int = 0
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"

    def __post_init__(self) -> None:
        # Equal recipes need equal ids, and JSON writes 1 and 1.0 differently.
        for entry in fields(self):
            if entry.type == "float":
                object.__setattr__(self, entry.name, float(getattr(self, entry.name)))
        object.__setattr__(self, "milestones", tuple(map(float, self.milestones)))
        if self.steps < 1:
            raise BadParameter("a recipe needs steps", got=str(self.steps), expected=">= 1")
        rates = (self.lr, self.lr_over_stability)
        if not min(rates) == 0 < max(rates) < math.inf:
            raise BadParameter(
                "a recipe needs exactly one of lr and lr_over_stability",
                got=f"lr={self.lr}, lr_over_stability={self.lr_over_stability}",
            )
        if self.lr_over_stability > 0 and self.optimizer != "sgd":
            raise BadParameter(
                "lr_over_stability is defined for gradient descent",
                got=f"optimizer={self.optimizer}",
                expected="optimizer=sgd",
            )
        if self.weight_decay < 0:
            raise BadParameter("weight decay is negative", got=str(self.weight_decay), expected=">= 0")
        if self.batch_size < 0:
            raise BadParameter("batch_size is negative", got=str(self.batch_size))


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One training, exactly.

    `content` is the digest of data that the task's parameters do not pin down, see `Task.content`; `sources` says
    what plugins of the user's own are, see `universality.plugin.sources`.
    """

    architecture: Component
    task: Component
    recipe: Recipe
    seed: int
    content: str = ""
    sources: Sources | UnsetType = UNSET

    @property
    def id(self) -> str:
        """`<architecture>-<task>-s<seed>-<hash>`, safe as a folder name."""
        key = [
            IDENTITY_VERSION,
            self.architecture.identity(),
            self.task.identity(),
            asdict(self.recipe),
            self.seed,
        ]
        if self.content:
            key.append(self.content)
        if self.sources is not UNSET:
            key.append({"sources": self.sources})
        return f"{self.architecture.name}-{self.task.name}-s{self.seed}-{digest(key)}"
