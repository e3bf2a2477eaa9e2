"""`universality replay`: the claims of trainings that are over, from what they stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from universality.replaying.report import Replay


def replay(
    series: Sequence[Path],
    *,
    network: str | None = None,
    data: str | None = None,
    phenomena: Sequence[str] = (),
    probes: Sequence[str] = (),
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Replay:
    """Measure trainings that are over, yours or public ones, from weights or features that they stored at steps. Exits
    with 1 where files look wrong: steps of the same weights, or out of their place.

    Args:
        series: folders with a folder for each step (step1000, checkpoint-1000) of safetensors; or folders of such
        network: the architecture of these weights, by address: 'mlp[width=64]', or nets:make_net with --plugins
        data: the task that they were trained on, by address: digits, or 'arrays[path=mine.npz]'
        phenomena: addresses (default: all)
        probes: further probes, at every step: displacement ranks

    Examples:
        universality replay pythia-70m --probes displacement
        universality replay seed0 seed1 seed2 --network 'mlp[width=64]' --data digits --phenomena neural_collapse
    """
    from universality.replaying.measured import measure

    return measure(
        series,
        network=network,
        data=data,
        validation=None,
        phenomena=phenomena,
        probes=probes,
        rows=0,
        plugins=plugins,
        data_root=data_root,
    )


def show(found: Replay) -> int:
    print(found)
    return 1 if found.faults else 0
