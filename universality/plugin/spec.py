"""Frozen descriptions of what is trained, their ids, and the seeds that follow from them.

A run is (architecture, task, recipe, seed, the content of files of the user's own, data and plugins, and where it
follows other seeds). Its id hashes exactly that, never what is observed: the same training measured twice is the
same run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from universality.errors import BadParameter, unknown_name
from universality.plugin.streams import Axis, Streams
from universality.text import is_printable

IDENTITY_VERSION = 1
"""Of what ids hash. What lies on the disk has a version of its own (`store.layout.SCHEMA_VERSION`)."""

Optimizer = Literal["sgd", "adam", "adamw", "rmsprop"]
Loss = Literal["cross_entropy", "mse"]

MAX_ADDRESS = 300
"""Characters."""

Value = bool | int | float | str
Sources = tuple[tuple[str, str], ...]
"""Pairs such as ("task mine", SHA-256 of its source), sorted."""

_ADDRESS = re.compile(
    r"^(?P<name>[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*|[A-Za-z_][\w-]*)(?:\[(?P<params>.*)\])?$", re.DOTALL
)
"""A registered name, or `package.module:factory`."""


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


def split_address(text: str) -> list[str]:
    """The parts of `mlp[width=64]+mup[base=32]`, cut at every `+` outside brackets. Raises nothing.

    >>> split_address("mlp[width=64] + mup[base=32]")
    ['mlp[width=64]', 'mup[base=32]']
    >>> split_address("arrays[path=a+b.npz]")
    ['arrays[path=a+b.npz]']
    """
    parts, depth = [""], 0
    for character in text:
        depth = max(0, depth + (character == "[") - (character == "]"))
        if character == "+" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts] if len(parts) > 1 else parts


def bare_name(address: str) -> str:
    """An address without its parameters. Raises nothing, whatever the text.

    >>> bare_name("mlp[width=64]+mup[base=32]")
    'mlp+mup'
    """
    return "+".join(part.partition("[")[0].strip() for part in split_address(address))


def parse_address(text: str, *, where: str = "") -> tuple[str, dict[str, str]]:
    """Split `mlp[width=512,activation=tanh]`, one part of an address, into the name and its parameters, still text.

    A value is any text that can be printed, but for commas, and brackets without their partner. `where` is the whole
    address. Raises `BadParameter`.

    >>> parse_address("mlp[width=512]")
    ('mlp', {'width': '512'})
    >>> parse_address("nets.small:make_net[depth=2]")
    ('nets.small:make_net', {'depth': '2'})
    """
    stripped = text.strip()
    if not is_printable(stripped) or len(stripped) > MAX_ADDRESS:
        raise BadParameter(
            "an address that is too long, or has characters that cannot be seen",
            where=where,
            got=ascii(stripped[:MAX_ADDRESS]),
            expected=f"at most {MAX_ADDRESS} letters, signs and spaces",
            do="rename the file, or write the parameter otherwise",
        )
    match = _ADDRESS.match(stripped)
    if match is None:
        raise BadParameter(
            "malformed address",
            where=where,
            got=repr(text),
            expected="name or name[parameter=value,...]; package.module:factory for a network of your own",
        )
    params: dict[str, str] = {}
    for item in filter(None, (s.strip() for s in (match["params"] or "").split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BadParameter("malformed parameter", where=text, got=repr(item), expected="parameter=value")
        if key.strip() in params:
            raise BadParameter("parameter given twice", where=text, got=repr(key.strip()), do="give it once")
        params[key.strip()] = value.strip()
    return match["name"], params


@dataclass(frozen=True, slots=True)
class Component:
    """A plugin by name with all of its parameters; `label` shows only those that differ from the defaults.

    Args:
        modifiers: of an architecture, in the order in which they are applied. None are stored as no
            field, so that records and ids of plain components do not know of them.
    """

    name: str
    params: tuple[tuple[str, Value], ...] = ()
    label: str = field(default="", compare=False)
    modifiers: tuple[Component, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not self.modifiers:
            object.__setattr__(self, "modifiers", UNSET)
        elif any(part.modifiers for part in self.modifiers):
            raise BadParameter(
                "a modifier is modified",
                got=str(self),
                expected="network+modifier+modifier, each of the network",
            )

    def __str__(self) -> str:
        return "+".join([self.label or self.name, *map(str, self.modifiers or ())])

    @property
    def unmodified(self) -> Component:
        """The same without modifiers."""
        return Component(self.name, self.params, self.label)

    @property
    def parts(self) -> tuple[Component, ...]:
        """Itself without modifiers, then these."""
        return (self.unmodified, *(self.modifiers or ()))

    def identity(self) -> list[Any]:
        """What ids hash."""
        own = [self.name, [list(pair) for pair in sorted(self.params)]]
        return [*own, [part.identity() for part in self.modifiers]] if self.modifiers else own


RANGE_TEST = 200
"""Updates of a training by which a range test judges a rate."""

SHARPNESS_ROWS = 4096
"""Most rows over which the sharpness that gives a rate is taken where updates see batches; a full-batch run needs all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Args:
        steps: number of updates; 0 leaves the network as it was initialised, and needs no learning rate.
        lr: learning rate; with `lr_over_stability` or `lr_below_best` it is derived and this must be 0.
        lr_over_stability: where positive, lr is chosen per run such that the stability threshold
            of gradient descent, 2/lr (with heavy ball 2(1+momentum)/lr), is this multiple of the
            sharpness at initialisation (SGD only).
        lr_below_best: the best rate of a range test, short trainings at rates half a decade apart, over lr.
        weight_decay: as torch's optimizers have it; with `memory` it is derived and this must be 0.
        memory: weight decay is chosen per run such that exp(-2 wd T), with T the learning rates of all updates, summed, over
            1 - momentum, is this (SGD only): what L2 decay leaves of the conserved quantities of gradient flow
            (Kunin et al. 2021, arXiv:2012.04728).
        batch_size: rows per update; 0 is the full training set.
        milestones: fractions of `steps` at which lr is multiplied by `gamma`.
        warmup: fraction of `steps` over which lr rises linearly to its value.
        fitted: a share of the training rows; 0 and regression train all `steps`. Where so many are seen to be classified
            rightly after t updates, at one of 64 looks, training ends after 2 t, or after `steps` if these are fewer: until
            it is fitted, then as long again. What is due later is recorded of the network as it was left.
        loss: `cross_entropy`, or `mse` = mean over rows of half the squared distance to the
            one-hot target, in regression to the target itself.
    """

    steps: int
    lr: float = 0.0
    lr_over_stability: float = 0.0
    optimizer: Optimizer = "sgd"
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
    loss: Loss = "cross_entropy"
    # Of recipes that do not say, no id knows of these.
    fitted: float | UnsetType = UNSET
    lr_below_best: float | UnsetType = UNSET
    memory: float | UnsetType = UNSET

    def __post_init__(self) -> None:
        # Equal recipes need equal ids, and JSON writes 1 and 1.0 differently.
        for entry in fields(self):
            if entry.type == "float":
                object.__setattr__(self, entry.name, float(getattr(self, entry.name)))
        object.__setattr__(self, "milestones", tuple(map(float, self.milestones)))
        for name in ("fitted", "lr_below_best", "memory"):
            value = getattr(self, name)
            object.__setattr__(self, name, UNSET if value is UNSET else float(value) or UNSET)
        self._check_fitted()
        self._check_memory()
        for name in ("steps", "batch_size"):
            if type(number := getattr(self, name)) is not int:
                raise BadParameter(
                    f"{name} of a recipe is no whole number", got=repr(number), expected="an int"
                )
        for name, options in (("optimizer", get_args(Optimizer)), ("loss", get_args(Loss))):
            if getattr(self, name) not in options:
                raise unknown_name(name, str(getattr(self, name)), options)
        if self.steps < 0:
            raise BadParameter(
                "a recipe has a negative number of steps",
                got=str(self.steps),
                expected=">= 0, where 0 trains nothing",
            )
        below = 0.0 if self.lr_below_best is UNSET else self.lr_below_best
        rates = (self.lr, self.lr_over_stability, below)
        untrained = self.steps == 0 and not any(rates)
        if not (untrained or (min(rates) == 0 < max(rates) < math.inf and sum(map(bool, rates)) == 1)):
            raise BadParameter(
                "a recipe needs exactly one of lr, lr_over_stability and lr_below_best",
                got=f"lr={self.lr}, lr_over_stability={self.lr_over_stability}"
                + (f", lr_below_best={below}" if below else ""),
                expected="one of the three above 0, the others left out",
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
            raise BadParameter(
                "batch_size is negative", got=str(self.batch_size), expected=">= 0, where 0 takes all rows"
            )

    def _check_fitted(self) -> None:
        share = 0.0 if self.fitted is UNSET else self.fitted
        if not 0 <= share <= 1:
            raise BadParameter("fitted is a share of the training rows", got=str(share), expected="0 to 1")
        if share and (self.milestones or self.warmup):
            raise BadParameter(
                "a recipe that ends where it has fitted cannot have a schedule, which is of all its steps",
                got=f"fitted={share:g}, milestones={self.milestones}, warmup={self.warmup:g}",
                do="leave out fitted, or the schedule",
            )

    def _check_memory(self) -> None:
        if self.memory is UNSET:
            return
        if not 0 < self.memory < 1:
            raise BadParameter("memory is a share of the start", got=str(self.memory), expected="0 to 1")
        if self.weight_decay or self.optimizer != "sgd":
            raise BadParameter(
                "memory stands in place of weight_decay, for gradient descent",
                got=f"optimizer={self.optimizer}, weight_decay={self.weight_decay:g}, memory={self.memory:g}",
                expected="optimizer=sgd, weight_decay=0",
            )

    def at(self, rate: float, decay: float) -> Recipe:
        """The same with this rate and weight decay, whatever they were to follow from."""
        return replace(
            self, lr=rate, lr_over_stability=0.0, lr_below_best=UNSET, weight_decay=decay, memory=UNSET
        )

    @property
    def looks(self) -> range:
        """Updates after which it is looked whether the training set is `fitted`."""
        return range(0) if self.fitted is UNSET else range(0, self.steps, max(1, self.steps // 64))

    def sees_batches(self, train_rows: int) -> bool:
        """Whether updates see batches, and not all of so many rows."""
        return 0 < self.batch_size < train_rows


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One training, exactly.

    Args:
        content: the digest of data that the task's parameters do not pin down, see `Task.content`.
        streams: axes of randomness that follow another seed than `seed`, and a fork. An axis that follows
            `seed` itself is left out: it is the same run.
        sources: what plugins of the user's own are, see `universality.plugin.sources`.

    Raises:
        BadParameter: a seed that is no whole number from 0, or a fork at or after the last update, which would
            never part from its run.
    """

    architecture: Component
    task: Component
    recipe: Recipe
    seed: int
    content: str = ""
    streams: Streams | UnsetType = UNSET
    sources: Sources | UnsetType = UNSET

    def __post_init__(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise BadParameter(
                "a seed is no whole number",
                where=f"{self.architecture} on {self.task}",
                got=repr(self.seed),
                expected=">= 0",
            )
        if self.streams is UNSET:
            return
        fork = self.streams.fork
        if fork is not UNSET and fork[0] >= self.recipe.steps:
            raise BadParameter(
                "a fork that never parts from its run",
                where=f"{self.architecture} on {self.task}, seed {self.seed}",
                got=f"step {fork[0]} of a run of {self.recipe.steps} updates",
                expected=f"a step below {self.recipe.steps}",
            )
        others = tuple((axis, seed) for axis, seed in self.streams.seeds if seed != self.seed)
        streams = Streams(others, fork) if others or fork is not UNSET else UNSET
        object.__setattr__(self, "streams", streams)

    def seed_of(self, axis: Axis) -> int:
        """The seed that this axis of the run's randomness follows."""
        return self.seed if self.streams is UNSET else dict(self.streams.seeds).get(axis, self.seed)

    @property
    def fork(self) -> tuple[int, int] | None:
        """(step, branch) where the run is a fork, see `Streams`."""
        return None if self.streams is UNSET or self.streams.fork is UNSET else self.streams.fork

    @property
    def start(self) -> tuple[Hashable, ...]:
        """What the loss at initialisation and its curvature depend on: runs that have it in common start alike."""
        recipe = self.recipe
        return self.architecture, self.task, self.seed, self.streams, recipe.loss, recipe.batch_size

    @property
    def id(self) -> str:
        """`<architecture>-<task>-s<seed>-<hash>`, safe as a folder name; modifiers follow the architecture."""
        key = [
            IDENTITY_VERSION,
            self.architecture.identity(),
            self.task.identity(),
            {name: value for name in Recipe.__slots__ if (value := getattr(self.recipe, name)) is not UNSET},
            self.seed,
        ]
        if self.content:
            key.append(self.content)
        if self.streams is not UNSET:
            key.append({"streams": msgspec.to_builtins(self.streams)})
        if self.sources is not UNSET:
            key.append({"sources": self.sources})
        network = "-".join(_folder_name(part.name) for part in self.architecture.parts)
        return f"{network}-{self.task.name}-s{self.seed}-{digest(key)}"


def _folder_name(name: str) -> str:
    """The name of a plugin itself; of a factory `package.module:make_net` its last part, as a folder may be called."""
    return name.rpartition(":")[2]
