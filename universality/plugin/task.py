"""The contract of a task, and what every task shares: subsets and label noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from universality.errors import BadParameter, DataUnavailable
from universality.plugin.architecture import InputSpec

if TYPE_CHECKING:
    from torch import Tensor


Tier = Literal["synthetic", "small real", "real"]
"""What evidence from a task is worth: data that was made, real data of toy size, real data."""

TIERS: Mapping[Tier, str] = {
    "synthetic": "made by a formula: has the structure that it was given",
    "small real": "real data of toy size, such as digits of 8x8 pixels: says nothing of large networks",
    "real": "real data at the size at which it is published",
}
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Split:
    """Examples `[n, *shape]`, and their classes `[n]` (int64) or numbers to regress on `[n, outputs]` (float32)."""

    inputs: Tensor
    targets: Tensor

    @property
    def regression(self) -> bool:
        """Whether targets are numbers and not classes."""
        return self.targets.is_floating_point()

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> Split:
        return Split(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True, slots=True)
class Splits:
    """The data of one run.

    `reference` is a fixed set of labelled inputs on which representations of different networks
    are compared; it is the same for every seed and every level of label noise. `outputs` is the number
    of classes, in regression that of the numbers to predict.
    """

    train: Split
    validation: Split
    reference: Split
    inputs: InputSpec
    outputs: int


@dataclass(frozen=True, slots=True)
class Signature:
    """What a phenomenon may know of a task before anything is trained."""

    inputs: InputSpec
    outputs: int
    train_rows: int
    validation_rows: int
    reference_rows: int
    content: str = ""
    regression: bool = False
    imbalance: float = 1.0
    """Rows of the largest class of the training set over those of the smallest; 1 of numbers and of random labels,
    which are balanced up to chance."""
    scale: float = 1.0
    """The largest root mean square of an input over the training set; 1 of tokens."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A problem of classification or regression; its dataclass fields are its parameters.

    Subclasses are frozen dataclasses registered with `universality.plugin.register` and implement
    `read`. `load` then applies, in this order, what every task shares:

    Args:
        subset: rows of the training set to keep, spread evenly over the classes; 0 keeps all.
        label_noise: share of training labels replaced by a uniform draw of another class; no regression
            has it.
        random_labels: draw every label, training and validation, uniformly (a control). In regression
            the targets of either split are permuted, so that their distribution stays.
    """

    subset: int = 0
    label_noise: float = 0.0
    random_labels: bool = False

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    source: ClassVar[str] = ""
    tier: ClassVar[Tier | Literal[""]] = ""
    """What evidence from it is worth (`TIERS`); "" where the data is the user's own."""
    licence: ClassVar[str] = ""
    """Of the data; "" where it is made by a formula or the user's own."""
    digests: ClassVar[Mapping[str, str]] = {}
    """SHA-256 by path under the data root, of files that are taken in no other form, or of what is read from them."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_noise <= 1:
            raise BadParameter(
                "label_noise is a share", where=self.name, got=str(self.label_noise), expected="0 to 1"
            )
        if self.subset < 0:
            raise BadParameter(
                "subset is negative",
                where=self.name,
                got=str(self.subset),
                expected=">= 0, where 0 takes all rows",
            )

    @abstractmethod
    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        """The clean data, deterministic in `rng`; `reference` must not depend on `rng`.

        Raises `DataUnavailable` where the data is not under `root` and cannot be made or fetched.
        """

    def fetch(self, root: Path) -> None:  # noqa: B027
        """Bring the data under `root`. The default suits tasks that need no files."""

    def content(self, root: Path) -> str:
        """A digest of data that the parameters do not pin down, and "" where they do.

        A task that reads a file of the user's own must return its digest (`universality.plugin.kit.data.sha256`):
        it is part of a run's id, so that changed data is never taken for a finished run.
        """
        return ""

    def load(self, rng: np.random.Generator, root: Path) -> Splits:
        """The data of one run: `read`, then subset, then label noise, each with its own generator."""
        source, rows, labels = rng.spawn(3)
        splits = self.read(source, root)
        regression = self._is_regression(splits)
        if regression and self.label_noise:
            raise BadParameter(
                "label_noise replaces classes, and this task has none",
                where=self.name,
                got=f"label_noise={self.label_noise:g}",
                expected="label_noise=0",
                do="let the task add noise to its numbers by a parameter of its own",
            )
        if self.subset > len(splits.train):
            raise BadParameter(
                "subset is larger than the training set",
                where=self.name,
                got=str(self.subset),
                expected=f"<= {len(splits.train)}",
            )
        train, validation = splits.train, splits.validation
        if self.subset:
            strata = np.zeros(len(train), np.int64) if regression else train.targets.numpy()
            train = train.take(_stratified(strata, self.subset, rows))
        if self.random_labels and regression:
            train, validation = (
                Split(s.inputs, s.targets[_tensor(labels.permutation(len(s)))]) for s in (train, validation)
            )
        elif self.random_labels:
            train = Split(train.inputs, _uniform(len(train), splits.outputs, labels))
            validation = Split(validation.inputs, _uniform(len(validation), splits.outputs, labels))
        elif self.label_noise:
            train = Split(train.inputs, _noisy(train.targets, splits.outputs, self.label_noise, labels))
        if len(train) == 0 or len(validation) == 0:
            raise DataUnavailable(
                "a split is empty",
                where=self.name,
                got=f"{len(train)} training and {len(validation)} validation rows",
            )
        return replace(splits, train=train, validation=validation)

    def signature(self, root: Path) -> Signature:
        """Shapes and sizes, found by loading once; raises what `load` raises."""
        splits = self.load(np.random.default_rng(0), root)
        return Signature(
            splits.inputs,
            splits.outputs,
            len(splits.train),
            len(splits.validation),
            len(splits.reference),
            self.content(root),
            splits.train.regression,
            1.0 if splits.train.regression or self.random_labels else _imbalance(splits),
            1.0 if splits.inputs.kind == "tokens" else _scale(splits.train.inputs),
        )

    def _is_regression(self, splits: Splits) -> bool:
        """Whether targets are numbers; refuses those that a loss would broadcast to something else."""
        targets = [part.targets for part in (splits.train, splits.validation, splits.reference)]
        numbers = [part for part in targets if part.is_floating_point()]
        if not numbers:
            return False
        # The one kind of floating-point numbers of four bytes is float32.
        malformed = any(t.element_size() != 4 or t.shape[1:] != (splits.outputs,) for t in numbers)
        if malformed or len(numbers) < len(targets):
            raise BadParameter(
                "targets of a regression are malformed",
                where=self.name,
                got=", ".join(f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in targets),
                expected=f"float32 [rows, {splits.outputs}] for training, validation and reference",
            )
        return True


def _imbalance(splits: Splits) -> float:
    sizes = np.bincount(splits.train.targets.numpy(), minlength=splits.outputs)
    return float(sizes.max() / sizes.min()) if sizes.min() else math.inf


def _scale(inputs: Tensor) -> float:
    """Of inputs that are not finite it is not defined; these are refused elsewhere."""
    squares = inputs.float().square().mean(dim=0)  # in float32, whose squares of 1e20 and more are infinite
    return float(squares.max().sqrt()) if squares.numel() else 1.0


def _uniform(n: int, classes: int, rng: np.random.Generator) -> Tensor:
    return _tensor(rng.integers(0, classes, size=n))


def _noisy(targets: Tensor, classes: int, share: float, rng: np.random.Generator) -> Tensor:
    """Replace a share of the labels by a uniform draw among the other classes."""
    noisy = targets.numpy().copy()
    rows = rng.permutation(len(noisy))[: round(share * len(noisy))]
    noisy[rows] = (noisy[rows] + rng.integers(1, classes, size=len(rows))) % classes
    return _tensor(noisy)


def _stratified(labels: NDArray[np.int64], size: int, rng: np.random.Generator) -> Tensor:
    """Rows, sorted, that take classes in turn until `size` is reached."""
    order = rng.permutation(len(labels))
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    sizes = np.bincount(shuffled)
    turn = np.concatenate([np.arange(count) for count in sizes])
    # Row i of `by_class` is the turn[i]-th of its class: sorting by turn visits classes in rounds.
    rounds = by_class[np.argsort(turn, kind="stable")]
    return _tensor(np.sort(order[rounds[:size]]))


def _tensor(numbers: NDArray[np.int64]) -> Tensor:
    import torch  # here, so that contracts load without it

    return torch.from_numpy(numbers)
