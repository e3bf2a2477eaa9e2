"""`universality.replay`: the claims of trainings that are over, from what they stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from universality.replaying.report import Replay


def replay(
    series: Path | str | Sequence[Path | str],
    *,
    network: nn.Module | str | None = None,
    data: Any = None,
    validation: Any = None,
    phenomena: Sequence[str] = (),
    probes: Sequence[str] = (),
    rows: int = 4096,
    plugins: Sequence[Path | str] = (),
    data_root: Path | str | None = None,
) -> Replay:
    """Measure trainings that are over, yours or public ones, from weights or features that they stored at steps.

    A series is a folder with a folder for each step (`step0`, `step1000`, or `checkpoint-1000`), in it
    `model.safetensors`, its shards, or `features.safetensors`, and at will `manifest.json`: docs/your_own_training.md.
    Files are first looked through: steps of the same weights, out of their place, of other shapes, cut off, not finite.
    Then every claim is asked whether these trainings can speak to it; probes, gates, effects and verdicts are those of
    the benchmark. Nothing is trained, and no pickle is loaded.

    Args:
        series: folders, each a series or a folder of several. Series of three seeds or more have verdicts.
        network: of these weights, a module or the address of an architecture (`mlp[width=64]`, `nets:make_net`).
        data: training rows, `(inputs, targets)` or a loader as `watch` takes, or the address of a task (`digits`).
        validation: held-out rows, with rows of your own; representations are compared on them.
        phenomena: addresses; all where none is named.
        probes: further probes, by address, at every step, for their series alone: `displacement`, `ranks`.
        rows: most rows to take of each.
        plugins: folders of phenomena, probes, architectures and tasks of your own.
        data_root: where data sets lie.

    Cost: every file read twice, and at the steps that claims ask for their probes; a forward pass of the rows for most.

    Raises:
        BadParameter: folders that hold no series, files that are damaged, missing or not finite, steps of other shapes,
            a network of other weights, a network without data or data without a network.
        UnknownName: a phenomenon, a probe, an architecture or a task that is not there.
    """
    from universality.replaying.measured import measure

    return measure(
        series,
        network=network,
        data=data,
        validation=validation,
        phenomena=phenomena,
        probes=probes,
        rows=rows,
        plugins=[Path(folder) for folder in plugins],
        data_root=None if data_root is None else Path(data_root),
    )
