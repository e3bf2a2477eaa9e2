"""Do networks of your own err at the same inputs from seed to seed? Real digits, a function that makes a network.

    python examples/assess_your_own_network.py

The same works in a cell of a notebook. A second call trains nothing; an edit of `make_net` trains anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits
from torch import Tensor, nn

import universality
from universality.commands.run import show
from universality.plugin import InputSpec


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inside(x)
        return out


def make_net(inputs: InputSpec, outputs: int, width: int = 48) -> nn.Module:
    hidden = [nn.Flatten(), nn.Linear(inputs.size, width), Residual(width), Residual(width), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


def main(results: Path = Path("results"), controls: bool = True, steps: int = 600) -> Any:
    digits = load_digits()
    x, y = digits.images.astype("uint8"), digits.target
    return universality.assess(
        make_net, data=(x[:1200], y[:1200], x[1200:], y[1200:]),
        phenomena=[f"function_agreement[steps={steps}]"], seeds=5,
        name="assessed-digits", results=results, controls=controls,
    )  # fmt: skip


if __name__ == "__main__":
    show(main())
