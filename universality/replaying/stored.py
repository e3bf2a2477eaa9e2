"""A series on the disk: a folder with a folder for each step, in it weights or features as safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from universality.errors import BadParameter
from universality.replaying.manifest import Manifest, read_manifest
from universality.store.untrusted import UntrustedFile, parse, read_bytes

STEP = re.compile(r"(?:step|checkpoint)[-_]?(\d{1,15})")
"""Names of folders of a step: `step1000` as Pythia has them, `checkpoint-1000` of the Hugging Face trainer."""
WEIGHTS, FEATURES, INDEX = "model.safetensors", "features.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
CONVERT = (
    "safetensors.torch.save_file(net.state_dict(), 'step1000/model.safetensors') where the training runs"
)


STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "inv_freq")
MASKS = ("masked_bias", "attention.bias", "attn.bias")
"""Ends of names of buffers in public series; the causal masks of GPT-NeoX and GPT-2 are called as a bias is, with four axes."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """Named tensors in one file or several, none of which is in memory.

    Args:
        files: by name of the tensor.
        shapes: by name.
        kinds: as safetensors writes them, such as `F16` or `I64`.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of what no optimizer trains: whole numbers and truth values, and what is called as a buffer is."""
        return tuple(
            name
            for name in self.files
            if self.kinds[name].startswith(("I", "U", "BOOL"))
            or _ends(name, STATISTICS)
            or self.is_mask(name)
        )

    def is_mask(self, name: str) -> bool:
        """Whether it masks attention, with infinities where a large number was halved."""
        return _ends(name, MASKS) and (name.endswith("masked_bias") or len(self.shapes[name]) == 4)

    def load(self, name: str) -> Tensor:
        """As it is stored. Raises `BadParameter` for a file that is damaged, `KeyError` for a name that is not there."""
        path = self.files[name]
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
                return tensor
        except (safetensors.SafetensorError, OSError) as error:
            raise damaged(path, error) from None

    def __bool__(self) -> bool:
        return bool(self.files)


@dataclass(frozen=True, slots=True)
class StoredStep:
    """What lies in the folder of a step. `told`: the step that the training itself noted there, if it did."""

    folder: Path
    weights: Tensors
    features: Tensors
    told: int | None = None


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """One training. `steps` are in order; `name` is that of its folder, or longer where two would have one."""

    name: str
    folder: Path
    manifest: Manifest
    seed: int
    steps: Mapping[int, StoredStep]

    @property
    def last(self) -> int:
        return max(self.steps)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What a run set tells trainings apart by."""
        m = self.manifest
        return m.network, self.seed, m.random_labels, None if m.fork is None else m.fork[1]


