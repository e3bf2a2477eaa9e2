"""Time of a loop that is watched over the same loop that is not, between records.

    python benchmarks/watch_overhead.py --repeats 41 --steps 400

Both loops start from the same weights and must end with the same weights, bit for bit. What is timed is
`watch.step(loss)` where nothing is due, and the look at the losses every 200 updates; the one record, of the start, is
made before. Times are CPU seconds of this process on one thread, and repeats are interleaved, so that other load on
the machine falls on both alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor, nn

import universality
from universality.plugin import At
from universality.watching.session import Watch

ROWS, DIM, CLASSES = 1000, 64, 10
WIDTHS = (32, 64, 256)
TARGET = 1.03


def network(width: int) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = nn.Linear(DIM, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


def loop(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[Tensor, Tensor]],
    watch: Watch | None,
) -> float:
    """CPU seconds of an update for each batch."""
    started = time.process_time()
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if watch is not None:
            watch.step(loss)
    return time.process_time() - started


def measure(width: int, *, repeats: int, steps: int, batch: int = 64) -> list[tuple[float, float]]:
    """Seconds of the watched and of the bare loop, a pair for each round; the first round is not counted."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, DIM, generator=generator)
    y = torch.randint(CLASSES, (ROWS,), generator=generator)
    rows = torch.randint(ROWS, (steps, batch), generator=generator)
    batches = [(x[each], y[each]) for each in rows]
    pairs = []
    for number in range(repeats + 1):
        seconds, states = {}, {}
        for watching in (True, False) if number % 2 else (False, True):
            net = network(width)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
            watch = None
            if watching:
                watch = universality.watch(
                    net, optimizer, data=(x, y), steps=steps, probes={"accuracy": At(0.0)}
                )
            seconds[watching], states[watching] = loop(net, optimizer, batches, watch), net.state_dict()
        assert all(torch.equal(tensor, states[True][name]) for name, tensor in states[False].items())
        pairs.append((seconds[True], seconds[False]))
    return pairs[1:]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; returns 0 where every median ratio is below the target, else 1."""
    parser = argparse.ArgumentParser(description="Time of a watched loop over one that is not.")
    parser.add_argument("--repeats", type=int, default=41, help="interleaved rounds (default: 41)")
    parser.add_argument("--steps", type=int, default=400, help="updates of each loop (default: 400)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(f"{'':<28}{'watched':>10}{'bare':>10}{'more':>10}{'ratio':>8}{'of minima':>11}")
    worst = 0.0
    for width in WIDTHS:
        pairs = measure(width, repeats=options.repeats, steps=options.steps)
        watched, bare = (1e6 * median(side) / options.steps for side in zip(*pairs, strict=True))
        more = 1e6 * median(a - b for a, b in pairs) / options.steps
        ratio = median(a / b for a, b in pairs)
        minima = min(a for a, _ in pairs) / min(b for _, b in pairs)
        figures = f"{watched:>7.0f} us{bare:>7.0f} us{more:>7.1f} us{ratio:>8.3f}{minima:>11.3f}"
        print(f"{f'mlp of width {width}':<28}{figures}")
        worst = max(worst, ratio)
    print(f"CPU microseconds per update, medians of {options.repeats}; target: every ratio below {TARGET}")
    return 0 if worst < TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
