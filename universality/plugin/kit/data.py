"""What tasks share: where data lies, how it is unpacked, and how it becomes tensors.

Data found under the root may be read-only and shared, so that everything unpacked goes to a cache
of our own. A folder appears by one rename: any number of processes may unpack at once.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import DataUnavailable
from universality.plugin.spec import derive_seed
from universality.plugin.task import Split

REFERENCE_ROWS = 512
"""Most inputs on which representations are compared."""


def data_root(given: str | Path | None = None) -> Path:
    """The folder of data sets: `given` (--data-root), else $UNIVERSALITY_DATA, else ~/.cache/universality/data.

    Without a home it is a folder that cannot be made, whose name says what to set: nothing needs it unless data does.
    """
    return _folder(given or os.environ.get("UNIVERSALITY_DATA"), "data", "UNIVERSALITY_DATA or --data-root")


def cache_root() -> Path:
    """Where data is unpacked: $UNIVERSALITY_CACHE, else ~/.cache/universality. May be deleted. Without a home as
    `data_root`."""
    return _folder(os.environ.get("UNIVERSALITY_CACHE"), "", "UNIVERSALITY_CACHE")


def _folder(given: str | Path | None, below: str, variable: str) -> Path:
    try:
        return Path(given or Path("~/.cache/universality", below)).expanduser().absolute()
    except RuntimeError:  # neither $HOME nor an entry of this user in the passwd file
        return Path(os.devnull, f"no home folder: set {variable}")


def fetch_command(task: str, root: Path) -> str:
    """The command that brings the data of the task at address `task`.

    >>> fetch_command("mnist", Path("/data"))
    'universality data fetch mnist --data-root /data'
    """
    folder = "FOLDER" if root.is_relative_to(os.devnull) else shlex.quote(str(root))
    return f"universality data fetch {shlex.quote(task)} --data-root {folder}"


def missing(files: Path | Sequence[Path], *, root: Path, do: str, expected: str = "") -> DataUnavailable:
    """The error for files that are not there."""
    names = [files] if isinstance(files, Path) else list(files)
    shown = ", ".join(str(p.relative_to(root) if p.is_relative_to(root) else p) for p in names)
    return DataUnavailable(f"no {shown}", where=f"data root {root}", expected=expected, do=do)


def damaged(file: Path, got: str | Exception, *, do: str, expected: str = "") -> DataUnavailable:
    """The error for a file that is there and cannot be used."""
    text = f"{type(got).__name__}: {got}" if isinstance(got, Exception) else got
    return DataUnavailable("cannot be read", where=str(file), got=text, expected=expected, do=do)


def sha256(*files: Path) -> str:
    """Hexadecimal SHA-256 of the contents of the files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            hashlib.file_digest(opened, lambda: digest)
    return digest.hexdigest()


def verified(root: Path, digests: Mapping[str, str], *, do: str) -> list[Path]:
    """Files by their paths under `root`, each of the SHA-256 that `digests` has for it.

    Raises `DataUnavailable`, which names those that are missing, or the first of another digest.
    """
    files = [root / path for path in digests]
    if absent := [file for file in files if not file.is_file()]:
        raise missing(absent, root=root, do=do)
    for file, digest in zip(files, digests.values(), strict=True):
        if (got := sha256(file)) != digest:
            raise damaged(file, f"sha256 {got}", expected=f"sha256 {digest}", do=do)
    return files


@contextmanager
def private_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """A folder below `parent` that no other process sees, gone on leaving: rename out of it what is done.

    Raises `DataUnavailable` where `parent` cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        private = tempfile.TemporaryDirectory(dir=parent, prefix=f".{purpose}-")
    except OSError as error:
        raise DataUnavailable(
            f"the folder to {purpose} into cannot be written",
            where=str(parent),
            got=str(error),
            do="point UNIVERSALITY_CACHE (unpacking) or --data-root (fetching) at a folder that can",
        ) from error
    with private as folder:
        yield Path(folder)


def filled_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `target`, filled once and made visible by one rename.

    A process that loses the race drops its own copy, which is equal. Raises `DataUnavailable`
    where the disk is full.
    """
    if target.is_dir():
        return target
    with private_folder(target.parent, "unpack") as folder:
        scratch = folder / target.name
        scratch.mkdir()
        try:
            fill(scratch)
        except OSError as error:
            raise DataUnavailable(
                "unpacking failed",
                where=str(target.parent),
                got=str(error),
                do="free space, or point UNIVERSALITY_CACHE at another folder",
            ) from error
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    return target


def fixed_generator(*keys: int | str) -> np.random.Generator:
    """Randomness that belongs to a task, not to a seed: the same in every run."""
    return np.random.default_rng(derive_seed("task", *keys))


def spaced(rows: int, at_most: int) -> NDArray[np.int64]:
    """Up to `at_most` row numbers, evenly spaced over `rows`: a fixed choice that ignores order.

    >>> spaced(10, 4).tolist()
    [0, 2, 5, 7]
    """
    count = min(rows, at_most)
    return np.arange(count, dtype=np.int64) * rows // max(count, 1)


