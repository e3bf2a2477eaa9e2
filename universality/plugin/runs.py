"""What a claim needs trained, built up call by call: `Run`, sweeps over anything, and run sets over seeds and pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import product
from typing import Any, Generic, Literal, Self, TypeVar, overload

from universality.errors import BadParameter, unknown_name
from universality.plugin.architecture import Architecture
from universality.plugin.readings import Key
from universality.plugin.schedules import Schedule
from universality.plugin.spec import Recipe
from universality.plugin.streams import Axis
from universality.plugin.task import Task


@dataclass(frozen=True, slots=True)
class Observe:
    """A probe by address (`sharpness`, `taps[rows=512]`) and when it records."""

    probe: str
    at: Schedule


@dataclass(frozen=True, slots=True)
class Request:
    """A training that a phenomenon needs, and what must be observed in it.

    Args:
        streams: axes of randomness (`init`, `batches`, `data`) that follow another seed than `seed`.
        fork: (step, branch): from update `step` on, batches are those of branch `branch` >= 1. Branches
            of one run share its weights, to the last bit, up to that step.
    """

    architecture: Architecture
    task: Task
    recipe: Recipe
    seed: int
    observe: tuple[Observe, ...]
    streams: Mapping[Axis, int] = field(default_factory=dict)
    fork: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One training to ask for. Every method gives another such; nothing is trained yet.

    A run set is given the cell's architecture on its task at one seed, and adds recipe and observations.
    """

    architecture: Architecture
    task: Task
    seed: int
    recipe: Recipe | None = None
    observe: Mapping[str, Schedule] = field(default_factory=dict)
    other_streams: Mapping[Any, int] = field(default_factory=dict)
    fork: tuple[int, int] | None = None

    def trained(self, recipe: Recipe | None = None, /, **changes: Any) -> Run:
        """With this recipe, or with these fields of the recipe changed (`Recipe` lists them)."""
        recipe = recipe or self.recipe
        _known("field of a recipe", changes, Recipe)
        return replace(self, recipe=replace(recipe, **changes) if recipe else Recipe(**changes))

    def observing(self, observe: Mapping[str, Schedule] | None = None, /, **more: Schedule) -> Run:
        """Probes by address, with the schedule of each; beside those that it has already."""
        asked = {**(observe or {}), **more}
        for probe, at in asked.items():
            if not isinstance(at, Schedule):
                raise BadParameter(
                    f"'{probe}' is observed without a schedule",
                    got=repr(at),
                    expected="Every(20), At(0, 1) or LogSpaced()",
                )
        return replace(self, observe={**self.observe, **asked})

    def on(self, **changes: Any) -> Run:
        """The same task with other parameters: `subset`, `label_noise`, `random_labels` or its own."""
        _known(f"parameter of task '{self.task.name}'", changes, type(self.task))
        return replace(self, task=replace(self.task, **changes))

    def built(self, **changes: Any) -> Run:
        """The same architecture with other parameters, of its own or of its modifiers."""
        return replace(self, architecture=_registry().with_parameters(self.architecture, **changes))

    def modified(self, modifier: str, **parameters: Any) -> Run:
        """Under a modifier, by its name; one that it is under already gets these parameters."""
        return replace(self, architecture=_registry().modified(self.architecture, modifier, **parameters))

    def scaled(self, factor: float) -> Run:
        """`factor` times as wide. Raises NotImplementedError where the architecture has no width."""
        return replace(self, architecture=self.architecture.scaled(factor))

    def seeded(self, seed: int) -> Run:
        """With another seed: other data, initialisation and batches."""
        return replace(self, seed=seed)

    def streams(self, **seeds: int) -> Run:
        """With some randomness of another seed: `init`, `batches` or `data`. Two runs with the same `init` share a
        start and differ in noise."""
        return replace(self, other_streams={**self.other_streams, **seeds})

    def forked(self, step: int, branch: int) -> Run:
        """A branch of this run: the same up to update `step`, other batches from there on. Branches count from 1."""
        return replace(self, fork=(step, branch))

    def vary(self, **axes: Any) -> Sweep:
        """A sweep: this run at every combination of the values of one or more parameters.

        An axis is `scale` (a factor on the width), a field of the recipe, or a parameter of the task, of the
        architecture or of its modifiers. Keys are the values, or tuples of them in the order of the axes.

        Raises:
            BadParameter: a name that none of these has, or more than one; a value that is given twice.
        """
        for name, values in axes.items():
            axes[name] = values = tuple(values)
            if len(set(values)) < len(values):
                raise BadParameter(
                    "a sweep has one value twice",
                    where=self._place,
                    got=f"{name}={values}"[:120],
                    do="give it once",
                )
        runs: dict[Key, Run] = {}
        for values in product(*axes.values()):
            run = self
            for name, value in zip(axes, values, strict=True):
                run = run._with(name, value)
            runs[values[0] if len(values) == 1 else tuple(values)] = run
        return Sweep(tuple(axes), runs)

    def _with(self, name: str, value: Any) -> Run:
        if name == "scale":
            return self.scaled(value)
        owners: dict[str, tuple[set[str], Callable[..., Run]]] = {
            "recipe": (_names(Recipe), self.trained),
            "task": (_names(type(self.task)), self.on),
            "architecture": (set(_registry().adjustable(self.architecture)), self.built),
        }
        having = [change for names, change in owners.values() if name in names]
        if not having:
            known = ["scale", *sorted(set().union(*(names for names, _ in owners.values())))]
            raise unknown_name("parameter to sweep over", name, known, where=self._place)
        if len(having) > 1:
            raise BadParameter(
                "a parameter to sweep over has two owners",
                where=self._place,
                got=f"{name}, of {' and '.join(o for o, (names, _) in owners.items() if name in names)}",
                do="write the sweep out: {value: run.on(...) for value in ...}",
            )
        return having[0](**{name: value})

    @property
    def _place(self) -> str:
        return f"{self.architecture.name} on {self.task.name}"

    def request(self) -> Request:
        """Raises `BadParameter` for a run without a recipe."""
        if self.recipe is None:
            raise BadParameter(
                "a run without a recipe",
                where=self._place,
                do="say how it is trained: run.trained(steps=..., lr=...)",
            )
        observe = tuple(Observe(probe, at) for probe, at in self.observe.items())
        return Request(
            self.architecture, self.task, self.recipe, self.seed, observe, self.other_streams, self.fork
        )


