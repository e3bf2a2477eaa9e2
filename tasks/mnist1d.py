"""Digits drawn as curves of one dimension: as hard for small networks as MNIST is easy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, damaged, missing, split

FILE = "mnist1d/mnist1d_data.npz"
SHA256 = "685f4202129520990476e98ae45c73a045542dd77d0ac8478213ec437a6c00e8"
KEYS = {"x": np.float64, "y": np.int64, "x_test": np.float64, "y_test": np.int64}
REMEDY = "np.savez of x, y, x_test and y_test of mnist1d_data.pkl, from github.com/greydanus/mnist1d"


@register("mnist1d", family="series", source="Greydanus 2020, arXiv:2011.14439")
@dataclass(frozen=True, kw_only=True)
class MNIST1D(Task):
    """4,000 curves of 40 steps and one channel in ten classes, taken as they are; 1,000 more are validation.

    A template of each digit, padded, scaled, sheared, shifted and with correlated noise. Reference is the first 512
    test curves, which are in random order. `digests` has the SHA-256 of the four arrays (float64 and int64), one after
    the other.
    """

    tier = "synthetic"
    licence = "Apache-2.0"
    digests: ClassVar[Mapping[str, str]] = {FILE: SHA256}

    def fetch(self, root: Path) -> None:
        """The authors publish a pickle, which can run any code on reading: it is for the user to convert."""
        self._arrays(root)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        x, y, x_test, y_test = self._arrays(root)
        train, test = (torch.from_numpy(a.astype(np.float32)).unsqueeze(2) for a in (x, x_test))
        validation = split(test, y_test)
        reference = Split(validation.inputs[:REFERENCE_ROWS], validation.targets[:REFERENCE_ROWS])
        return Splits(split(train, y), validation, reference, InputSpec("sequence", (40, 1)), 10)

    def _arrays(self, root: Path) -> list[NDArray[Any]]:
        file, (expected,) = root / FILE, self.digests.values()
        if not file.is_file():
            raise missing(file, root=root, do=REMEDY)
        try:
            with file.open("rb") as opened:
                archive: Any = np.load(opened, allow_pickle=False)
                arrays = [np.ascontiguousarray(archive[key], dtype) for key, dtype in KEYS.items()]
        except Exception as error:  # zipfile, zlib, EOF, pickle: what a damaged archive raises varies
            raise damaged(file, error, expected=f"an npz archive of {', '.join(KEYS)}", do=REMEDY) from error
        if (got := hashlib.sha256(b"".join(map(bytes, arrays))).hexdigest()) != expected:
            raise damaged(file, f"arrays of sha256 {got}", expected=f"sha256 {expected}", do=REMEDY)
        return arrays
