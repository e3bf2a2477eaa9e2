"""Time of the training loop over a bare torch loop of the same network, optimizer and batches.

    python benchmarks/loop_overhead.py --repeats 7 --steps 300

Nothing is observed, so that what is timed is the loop itself: its schedule of events, the kept
losses and the checks for divergence. Both loops start from the same weights and must end with the
same weights, bit for bit. Times are CPU seconds of this process on one thread, and repeats are
interleaved, so that other load on the machine falls on both alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from universality.plugin import registry
from universality.plugin.kit.losses import objective
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.task import Splits
from universality.train.engine.loop import train
from universality.train.engine.member import build_network

CASES = (
    ("mlp", "digits", 64),
    ("mlp", "digits", 0),
    ("cnn", "digits", 64),
    ("transformer", "digits", 64),
)
"""Architecture, task and batch size; 0 is the full training set."""

TARGET = 1.05


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of each repeat."""

    loop: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return median(self.loop) / median(self.bare)

    @property
    def ratio_of_minima(self) -> float:
        return min(self.loop) / min(self.bare)


def bare_loop(net: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> None:
    """What one would write for this recipe alone."""
    inputs, targets = splits.train.inputs, splits.train.targets
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    loss_of = objective(
        recipe
    )  # the same kernel: torch's own form sums in another order, and runs part by a bit
    net.train()
    per_epoch = len(targets) // recipe.batch_size if recipe.batch_size else 0
    order = torch.empty(0, dtype=torch.int64)
    for step in range(recipe.steps):
        batch, labels = inputs, targets
        if per_epoch:
            epoch, turn = divmod(step, per_epoch)
            if turn == 0:
                generator = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
                order = torch.randperm(len(targets), generator=generator)
            rows = order[turn * recipe.batch_size : (turn + 1) * recipe.batch_size]
            batch, labels = inputs.index_select(0, rows), targets.index_select(0, rows)
        optimizer.zero_grad()
        loss_of(net(batch), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def measure(architecture: str, task: str, batch_size: int, *, repeats: int, steps: int) -> Timing:
    """Interleaved times of both loops, the first round not counted.

    Raises `AssertionError` where they end with different weights: then they are not the same work.
    """
    network, problem = registry.resolve("architecture", architecture), registry.resolve("task", task)
    recipe = Recipe(steps=steps, lr=0.01, momentum=0.9, batch_size=batch_size)
    spec = RunSpec(component(network), component(problem), recipe, seed=0)
    splits = problem.load(np.random.default_rng(derive_seed("data", problem.name, 0)), Path())
    device = torch.device("cpu")
    loop: list[float] = []
    bare: list[float] = []
    for _ in range(repeats + 1):
        started = time.process_time()
        trained = train(spec, network, splits, {}, device)
        between = time.process_time()
        net = build_network(spec, network, splits)
        bare_loop(net, splits, recipe, spec.seed)
        loop.append(between - started)
        bare.append(time.process_time() - between)
        same = trained.net.state_dict()
        assert all(torch.equal(tensor, same[name]) for name, tensor in net.state_dict().items())
    return Timing(tuple(loop[1:]), tuple(bare[1:]))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; returns 0 where every ratio of medians is below the target, else 1."""
    parser = argparse.ArgumentParser(description="Time of the training loop over a bare torch loop.")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved rounds (default: 7)")
    parser.add_argument("--steps", type=int, default=300, help="updates of each loop (default: 300)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    registry.load_plugins()
    print(f"{'':<28}{'loop':>10}{'bare':>10}{'ratio':>8}{'of minima':>11}")
    worst = 0.0
    for architecture, task, batch_size in CASES:
        timing = measure(architecture, task, batch_size, repeats=options.repeats, steps=options.steps)
        name = f"{architecture}, {task}, {f'batch {batch_size}' if batch_size else 'full batch'}"
        each = [1e6 * median(seconds) / options.steps for seconds in (timing.loop, timing.bare)]
        print(
            f"{name:<28}{each[0]:>7.0f} us{each[1]:>7.0f} us{timing.ratio:>8.3f}{timing.ratio_of_minima:>11.3f}"
        )
        worst = max(worst, timing.ratio)
    print(f"CPU microseconds per update, medians of {options.repeats}; target: every ratio below {TARGET}")
    return 0 if worst < TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
