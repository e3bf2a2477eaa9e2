"""A network of which no plugin says where to look: its taps and its readout are found by watching it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from universality.errors import BadParameter, described
from universality.measures import preserved
from universality.plugin.architecture import InputSpec
from universality.plugin.randomness import seeded

ROWS = 2
"""Of the inputs that it is watched on: they tell an axis of rows from one that happens to have one entry."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Found(nn.Module):
    """`net`, and the names of those of its modules that are tapped and read out."""

    def __init__(self, net: nn.Module, places: Sequence[str], last: str) -> None:
        super().__init__()
        self.net = net
        self.places, self.last = tuple(places), last

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits

    def taps(self) -> dict[str, nn.Module]:
        return {place: self.net.get_submodule(place) for place in self.places}

    def readout(self) -> nn.Linear:
        layer = self.net.get_submodule(self.last)
        assert isinstance(layer, nn.Linear)
        return layer


def found(net: Any, inputs: InputSpec, outputs: int, *, where: str, stages: Sequence[str] = ()) -> Found:
    """Watch a pass of two random rows, in evaluation mode, and note what is to be seen.

    The readout is the last `nn.Linear` whose output is what the network returns. Taps are the children of the network
    that run once, before the readout, and return `[rows, ...]`, in the order in which they run; `nn.Sequential`,
    `nn.ModuleList` and whatever holds the readout are opened, and their children taken. The network is left as it was.

    Args:
        stages: names of modules that are taps in place of the children, where they run so.

    Cost: a pass of two rows and a copy of the weights.

    Raises:
        BadParameter: no module, nothing to train in it, a pass that raises, other than logits `[rows, outputs]`, no
            readout.
    """
    if not isinstance(net, nn.Module):
        raise BadParameter("no network", where=where, got=type(net).__name__, expected="a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        frozen = sum(1 for _ in net.parameters())
        raise BadParameter(
            "a network without a parameter to train",
            where=where,
            got=f"{type(net).__name__} with {frozen} parameters, all frozen (requires_grad=False)"
            if frozen
            else f"{type(net).__name__} without parameters",
            do="net.requires_grad_(True), or that of the part to train"
            if frozen
            else "assign layers to attributes in __init__, or hold them in an nn.ModuleList; a plain list hides them",
        )
    logits, calls = _watched(net, inputs, where)
    if (
        not isinstance(logits, Tensor)
        or logits.shape != (ROWS, outputs)
        or not torch.is_floating_point(logits)
    ):
        raise BadParameter(
            "a network that returns no logits of this task",
            where=where,
            got=f"{logits.dtype} {list(logits.shape)}"
            if isinstance(logits, Tensor)
            else type(logits).__name__,
            expected=f"floats [{ROWS}, {outputs}] of {ROWS} rows of {inputs.kind} {list(inputs.shape)}",
            do="build the last layer for the number of `outputs`, and return its output alone",
        )
    modules = dict(net.named_modules())
    last = next(
        (
            at
            for at in reversed(range(len(calls)))
            if _is_readout(modules[calls[at][0]], calls[at][1], logits)
        ),
        None,
    )
    if last is None:
        raise BadParameter(
            "a network whose readout is not found",
            where=where,
            got="no nn.Linear whose output is what the network returns",
            expected=f"an nn.Linear(features, {outputs}) at the end: its input is the last representation",
            do="let forward end in `return self.readout(x)`, without a softmax or a scale behind it",
        )
    name = calls[last][0]
    before = [path for path, output in calls[:last] if _has_rows(output)]
    once = [path for path in before if sum(path == other for other, _ in calls) == 1]
    asked = set(stages) if set(stages) & set(once) else set(_opened(net, "", modules[name]))
    return Found(net, [path for path in once if path in asked], name)


def _watched(net: nn.Module, inputs: InputSpec, where: str) -> tuple[Any, list[tuple[str, Any]]]:
    """What the network returns, and name and output of every module in the order in which they finish."""
    calls: list[tuple[str, Any]] = []
    handles = []
    for path, module in net.named_modules():

        def note(_module: nn.Module, _args: object, output: object, path: str = path) -> None:
            calls.append((path, output))

        handles.append(module.register_forward_hook(note))
    device, shape = next(net.parameters()).device, (ROWS, *inputs.shape)
    try:
        with seeded(0), preserved(net), torch.no_grad():
            net.eval()
            rows = (
                torch.randint(inputs.vocabulary, shape, device=device)
                if inputs.kind == "tokens"
                else torch.randn(shape, device=device)
            )
            return net(rows), calls
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise BadParameter(
            "a network that cannot run",
            where=where,
            got=described(error),
            expected=f"a forward of {inputs.kind} inputs [rows, {', '.join(map(str, inputs.shape))}]",
            do="build it for the shape of `inputs`, or ask it of tasks whose inputs it takes",
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _is_readout(module: nn.Module, output: Any, logits: Tensor) -> bool:
    if not isinstance(module, nn.Linear) or not isinstance(output, Tensor) or output.shape != logits.shape:
        return False
    return output.is_meta or torch.allclose(output, logits, rtol=0, atol=0, equal_nan=True)


def _has_rows(output: Any) -> bool:
    """Of a tuple the first counts, as where taps are captured."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return isinstance(first, Tensor) and first.ndim >= 2 and len(first) == ROWS and first.is_floating_point()


def _opened(module: nn.Module, prefix: str, readout: nn.Module) -> Iterator[str]:
    for name, child in module.named_children():
        if child is readout:
            continue
        if isinstance(child, _CONTAINERS) or any(inner is readout for inner in child.modules()):
            yield from _opened(child, f"{prefix}{name}.", readout)
        else:
            yield prefix + name