class Sweep(Mapping[Key, Run]):
    """Runs by the values of swept parameters, whose names are `axes`."""

    def __init__(self, axes: tuple[str, ...], runs: Mapping[Key, Run]) -> None:
        self.axes, self._runs = axes, dict(runs)

    def __getitem__(self, key: Key) -> Run:
        return self._runs[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def each(self, change: Callable[[Run], Run]) -> Sweep:
        """The same sweep with a change to every run."""
        return Sweep(self.axes, {key: change(run) for key, run in self._runs.items()})


Scope = Literal["seed", "pair", "partner"]

R = TypeVar("R", bound=Run | Mapping[Any, Run])


@dataclass(frozen=True, eq=False)
class RunSet(Generic[R]):
    """The runs of one replicate of a claim: a method of the phenomenon from one `Run`, or two, to what is trained.

    Attributes:
        scope: `seed` gives it the run of each seed; `pair` those of each pair of seeds; `partner`, at each seed,
            that of the cell's architecture and that of each other architecture of the suite.
        name: of the method, without a trailing `_runs` (a claim may have the shorter name).
        where: file and line.
    """

    method: Callable[..., R]
    scope: Scope

    @property
    def name(self) -> str:
        return self.method.__name__.removesuffix("_runs")

    @property
    def where(self) -> str:
        code = getattr(self.method, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.name

    @overload
    def __get__(self, plugin: None, owner: type) -> Self: ...
    @overload
    def __get__(self, plugin: object, owner: type) -> Callable[..., R]: ...
    def __get__(self, plugin: object | None, owner: type) -> Self | Callable[..., R]:
        return self if plugin is None else partial(self.method, plugin)


def per_seed(method: Callable[..., R]) -> RunSet[R]:
    """Decorator of a run set `(self, run)`: one replicate for each seed. Returns one `Run`, or several by key."""
    return RunSet(method, "seed")


def per_pair(method: Callable[..., R]) -> RunSet[R]:
    """Decorator of a run set `(self, a, b)`: one replicate for each pair of seeds."""
    return RunSet(method, "pair")


def per_partner(method: Callable[..., R]) -> RunSet[R]:
    """Decorator of a run set `(self, a, b)`: at each seed, the cell's architecture and each other of the suite."""
    return RunSet(method, "partner")


def role(key: Any, axes: tuple[str, ...] = ()) -> str:
    """What a run is called in records: its key, with the names of swept parameters.

    >>> role("a"), role(0.5, ("lr",)), role((2, 0.1), ("scale", "lr"))
    ('a', 'lr=0.5', 'scale=2, lr=0.1')
    """
    parts = key if isinstance(key, tuple) else (key,)
    texts = [part if isinstance(part, str) else f"{part:g}" for part in parts]
    if axes:
        texts = [f"{axis}={text}" for axis, text in zip(axes, texts, strict=True)]
    return ", ".join(texts)


def _registry() -> Any:
    from universality.plugin import registry  # which knows of phenomena, and they of runs

    return registry


def _names(cls: type) -> set[str]:
    return {f.name for f in fields(cls) if f.init}


def _known(what: str, changes: Mapping[str, Any], cls: type) -> None:
    for name in changes:
        if name not in _names(cls):
            raise unknown_name(what, name, sorted(_names(cls)))
