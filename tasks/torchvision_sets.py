"""MNIST, FashionMNIST and CIFAR-10, downloaded, verified (md5) and read by torchvision.

Under the data root lie the official archives, or torchvision's own folders, unpacked. Archives
win, because they carry checksums; they are unpacked into the cache and never beside themselves.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from universality.plugin import BadParameter, DataUnavailable, InputSpec, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    cache_root,
    damaged,
    fetch_command,
    filled_once,
    missing,
    private_folder,
    spaced,
    split,
    standardised,
)


@dataclass(frozen=True, kw_only=True)
class _TorchvisionTask(Task):
    """The official training set; validation is `validation_rows` of the official test set.

    Validation rows are evenly spaced over the test set, since the first half of MNIST's is known
    to be easier; reference is the first 512 test images. Both are the same for every seed.
    """

    tier = "real"

    validation_rows: int = 2000

    dataset: ClassVar[str]
    folder: ClassVar[str]
    """Where torchvision keeps the unpacked files, under its root."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_rows < 1:
            raise BadParameter(
                "validation needs rows",
                where=self.name,
                got=f"validation_rows={self.validation_rows}",
                expected=">= 1",
            )

    @abstractmethod
    def archives(self, source: Any) -> Mapping[str, str]:
        """md5 by path under the root, from torchvision's class."""

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        parts = self._parts(root)
        pixels = [np.asarray(part.data) for part in parts]
        train_y, test_y = (np.asarray(part.targets) for part in parts)
        train, test = standardised(*pixels)
        rows = spaced(len(test), self.validation_rows)
        shape = tuple(train.shape[1:])
        return Splits(
            split(train, train_y),
            split(test[rows], test_y[rows]),
            split(test[:REFERENCE_ROWS], test_y[:REFERENCE_ROWS]),
            InputSpec("image", shape),
            10,
        )

    def fetch(self, root: Path) -> None:
        """Download the archives that are missing or damaged; each appears by one rename."""
        source = self._source()
        archives = self.archives(source)
        if self._usable(root, archives):
            return
        with private_folder(root, "download") as folder:
            try:
                source(folder, download=True)
            except Exception as error:  # torchvision wraps what the network raises in RuntimeError
                raise DataUnavailable(
                    f"{self.name} could not be downloaded",
                    where=f"data root {root}",
                    got=f"{type(error).__name__}: {error}",
                    expected=f"a network, or {', '.join(archives)} under the data root",
                    do=fetch_command(self.name, root),
                ) from error
            for path in archives:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).replace(root / path)

    def _usable(self, root: Path, archives: Mapping[str, str]) -> bool:
        if any((root / path).exists() for path in archives):
            return all(_md5(root / path) == md5 for path, md5 in archives.items())
        try:
            self._parts(root)
        except DataUnavailable:
            return False
        return True

    def _parts(self, root: Path) -> list[Any]:
        """torchvision's training and test sets."""
        source, where = self._source(), self._unpacked(root)
        try:
            return [source(where, train=train) for train in (True, False)]
        except Exception as error:  # torchvision asserts, and torch raises RuntimeError on short files
            do = fetch_command(self.name, root) if where == root else f"delete {where}, it is made again"
            raise damaged(where / self.folder, error, do=do) from error

    def _source(self) -> Any:
        from torchvision import datasets

        return getattr(datasets, self.dataset)

    def _unpacked(self, root: Path) -> Path:
        """A folder that torchvision can read: in the cache where there are archives, else `root`."""
        source = self._source()
        archives = self.archives(source)
        present = [path for path in archives if (root / path).is_file()]
        if len(present) < len(archives):
            if (root / self.folder).is_dir() and not present:
                return root
            absent = [root / path for path in archives if path not in present]
            expected = f"these archives, or {self.folder} as torchvision unpacks it"
            raise missing(absent, root=root, expected=expected, do=fetch_command(self.name, root))

        def unpack(folder: Path) -> None:
            for path, md5 in archives.items():
                # Before torchvision sees the link: it would download onto a file of another md5.
                if (got := _md5(root / path)) != md5:
                    raise damaged(
                        root / path, f"md5 {got}", expected=f"md5 {md5}", do=fetch_command(self.name, root)
                    )
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to((root / path).resolve())
            source(folder, download=True)
            for path in archives:
                (folder / path).unlink()

        key = hashlib.sha256("".join(archives.values()).encode()).hexdigest()[:12]
        return filled_once(cache_root() / "torchvision" / f"{self.name}-{key}", unpack)


def _md5(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _IdxTask(_TorchvisionTask):
    def archives(self, source: Any) -> Mapping[str, str]:
        return {f"{self.folder}/{name}": md5 for name, md5 in source.resources}


@register("mnist", family="image", source="LeCun et al. 1998")
@dataclass(frozen=True, kw_only=True)
class MNIST(_IdxTask):
    """60,000 handwritten digits, `[1, 28, 28]`."""

    licence = "CC BY-SA 3.0"
    dataset = "MNIST"
    folder = "MNIST/raw"


@register("fashion_mnist", family="image", source="Xiao et al. 2017, arXiv:1708.07747")
@dataclass(frozen=True, kw_only=True)
class FashionMNIST(_IdxTask):
    """60,000 pictures of clothes, `[1, 28, 28]`."""

    licence = "MIT"
    dataset = "FashionMNIST"
    folder = "FashionMNIST/raw"


@register("cifar10", family="image", source="Krizhevsky 2009")
@dataclass(frozen=True, kw_only=True)
class CIFAR10(_TorchvisionTask):
    """50,000 colour photographs, `[3, 32, 32]`."""

    licence = "none stated by its authors"
    dataset = "CIFAR10"
    folder = "cifar-10-batches-py"

    def archives(self, source: Any) -> Mapping[str, str]:
        return {source.filename: source.tgz_md5}
