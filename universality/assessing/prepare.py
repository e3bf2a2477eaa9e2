"""From a function and data to files that `universality.run` takes: checks all of them before anything is trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.assessing.data import archive, arrays_of, kind_of
from universality.assessing.network import Network, check_defaults, network_of, taken_otherwise
from universality.errors import BadParameter, UniversalityError
from universality.plan.suite import CrossSpec, Suite, check_name
from universality.plugin import registry
from universality.plugin.factory import Factory
from universality.plugin.randomness import seeded
from universality.plugin.settings import default_settings
from universality.store.files import replace_file, storing


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `run` is given.

    Args:
        names: what messages call a function or data by, and what the user calls them.
        notes: on rows and network, where they are taken otherwise than they were given.
    """

    suite: Path
    folder: Path
    plugins: tuple[Path, ...]
    names: Mapping[str, str]
    notes: tuple[str, ...]


def prepare(
    make_net: Any,
    data: Any,
    *,
    phenomena: Sequence[str],
    beside: Sequence[str],
    seeds: int,
    name: str,
    results: Path,
    kind: str,
    targets: str,
    standardise: bool,
    shared_rows: bool,
    controls: bool,
    plugins: Sequence[Path],
) -> Prepared:
    """Write RESULTS/NAME.assess: the data, the network's module, and a suite of its cell and of those beside it."""
    check_name(name, where="assess")
    if not phenomena:
        raise BadParameter(
            "no phenomenon to assess",
            where="assess",
            do='phenomena=["neural_collapse"]; all: universality list',
        )
    if seeds < 1:
        raise BadParameter("seeds is a number of replicates", where="assess", got=str(seeds), expected=">= 1")
    registry.load_plugins(plugins)
    for address in phenomena:
        registry.resolve("phenomenon", address)
    for address in beside:
        registry.resolve("architecture", address)
    network = network_of(make_net)
    notes: list[str] = []
    arrays = arrays_of(data, notes)
    options = {"kind": kind_of(arrays) if kind == "auto" else kind, "targets": targets}
    options = {key: value for key, value in options.items() if value != "auto"}
    options |= {
        key: "true" for key, on in {"standardise": standardise, "shared_rows": shared_rows}.items() if on
    }
    folder = Path(results).absolute() / f"{name}.assess"
    content = archive(arrays)
    file = folder / f"data_{hashlib.sha256(content).hexdigest()[:8]}.npz"
    task = f"arrays[{','.join(f'{key}={value}' for key, value in {'path': file.name, **options}.items())}]"
    names = {network.address: network.factory, str(file): "data", file.name: "data"}
    if network.text:
        module = f"{network.module}.py"
        names |= dict.fromkeys(
            (module, str(folder / network.module / module)), f"{folder.name}/{network.module}/{module}"
        )
    with called(names):
        _check_data(task, file, content, notes)
        folders = (*_check_network(make_net, network, task, folder, notes), *plugins)
    cross = CrossSpec(
        phenomena=tuple(phenomena), architectures=(network.address, *beside), tasks=(task,), seeds=seeds
    )
    about = f"{network.factory} of universality.assess"
    suite = Suite(name=name, crosses=(cross,), description=about, controls=controls)
    path = folder / "suite.toml"
    with storing(folder):
        replace_file(path, suite.toml().encode())
    return Prepared(path, folder, folders, names, tuple(notes))


def _check_data(task: str, file: Path, content: bytes, notes: Sequence[str]) -> None:
    """Write the data and read it as a run does; what cannot be used is not left behind.

    Args:
        notes: on how the rows were taken, which a refusal may come from.
    """
    registry.resolve("task", task)
    is_new = not file.exists()
    with storing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            replace_file(file, content)
    try:
        registry.resolve("task", task).signature(file.parent)
    except BaseException as error:
        if is_new:
            file.unlink(missing_ok=True)
        if notes and isinstance(error, UniversalityError):
            error.got = "; ".join(filter(None, [error.got, *notes]))
        raise


def _check_network(
    make: Any, network: Network, task: str, folder: Path, notes: list[str]
) -> tuple[Path, ...]:
    """Write the module, import it as workers do, and build a network for the data; the folders of plugins. Sentences on
    how the network is taken are added to the notes."""
    folders: tuple[Path, ...] = ()
    if network.text:
        folders = (folder / network.module,)
        with storing(folder):
            folders[0].mkdir(exist_ok=True)
            replace_file(folders[0] / f"{network.module}.py", network.text.encode())
        registry.load_plugins(folders)
        check_defaults(make, registry.plugin_class("architecture", network.address).make)
    architecture = registry.resolve("architecture", network.address)
    inputs = registry.resolve("task", task).signature(folder)
    if reason := architecture.reject(inputs.inputs):
        raise BadParameter(
            "a network that refuses this data",
            where=network.address,
            got=reason,
            do="give data of the form that it takes, or another network",
        )
    with default_settings(), seeded(0):
        architecture.build(inputs.inputs, inputs.outputs)
        if isinstance(architecture, Factory):
            notes += taken_otherwise(architecture.made(inputs.inputs, inputs.outputs))
    return folders


@contextmanager
def called(names: Mapping[str, str]) -> Iterator[None]:
    """Let errors call things as the user does, and not by the files that were written."""
    try:
        yield
    except UniversalityError as error:
        for part in ("what", "where", "got", "expected", "do"):
            setattr(error, part, _translated(getattr(error, part), names))
        raise


def _translated(text: str, names: Mapping[str, str]) -> str:
    """
    >>> _translated("arrays[path=a.npz,kind=image] of a.npz", {"a.npz": "data"})
    'assess(kind="image") of data'
    """
    told = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    text = re.sub(told, lambda match: names[match[0]], text)
    text = re.sub(r"arrays\[path=data,(\w+)=true\]", r"assess(\1=True)", text)
    text = re.sub(r"arrays\[path=data,(\w+)=([\w|]+)\]", r'assess(\1="\2")', text)
    return re.sub(r"arrays\[path=data[^\]]*\]", "assess, data", text)
