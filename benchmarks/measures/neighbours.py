"""Mutual nearest neighbours of every pair of many representations, float32.

The loop that people write finds the neighbours of both sides anew for every pair, and intersects
them by two n x n masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.measures import mutual_knn_matrix

from .harness import Bench, Job, Method, Result, Row, Table, against, number
from .similarity import features

K = 10
FASTER = 20.0
LOOPS = ("loop over pairs, topk, masks", "loop over pairs, full sort, masks")
"""What the target is meant for. Of the first, saving repeated neighbours alone makes at most 12 at 12 x 12."""


def by_topk(X: Tensor) -> Tensor:
    unit = X / X.norm(dim=1, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(-1e8).topk(K, dim=1).indices


def by_argsort(X: Tensor) -> Tensor:
    """As the code of Huh et al. 2024 has it: a full sort of every row."""
    unit = X / X.norm(dim=1, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(-1e8).argsort(dim=1, descending=True)[:, :K]


def masked(first: Tensor, second: Tensor) -> float:
    n = len(first)
    masks = [torch.zeros(n, n).scatter_(1, indices, 1.0) for indices in (first, second)]
    return ((masks[0] * masks[1]).sum(1) / K).mean().item()


def as_sets(first: Tensor, second: Tensor) -> float:
    return (
        float(np.mean([len(set(a) & set(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]))
        / K
    )


def ours(inputs: Mapping[str, Any]) -> Job:
    Xs, Ys = inputs["Xs"], inputs["Ys"]
    return Job(lambda: {"scores": mutual_knn_matrix(Xs, Ys, K).numpy()})


def pairwise(
    find: Callable[[Tensor], Tensor], overlap: Callable[[Tensor, Tensor], float]
) -> Callable[[Mapping[str, Any]], Job]:
    """Everything anew for each pair; timed on a pair for each layer, scaled to all."""

    def start(inputs: Mapping[str, Any]) -> Job:
        Xs, Ys = inputs["Xs"], inputs["Ys"]
        # Widths repeat along the layers: shifted diagonals meet every combination of them.
        pairs = [(i, (i + i // 3) % len(Ys)) for i in range(len(Xs))]

        def run() -> Result:
            scores = np.full((len(Xs), len(Ys)), np.nan)
            for i, j in pairs:
                scores[i, j] = overlap(find(Xs[i]), find(Ys[j]))
            return {"scores": scores}

        return Job(run, len(pairs) / (len(Xs) * len(Ys)))

    return start


def cached(inputs: Mapping[str, Any]) -> Job:
    """A careful loop: neighbours once for each representation, masks once for each pair."""
    Xs, Ys = inputs["Xs"], inputs["Ys"]

    def run() -> Result:
        left, right = ([by_topk(X) for X in side] for side in (Xs, Ys))
        return {"scores": np.array([[masked(a, b) for b in right] for a in left])}

    return Job(run)


METHODS = (
    Method("universality", ours),
    Method("loop over pairs, topk, masks", pairwise(by_topk, masked), repeats=3),
    Method("loop over pairs, topk, sets", pairwise(by_topk, as_sets), repeats=3),
    Method("loop over pairs, full sort, masks", pairwise(by_argsort, masked), repeats=3),
    Method("neighbours once, then masks", cached, repeats=3),
)


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    n, layers, widths = (300, 4, (64, 128)) if quick else (2000, 12, (256, 512, 768))
    Xs, Ys = (features(n, layers, widths, seed) for seed in (0, 1))
    path = folder / "neighbours.pt"
    torch.save({"Xs": Xs, "Ys": Ys}, path)
    exact = [[by_topk(X.double()) for X in side] for side in (Xs, Ys)]
    truth = np.array([[as_sets(a, b) for b in exact[1]] for a in exact[0]])
    with Bench(__name__) as bench:
        samples = bench.measure(path, rounds)
    own, rows = samples["universality"], []
    for name, sample in samples.items():
        ratio, targets = against(own, sample, FASTER if name in LOOPS else None)
        if sample.error:
            rows.append(Row([name, "-", "-", "-", sample.error], targets))
            continue
        error = float(np.nanmax(np.abs(sample.result["scores"] - truth)))
        if sample is own:
            # A pair of neighbours that float32 cannot tell apart may change places: one of n k.
            targets = [("error <= 2 / (n k)", error <= 2 / (n * K))]
        cells = [
            f"{name} ({len(sample.cpu)})",
            f"{sample.share:.2g}",
            ratio,
            f"{sample.memory:.0f} MiB",
            number(error),
        ]
        rows.append(Row(cells, targets))
    table = Table(
        f"Mutual {K} nearest neighbours, {layers} x {layers} pairs, n={n}, widths {min(widths)} to {max(widths)}",
        ["method (rounds)", "share timed", "CPU time", "peak memory", "max abs error"],
        rows,
        [
            "Error against float64 neighbours, intersected as sets. A share below 1: timed on so many of the "
            "pairs, the time divided by it."
        ],
    )
    yield table, {"samples": samples, "truth": truth}