def drawn(inputs: NDArray[Any], labels: NDArray[Any], at_most: int) -> NDArray[np.int64]:
    """Up to `at_most` row numbers, drawn at random and in random order: the same rows in whatever order they come.

    A row's place in the draw is the SHA-256 of its bytes, its label and how many equal rows came before it, so
    that neither the sorting of a file nor its blocks decide what is compared.

    >>> x, y, order = np.arange(20.0)[:, None], np.arange(20) % 2, np.arange(20)[::-1]
    >>> np.array_equal(x[drawn(x, y, 5)], x[order][drawn(x[order], y[order], 5)])
    True
    """
    seen: Counter[bytes] = Counter()
    places = []
    for row, label in zip(np.ascontiguousarray(inputs), labels.tolist(), strict=True):
        key = hashlib.sha256(row.tobytes() + repr(label).encode()).digest()
        places.append(hashlib.sha256(key + repr(seen[key]).encode()).digest())
        seen[key] += 1
    order = sorted(range(len(places)), key=places.__getitem__)
    return np.asarray(order[:at_most], dtype=np.int64)


def standardised(train: NDArray[np.uint8], *others: NDArray[np.uint8]) -> tuple[Tensor, ...]:
    """Images uint8 `[n, h, w]` or `[n, h, w, c]` to float32 `[n, c, h, w]`, all by (x - mean) / std of `train`.

    One mean and one std over all pixels and channels, exact from the histogram of the 256 levels.
    Raises `ValueError` where all pixels of `train` are equal.
    """
    count = np.zeros(256)
    for block in np.array_split(train, max(1, train.size >> 24)):
        count += np.bincount(block.reshape(-1), minlength=256)
    levels = np.arange(256.0)
    mean = (count @ levels) / count.sum()
    std = np.sqrt(count @ (levels - mean) ** 2 / count.sum())
    if not std > 0:
        raise ValueError("all pixels are equal")
    table = ((levels - mean) / std).astype(np.float32)

    def scaled(images: NDArray[np.uint8]) -> Tensor:
        channels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        return torch.from_numpy(table[np.ascontiguousarray(channels)])

    return tuple(scaled(images) for images in (train, *others))


def standardised_columns(train: NDArray[Any], *others: NDArray[Any]) -> tuple[Tensor, ...]:
    """Numbers `[n, ...]` to float32, each column by (x - mean) / std of its training rows, in float64.

    Raises `ValueError` that names columns in which all training rows are equal.

    >>> [x.tolist() for x in standardised_columns(np.array([[1.0], [3.0]]), np.array([[4.0]]))]
    [[[-1.0], [1.0]], [[2.0]]]
    """
    refuse_constant(train)
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    return tuple(torch.from_numpy(((x - mean) / std).astype(np.float32)) for x in (train, *others))


def refuse_constant(train: NDArray[Any]) -> None:
    """Raises `ValueError` that names the columns of `[n, ...]` in which all rows are equal."""
    # Not by the deviation: equal numbers may differ from their mean by its rounding.
    if constant := np.flatnonzero((train == train[:1]).all(axis=0)).tolist():
        shown = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
        raise ValueError(f"{len(constant)} columns are constant over the training rows: {shown}")


def class_count(train: NDArray[Any], validation: NDArray[Any]) -> int:
    """The number of classes C of integer labels `[n]`; raises `ValueError` unless training has each of 0 .. C-1.

    A class without training rows is refused: it is far more often a label set that starts at 1.
    """
    for name, labels in (("training", train), ("test", validation)):
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} labels are {labels.dtype} of shape {list(labels.shape)}")
        if len(labels) == 0:
            raise ValueError(f"there are no {name} rows")
        if labels.min() < 0:
            raise ValueError(f"the smallest of the {name} labels is {labels.min()}")
    present = np.unique(train)
    classes = int(present[-1]) + 1
    if len(present) != classes:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise ValueError(f"class {absent} has no training rows, the largest class is {classes - 1}")
    if classes < 2:
        raise ValueError("there is only one class")
    if validation.max() >= classes:
        raise ValueError(f"test class {validation.max()} has no training rows")
    return classes


def split(inputs: Tensor, targets: NDArray[Any]) -> Split:
    """A `Split` with the targets as int64."""
    return Split(inputs, torch.from_numpy(np.asarray(targets, dtype=np.int64)))


def read_rows(
    builder: Literal["text", "parquet"], file: Path, columns: Sequence[str], **options: Any
) -> dict[str, list[Any]]:
    """Columns of a local file, read by Hugging Face `datasets` without touching the network.

    What `datasets` prepares is thrown away: it is keyed by path and mtime, and a file that is
    replaced within one tick of the clock would be read stale. Raises `KeyError`, naming the
    columns there are, and whatever `datasets` raises for a damaged file.
    """
    import datasets

    with private_folder(cache_root(), "prepare") as folder, _quiet(datasets):
        rows = datasets.load_dataset(
            builder,
            data_files=str(file),
            split="train",
            cache_dir=str(folder),
            keep_in_memory=True,
            **options,
        )
        if not set(columns) <= set(rows.column_names):
            raise KeyError(f"among {', '.join(rows.column_names)}")
        return dict(rows.select_columns(list(columns))[:])


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """No progress bars and no log lines of `datasets`; the caller's settings come back."""
    level, bars = datasets.logging.get_verbosity(), not datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()
