"""`universality export`: a result set in TensorBoard or trackio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal


def export(
    folder: Path, *, to: Literal["tensorboard", "trackio"] = "tensorboard", out: Path | None = None
) -> Sequence[str]:
    """Write the series of all stored runs of a results folder, and its verdicts as a table, for TensorBoard or trackio.
    A published set holds no runs: of it the verdicts alone.

    Args:
        folder: a results folder
        to: tensorboard or trackio (default: tensorboard)
        out: the folder of TensorBoard's event files (default: FOLDER.tensorboard); trackio keeps projects itself

    Raises:
        StoreError: no result set, or something of that name is there already.
        UniversalityError: the library is not installed.

    Examples:
        universality export results/quick --to tensorboard --out events
        universality export results/quick --to trackio
    """
    from universality.errors import BadParameter
    from universality.judge.resultset import ResultSet
    from universality.output.exporting import to_tensorboard, to_trackio
    from universality.store.store import Store

    folder = Path(folder)
    results, store = ResultSet.load(folder), Store.open(folder)
    if to == "trackio":
        if out is not None:
            raise BadParameter("trackio keeps its projects itself", got=f"--out {out}", do="set TRACKIO_DIR")
        count = to_trackio(results, store)
        return [f"{count} runs and the verdicts: trackio show --project {results.label}"]
    place = folder.with_name(f"{folder.name}.tensorboard") if out is None else Path(out)
    count = to_tensorboard(results, store, place)
    return [f"{count} runs and the verdicts: tensorboard --logdir {place}"]
