"""The weights of a step in a network: under the names that it has, all of them, in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from universality.errors import BadParameter, MeasurementError
from universality.replaying.stored import Tensors

NO_NETWORK = "of these weights the network is not known"


class BareWeights(nn.Module):
    """Weights without a network: parameters that nothing computes with, and buffers (`Tensors.buffers`).

    They lie side by side under whole names, past what torch asks of a name: a checkpoint may hold `forward.weight`, `a`
    beside `a.b`, or none at all.
    """

    def __init__(self, weights: Tensors) -> None:
        super().__init__()
        buffers = {*weights.buffers}
        for name, shape in weights.shapes.items():
            if name in buffers:
                self._buffers[name] = torch.zeros(shape)
            else:
                self._parameters[name] = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        raise MeasurementError(NO_NETWORK, do="give architecture and task, as in docs/your_own_training.md")


def load_weights(net: nn.Module, weights: Tensors, *, where: str) -> tuple[str, ...]:
    """Put stored weights into a network, cast to what it has; returns names that it has no place for.

    A prefix that all names have beside those of the network, such as `module.` of data parallelism, is taken off or put
    in front. Of entries that share memory, as tied embeddings do, one may be missing.

    Raises:
        BadParameter: entries of the network that are not stored, or of another shape.
    """
    wanted = net.state_dict()
    names = _names(wanted, weights.files)
    lost = [name for name in wanted if name not in names]
    shared = {_memory(wanted[name]) for name in wanted if name in names}
    lost = [name for name in lost if _memory(wanted[name]) not in shared]
    if lost:
        raise BadParameter(
            "weights of another network",
            where=where,
            got=f"no {lost[0]}{f' and {len(lost) - 1} more' if len(lost) > 1 else ''}; stored are "
            f"{', '.join(list(weights.files)[:3])}, ...",
            expected=f"the {len(wanted)} entries of its state_dict",
            do="give the architecture with which these weights were trained",
        )
    for name, stored in names.items():
        if tuple(wanted[name].shape) != weights.shapes[stored]:
            raise BadParameter(
                "weights of another shape than the network's",
                where=where,
                got=f"{stored} {list(weights.shapes[stored])}",
                expected=str(list(wanted[name].shape)),
                do="give the parameters of the architecture: width, depth, number of outputs",
            )
    with torch.no_grad():
        for name, stored in names.items():
            wanted[name].copy_(weights.load(stored))
    used = {*names.values()}
    return tuple(name for name in weights.files if name not in used)


def _names(wanted: Iterable[str], stored: Iterable[str]) -> dict[str, str]:
    """The stored name of every entry of a network that has one."""
    wanted, stored = list(wanted), {*stored}
    best: dict[str, str] = {}
    for in_front, taken_off in _prefixes(wanted, stored):
        names = {
            name: in_front + name.removeprefix(taken_off) for name in wanted if name.startswith(taken_off)
        }
        found = {name: other for name, other in names.items() if other in stored}
        best = found if len(found) > len(best) else best
    return best


def _prefixes(wanted: list[str], stored: set[str]) -> list[tuple[str, str]]:
    """What may have to be put in front of the network's names, or taken off them; of any of them, since the first may be
    an entry that shares memory and is not stored."""
    own = {*wanted}
    in_front = {before for name in stored for before, rest in _cuts(name) if rest in own}
    taken_off = {before for name in wanted for before, rest in _cuts(name) if rest in stored}
    return [("", ""), *((each, "") for each in sorted(in_front)), *(("", each) for each in sorted(taken_off))]


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """A name cut after each of its dots."""
    for place, letter in enumerate(name, 1):
        if letter == ".":
            yield name[:place], name[place:]


def _memory(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)
