"""`universality predict`: the numbers of a theory, frozen before the cells are run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.sharing.predict import Locked


def predict(
    file: Path,
    *,
    results: Path = Path("results"),
    known: Sequence[Path] = (),
    none_known: bool = False,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Locked:
    """Freeze the numbers that a theory gives for cells not yet run, with hash and time. `report` and `leaderboard` score
    them once the cells are measured.

    Args:
        file: TOML with theory, author, source, suite, and for each cell a [[prediction]] with phenomenon, claim, network, task,
            value, low, high, level
        results: the folder of all results: the file is locked in RESULTS/predictions, and no set in RESULTS may have measured
            the cells (default: results)
        known: a result set, a folder of them, or hf:owner/name, that must not have measured the cells either; may be given several times
        none_known: lock though neither RESULTS nor `known` has a result set that could be searched

    Raises:
        BadParameter: for a number that predicts nothing, a cell that the suite does not ask for or that does not apply there,
            one that was measured or trained before, and where no set was searched.
        StoreError: where the theory is locked already.

    Examples:
        universality predict my_theory.toml
        universality predict my_theory.toml --known ../sets --plugins my_plugins
    """
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.sharing.hub import local
    from universality.sharing.predict import lock
    from universality.store.layout import MANIFEST
    from universality.train.device import configure

    configure(threads=1)
    registry.load_plugins(map(Path, several(plugins)))
    own = [Path(results)] if any(Path(results).glob(f"*/{MANIFEST}")) else []
    places = [*own, *map(local, several(known))]
    return lock(Path(file), places, Path(results), resolved(data_root), none_known=none_known)


def show(locked: Locked) -> int:
    from universality.text import plain

    for note in locked.notes:
        print(f"note     {plain(note, 400)}")
    print(
        f"{plain(locked.path, None)}: {len(locked.file.predictions)} predictions locked at {locked.file.locked}"
    )
    print(f"searched {locked.searched} result set(s) for earlier measurements of these cells")
    print(f"sha256   {locked.file.sha256}")
    print(
        "commit this file or publish its SHA-256 now, where others see the date: hash and time in it alone can be made anew"
    )
    return 0
