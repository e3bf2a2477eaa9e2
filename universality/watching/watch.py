"""`universality.watch`: the claims of a training, in a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from universality.plugin.schedules import Schedule
    from universality.watching.session import Watch

ROWS = 4096
"""Most rows that are taken of a set: a record goes over all of them."""


def watch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    data: tuple[Tensor, Tensor] | Iterable[Any],
    steps: int,
    loss: Literal["cross_entropy", "mse"] = "cross_entropy",
    phenomena: Sequence[str] = (),
    probes: Mapping[str, Schedule] | None = None,
    validation: tuple[Tensor, Tensor] | Iterable[Any] | None = None,
    batch_size: int | None = None,
    family: str = "",
    rows: int = ROWS,
    plugins: Sequence[Path | str] = (),
) -> Watch:
    """Observe the training that a loop of your own is about to make; `step(loss)` after each update tells of it.

    Probes of the phenomena record on their own schedules, and `report()` says of each claim that one training can speak
    to whether its gates are met and whether it holds so far, by the code of the benchmark. The training is never
    changed nor ended: what evaluating the network may change is put back, random generators too, so that weights on a
    CPU are to the last bit what they are without.

    Args:
        net: returns logits `[rows, classes]`, in regression `[rows, outputs]`; what `torch.compile` and data parallelism
            wrap around it is taken off.
        optimizer: of these weights. Gates read SGD, Adam, AdamW and RMSprop of torch; of another one probes alone record,
            sharpness that of the Hessian without a threshold, as where groups of parameters have different settings.
        data: training rows, `(inputs, targets)` or a loader of such batches; they are taken once, and a note says where a
            loader draws others at each pass.
        steps: updates that the loop will make; schedules are of these.
        loss: `cross_entropy`, or `mse`, the mean over rows of half the squared distance: of `nn.MSELoss`, which takes
            the mean over outputs too, outputs/2 times as much, and so is its curvature.
        phenomena: addresses, such as `neural_collapse` or `grokking[steps=1000]`.
        probes: further probes, by address, for their series alone: `{"sharpness": Every(50)}`.
        validation: held-out rows; without them what is read of them is no number.
        batch_size: rows of an update, over all batches that it accumulates, 0 for all; by default those of a batch of a
            loader, and all of tensors, which the notes of the report say.
        family: of the data, for claims that are about one, such as `algorithmic`.
        rows: most rows to take of each. A sample inflates sharpness by 10 to 20 %.
        plugins: folders of phenomena and probes of your own.

    Cost: beside the probes some microseconds an update; here a pass over two rows, the first batches of a loader up to
    three times, the first records, and where second derivatives are asked for five gradients of 64 rows.

    Raises:
        BadParameter: what cannot be observed: no steps, no weights to train, an optimizer of other weights, a network that
            waits for other processes (SyncBatchNorm, sharded weights), outputs that are no logits, data that is none, phenomena of which one training says nothing.
        UnknownName: a phenomenon or probe that is not there.
        MeasurementError: curvature is asked for of a network without second derivatives, or one whose gradient does not
            repeat.
    """
    from universality.watching.prepare import prepare

    return prepare(
        net,
        optimizer,
        data=data,
        steps=steps,
        loss=loss,
        phenomena=phenomena,
        probes=probes or {},
        validation=validation,
        batch_size=batch_size,
        family=family,
        rows=rows,
        plugins=[Path(folder) for folder in plugins],
    )
