"""MNIST, FashionMNIST, KMNIST, CIFAR-10 and SVHN, downloaded, verified (md5) and read by torchvision.

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
from numpy.typing import NDArray

from universality.plugin import BadParameter, DataUnavailable, InputSpec, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    cache_root,
    damaged,
    fetch_command,
    filled_once,
    missing,
    private_folder,
    sha256,
    spaced,
    split,
    standardised,
    verified,
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

    def part(self, train: bool) -> Mapping[str, Any]:
        """What torchvision's class wants to be told."""
        return {"train": train}

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        train_pixels, train_y, test_pixels, test_y = self.arrays(root)
        train, test = standardised(train_pixels, test_pixels)
        rows = spaced(len(test), self.validation_rows)
        shape = tuple(train.shape[1:])
        return Splits(
            split(train, train_y),
            split(test[rows], test_y[rows]),
            split(test[:REFERENCE_ROWS], test_y[:REFERENCE_ROWS]),
            InputSpec("image", shape),
            10,
        )

    def arrays(self, root: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Pixels uint8 `[n, h, w]` or `[n, h, w, c]` and labels, of the training set and of the test set."""
        train, test = self._parts(root)
        return tuple(np.asarray(a) for a in (train.data, train.targets, test.data, test.targets))  # type: ignore[return-value]

    def fetch(self, root: Path) -> None:
        """Download the archives that are missing or damaged; each appears by one rename."""
        source = self._source()
        archives = self.archives(source)
        if self._usable(root, archives):
            return
        with private_folder(root, "download") as folder:
            try:
                for train in (True, False):
                    source(folder, **self.part(train), download=True)
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
            return [source(where, **self.part(train)) for train in (True, False)]
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
        if (root / self.folder).is_dir() and not present:
            return root
        expected = f"these archives, or {self.folder} as torchvision unpacks it"
        self._require(root, archives, expected=expected)

        def unpack(folder: Path) -> None:
            # Before torchvision sees the links: it would download onto a file of another md5.
            self._verify(root, archives)
            for path in archives:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to((root / path).resolve())
            source(folder, download=True)
            for path in archives:
                (folder / path).unlink()

        key = hashlib.sha256("".join(archives.values()).encode()).hexdigest()[:12]
        return filled_once(cache_root() / "torchvision" / f"{self.name}-{key}", unpack)

    def _require(self, root: Path, archives: Mapping[str, str], *, expected: str = "") -> None:
        if absent := [root / path for path in archives if not (root / path).is_file()]:
            raise missing(absent, root=root, expected=expected, do=fetch_command(self.name, root))

    def _verify(self, root: Path, archives: Mapping[str, str]) -> None:
        for path, md5 in archives.items():
            if (got := _md5(root / path)) != md5:
                do = fetch_command(self.name, root)
                raise damaged(root / path, f"md5 {got}", expected=f"md5 {md5}", do=do)


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


@register("kmnist", family="image", source="Clanuwat et al. 2018, arXiv:1812.01718")
@dataclass(frozen=True, kw_only=True)
class KMNIST(_IdxTask):
    """60,000 cursive Japanese characters in ten classes, `[1, 28, 28]`."""

    licence = "CC BY-SA 4.0"

    dataset = "KMNIST"
    folder = "KMNIST/raw"


@register("cifar10", family="image", source="Krizhevsky 2009")
@dataclass(frozen=True, kw_only=True)
class CIFAR10(_TorchvisionTask):
    """50,000 colour photographs, `[3, 32, 32]`.

    Where nothing of torchvision's is there, the file in `digests` stands in: 8,068 training and 1,017 test images of
    the official sets, lossless, with a digest that keeps its runs apart from those of all images.
    """

    licence = "none stated by its authors"
    digests: ClassVar[Mapping[str, str]] = {
        "CIFAR10/cifar10_lossless_subset.npz": "5d04853e9c4218bd139e435a6b702dbd7f2a27db0b4f69e6a47eff464f7c47f1"
    }

    dataset = "CIFAR10"
    folder = "cifar-10-batches-py"

    def archives(self, source: Any) -> Mapping[str, str]:
        return {source.filename: source.tgz_md5}

    def content(self, root: Path) -> str:
        return sha256(*self._subset(root)) if self._subset(root) else ""

    def arrays(self, root: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        if not self._subset(root):
            return super().arrays(root)
        (file,) = verified(root, self.digests, do=fetch_command(self.name, root))
        with np.load(file, allow_pickle=False) as archive:
            return archive["train_x"], archive["train_y"], archive["test_x"], archive["test_y"]

    def _usable(self, root: Path, archives: Mapping[str, str]) -> bool:
        return bool(self._subset(root)) or super()._usable(root, archives)

    def _subset(self, root: Path) -> list[Path]:
        """The file that stands in, where it must."""
        official = (self.folder, *self.archives(self._source()))
        return (
            []
            if any((root / path).exists() for path in official)
            else [f for f in map(root.joinpath, self.digests) if f.is_file()]
        )


@register("svhn", family="image", source="Netzer et al. 2011")
@dataclass(frozen=True, kw_only=True)
class SVHN(_TorchvisionTask):
    """73,257 colour photographs of digits of house numbers, `[3, 32, 32]`; the class is the digit."""

    licence = "for uses that are not commercial"

    dataset = "SVHN"
    folder = "."

    def archives(self, source: Any) -> Mapping[str, str]:
        return {name: md5 for _, name, md5 in (source.split_list[part] for part in ("train", "test"))}

    def part(self, train: bool) -> Mapping[str, Any]:
        return {"split": "train" if train else "test"}

    def arrays(self, root: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        train, test = self._parts(root)
        pixels = [part.data.transpose(0, 2, 3, 1) for part in (train, test)]
        return pixels[0], train.labels, pixels[1], test.labels

    def _unpacked(self, root: Path) -> Path:
        """The files are no archives, and torchvision reads them where they lie."""
        archives = self.archives(self._source())
        self._require(root, archives)
        self._verify(root, archives)
        return root