def _ends(name: str, ends: Sequence[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def read_series(places: Sequence[Path]) -> list[StoredSeries]:
    """The series in these folders, each one itself or a folder of several; headers are read, no tensor is.

    Raises:
        BadParameter: a folder without steps, two folders of one step, two series of one seed that differ in nothing, a
            step without tensors, with a pickle alone, with a shard missing, or with a file that is damaged.
    """
    folders = [folder for place in places for folder in _series_in(Path(place))]
    names = _names(folders)
    found: list[StoredSeries] = []
    numbered: dict[tuple[Any, ...], int] = {}
    for folder, name in zip(folders, names, strict=True):
        manifest = read_manifest(folder)
        kind = manifest.network, manifest.random_labels, manifest.fork
        seed = numbered.get(kind, 0) if manifest.seed is None else manifest.seed
        numbered[kind] = seed + 1
        steps = {step: _read_step(path) for step, path in _step_folders(folder).items()}
        found.append(StoredSeries(name, folder, manifest, seed, steps))
    by_identity: dict[tuple[Any, ...], StoredSeries] = {}
    for series in found:
        twin = by_identity.setdefault(series.identity, series)
        if twin is not series:
            raise BadParameter(
                "two series of one seed",
                where=f"{twin.folder} and {series.folder}",
                got=f"seed {series.seed}, network '{series.manifest.network}', the same labels and branch",
                do="give each its seed, network, random_labels or fork in manifest.json",
            )
    return found


def _series_in(place: Path) -> list[Path]:
    if not place.is_dir():
        raise BadParameter("there is no such folder", where=str(place), do="check the path")
    if _step_folders(place):
        return [place]
    inside = [folder for folder in sorted(place.iterdir()) if folder.is_dir() and _step_folders(folder)]
    if not inside:
        raise BadParameter(
            "a folder without steps",
            where=str(place),
            got=", ".join(sorted(path.name for path in place.iterdir())[:8]) or "nothing",
            expected="folders step0, step1000, ... or checkpoint-1000, ..., or folders of such",
        )
    return inside


def _step_folders(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = STEP.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        step = int(match[1])
        if step in found:
            raise BadParameter(
                "two folders of one step",
                where=str(folder),
                got=f"{found[step].name} and {path.name}",
                do="move one of them away",
            )
        found[step] = path
    return dict(sorted(found.items()))


def _names(folders: Sequence[Path]) -> list[str]:
    short = [folder.resolve().name for folder in folders]
    return [
        name if short.count(name) == 1 else f"{folder.resolve().parent.name}/{name} ({number})"
        for number, (name, folder) in enumerate(zip(short, folders, strict=True), 1)
    ]


def _read_step(folder: Path) -> StoredStep:
    files = _weight_files(folder)
    weights = tensors_in(files)
    _check_index(folder, weights)
    features = tensors_in([folder / FEATURES] if (folder / FEATURES).exists() else [])
    if not weights and not features:
        pickled = sorted({path.name for pattern in PICKLES for path in folder.glob(pattern)})
        raise BadParameter(
            "a step that holds no tensors",
            where=str(folder),
            got=f"{', '.join(pickled)}: a pickle may run code, and is never loaded"
            if pickled
            else "no such file",
            expected=f"{WEIGHTS}, {INDEX} with its shards, or {FEATURES}",
            do=CONVERT,
        )
    return StoredStep(folder, weights, features, _told(folder))


def _weight_files(folder: Path) -> list[Path]:
    shards = {path.name: match for path in folder.iterdir() if (match := SHARD.fullmatch(path.name))}
    counts = {match[2] for match in shards.values()}
    expected = [
        f"model-{k:05d}-of-{count}.safetensors" for count in sorted(counts) for k in range(1, int(count) + 1)
    ]
    if (folder / INDEX).exists():
        expected = sorted(set(_index(folder).values()))
    missing = [name for name in expected if not (folder / name).is_file()]
    if missing or len(counts) > 1:
        raise BadParameter(
            "shards of a step are missing" if missing else "shards of two divisions in one step",
            where=str(folder),
            got=f"{len(shards)} shards, without {', '.join(missing[:4])}"
            if missing
            else ", ".join(sorted(shards)),
            do="write or fetch the checkpoint anew",
        )
    single = folder / WEIGHTS
    if single.exists() and expected:
        raise BadParameter(
            "weights twice in one step",
            where=str(folder),
            got=f"{WEIGHTS} and shards",
            do="keep one of the two",
        )
    return [single] if single.exists() else [folder / name for name in expected]


def _index(folder: Path) -> dict[str, str]:
    """File by tensor."""
    path = folder / INDEX
    try:
        raw = parse(read_bytes(path))
        table = raw["weight_map"]
        # A name from elsewhere must not lead out of the folder.
        plain = all(isinstance(file, str) and Path(file).name == file for file in table.values())
    except (UntrustedFile, KeyError, TypeError, AttributeError) as error:
        raise BadParameter(
            "an index that cannot be read",
            where=str(path),
            got=str(error),
            do="write or fetch the checkpoint anew",
        ) from None
    if not table or not plain:
        raise BadParameter(
            "an index that names no files of its folder",
            where=str(path),
            got=str(list(table.values())[:2]),
            do="write or fetch the checkpoint anew",
        )
    return dict(table)


def _check_index(folder: Path, weights: Tensors) -> None:
    if not (folder / INDEX).exists():
        return
    lost = [name for name, file in _index(folder).items() if weights.files.get(name, Path()).name != file]
    if lost:
        raise BadParameter(
            "an index names tensors that their shard does not hold",
            where=str(folder / INDEX),
            got=f"{len(lost)}, such as {lost[0]}",
            do="write or fetch the checkpoint anew",
        )


def tensors_in(files: Sequence[Path]) -> Tensors:
    """The tensors in these files. Raises `BadParameter` for one that is damaged, and for a name in two of them."""
    where: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: dict[str, str] = {}
    for path in files:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                for name in sorted(file.keys()):
                    if name in where:
                        raise BadParameter(
                            "a tensor that lies in two shards",
                            where=str(path.parent),
                            got=f"{name}, in {where[name].name} and {path.name}",
                            do="write or fetch the checkpoint anew",
                        )
                    entry = file.get_slice(name)
                    where[name], shapes[name] = path, tuple(entry.get_shape())
                    kinds[name] = entry.get_dtype()
        except (safetensors.SafetensorError, OSError) as error:
            raise damaged(path, error) from None
    return Tensors(where, shapes, kinds)


def damaged(path: Path, error: BaseException) -> BadParameter:
    size = path.stat().st_size if path.exists() else 0
    return BadParameter(
        "a file of safetensors that is damaged, or was cut off",
        where=str(path),
        got=f"{size} bytes: {error}",
        do="fetch or write it again",
    )


def _told(folder: Path) -> int | None:
    """The step in `trainer_state.json` of the Hugging Face trainer."""
    try:
        step = json.loads(read_bytes(folder / "trainer_state.json"))["global_step"]
    except (UntrustedFile, ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None
