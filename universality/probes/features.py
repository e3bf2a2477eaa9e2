"""Safe capture of representations: what modules put out, cloned before anything can overwrite it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_ROWS = 1024


@torch.no_grad()
def capture(
    net: nn.Module, taps: Mapping[str, nn.Module], readout: nn.Linear, inputs: Tensor
) -> dict[str, Tensor]:
    """Representations `[n, d]` of `inputs` at each tap, and `penultimate`, the input of the readout.

    Convention: everything behind the example axis is flattened (channels, positions), as in
    Kornblith et al. 2019 (arXiv:1905.00414). The network is put in evaluation mode. Outputs are
    cloned: an in-place activation behind a tap would overwrite them.
    """
    net.eval()
    seen: dict[str, list[Tensor]] = {name: [] for name in (*taps, "penultimate")}

    def keep(name: str, output: Tensor | tuple[Tensor, ...]) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        seen[name].append(tensor.flatten(1).clone())

    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: keep(name, out))
        for name, module in taps.items()
    ]
    handles.append(readout.register_forward_pre_hook(lambda _m, args: keep("penultimate", args[0])))
    try:
        for begin in range(0, len(inputs), _ROWS):
            net(inputs[begin : begin + _ROWS])
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}
