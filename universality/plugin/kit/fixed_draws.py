"""Networks whose initialisation shows its scale, without the noise of a draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FRESH = {"randn": 1.0, "randn_like": 1.0, "rand": 0.75, "rand_like": 0.75}
_IN_PLACE = {"normal_": (("mean", 0.0), ("std", 1.0)), "uniform_": (("from", 0.0), ("to", 1.0))}


@contextmanager
def fixed_draws() -> Iterator[None]:
    """What is built inside has fixed numbers where it would draw random ones.

    A normal number is its mean plus one standard deviation, a uniform one lies at three quarters of its
    range. What an initialisation multiplies them by then shows exactly: the ratio of two parameters is
    that of their scales. Other draws are those of seed 0. On the CPU, whatever the default device.

    >>> with fixed_draws():
    ...     torch.nn.Linear(4, 1).weight.tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), _FixedDraws():  # type: ignore[no-untyped-call]
        torch.manual_seed(0)
        yield


class _FixedDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        drawn = func(*args, **options)
        name = func.overloadpacket.__name__
        if name in _FRESH:
            return drawn.fill_(_FRESH[name])
        if name in _IN_PLACE:
            given = dict(enumerate(args[1:]))
            first, second = (
                given.get(place, options.get(key, default))
                for place, (key, default) in enumerate(_IN_PLACE[name])
            )
            return drawn.fill_(first + second if name == "normal_" else first + 0.75 * (second - first))
        return drawn
