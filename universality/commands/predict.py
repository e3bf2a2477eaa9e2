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

    Raises:
        BadParameter: for a number that predicts nothing, a cell that the suite does not ask for or that does not apply there,
            and one that was measured or trained before.
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
    return lock(Path(file), [*own, *map(local, several(known))], Path(results), resolved(data_root))


def show(locked: Locked) -> int:
    from universality.text import plain

    for note in locked.notes:
        print(f"note     {plain(note, 400)}")
    print(
        f"{plain(locked.path, None)}: {len(locked.file.predictions)} predictions locked at {locked.file.locked}"
    )
    print(f"sha256   {locked.file.sha256}")
    print("commit or publish this file now: the time in it is that of this machine")
    return 0
