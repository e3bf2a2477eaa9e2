"""`universality.assess`: a network and data of one's own, with controls and a verdict, from a notebook or a script."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from universality.commands.run import Finished
    from universality.plan.forecast import Forecast


def assess(
    make_net: Callable[..., nn.Module],
    data: Any,
    *,
    phenomena: Sequence[str],
    beside: Sequence[str] = (),
    seeds: int = 5,
    name: str = "mine",
    results: Path | str = "results",
    kind: Literal["auto", "vector", "image", "float_image", "sequence", "tokens"] = "auto",
    targets: Literal["auto", "classes", "numbers"] = "auto",
    standardise: bool = False,
    shared_rows: bool = False,
    controls: bool = True,
    device: str = "auto",
    workers: int | None = None,
    engine: Literal["auto", "loop", "fused", "separate"] = "auto",
    timeout: float = 3600.0,
    on_existing: Literal["skip", "retry-failed", "force"] = "retry-failed",
    plugins: Sequence[Path | str] = (),
    dry_run: bool = False,
) -> Finished | Forecast:
    """Ask phenomena of a network and data of your own: `universality.run` of one cell, those beside it, and their controls.

    The benchmark trains the network, by the recipe of each phenomenon; for a loop of your own there is `watch`. Runs are
    stored in RESULTS/NAME as any others: the same call trains nothing again and goes on after an interruption, `report`
    and `compare` take the folder. What was made of the arguments is in RESULTS/NAME.assess: the data, a module with the
    function's source in a folder net_DIGEST, and a suite: a `worker` that joins is given `--plugins` of the one and
    `--data-root` of the whole.

    The function may be defined anywhere, also in a cell of a notebook. One of a module that can be imported is imported
    by workers too. Of any other the source is written, with that of functions and classes that it names beside it, imports,
    and present values of numbers and texts. Any edit of these, of a comment too, makes another network, which is trained
    anew; so does an edit of a module of yours that it imports from. Other objects of the notebook, variables of a
    function around it, a lambda or a partial are refused by name.

    Workers do not import the script that calls: no `if __name__ == "__main__":` is needed.

    Args:
        make_net: `make_net(inputs, outputs, ...)`: a fresh network for rows of shape `inputs.shape`, and so many classes or
            numbers; it returns logits `[rows, outputs]` and ends in an `nn.Linear`. `inputs` may be left out,
            other parameters have defaults.
        data: `(x, y, x_test, y_test)`, arrays or tensors, or `(train, test)`, two loaders or data sets of such
            batches, each gone through once, from a seed: every run has the rows of this pass, and a note says where
            another one would draw others, as of data that are augmented at random. Inputs
            as of the task `arrays`: floats `[n, d]`, integers `[n, length]`, bytes `[n, h, w]` or `[n, h, w, channels]`,
            which are standardised; and floats `[n, channels, h, w]`. Labels 0 to C-1, or floats to regress on.
        phenomena: addresses, such as `neural_collapse` or `function_agreement[steps=200]`.
        beside: architectures by their addresses, such as `mlp[width=64]`, each a cell of its own on the same data; claims
            between architectures compare with these, and are not asked without.
        seeds: replicates; fewer than five decide no claim about a share of runs.
        name: the results go to RESULTS/NAME.
        results: the folder of all results.
        kind: of the inputs, where their type and axes do not tell it: `sequence` of floats `[n, length, channels]`.
        targets: `numbers` or `classes`, where their type does not tell it.
        standardise: columns or channels, and numbers to regress on, by mean and deviation of the training rows.
        shared_rows: take test rows that are training rows as well.
        controls: train the controls of the phenomena too; without them no verdict is validated.
        device, workers, engine, timeout, on_existing: as of `run`; `workers=0` works in this process.
        plugins: folders of phenomena of your own.
        dry_run: say what would be trained, and its cost.

    Cost: a copy of the data on the disk, and that of `run`; `dry_run=True` tells it.

    Raises:
        BadParameter: a function or data that cannot be taken, or a network that does not fit the data.
        DataUnavailable: rows that cannot be trained on: not finite, labels with gaps, test rows among the training rows.
        UnknownName: a phenomenon or an architecture that is not there.
        UniversalityError: as `run`.
    """
    from universality.assessing.prepare import called, prepare
    from universality.commands.cli import several
    from universality.commands.run import check_numbers, run
    from universality.text import plain
    from universality.train.device import configure
    from universality.train.executors.process import leave_if_imported_by_worker

    leave_if_imported_by_worker()
    check_numbers(workers, timeout)
    configure(threads=1)
    prepared = prepare(
        make_net,
        data,
        phenomena=several(phenomena),
        beside=several(beside),
        seeds=seeds,
        name=name,
        results=Path(results),
        kind=kind,
        targets=targets,
        standardise=standardise,
        shared_rows=shared_rows,
        controls=controls,
        plugins=[Path(folder) for folder in several(plugins)],
    )
    for note in prepared.notes:
        print(f"note: {plain(note, 600)}", file=sys.stderr)
    with _main_left_alone(), called(prepared.names):
        return run(  # type: ignore[return-value]  # no shard
            suite=str(prepared.suite),
            results=Path(results),
            device=device,
            workers=workers,
            engine=engine,
            timeout=timeout,
            on_existing=on_existing,
            dry_run=dry_run,
            plugins=prepared.plugins,
            data_root=prepared.folder,
        )


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Inside, workers do not import the script of this process: all that they need is in files of its own."""
    names = vars(sys.modules["__main__"])
    before: dict[str, Any] = {key: names[key] for key in ("__file__", "__spec__") if key in names}
    names.pop("__file__", None)
    names["__spec__"] = None
    try:
        yield
    finally:
        names.update(before)
        if "__spec__" not in before:
            del names["__spec__"]
