"""Debiased CKA of every two of many layers.

Features are of random ReLU networks on clustered inputs with a decaying spectrum: correlated, never
negative, far from the origin. float32. Peers that want models get modules that return stored
features, so that only the similarity is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from universality.measures.similarity.cka import cka_matrix

from .harness import Bench, Job, Method, Result, Row, Sample, Table, against, number

WIDTHS = (256, 512, 1024, 2048)
ERROR = 1e-6
SUBSET = 4
"""Layers of the first side, one of each width, that a slow peer compares with all of the second; its time
is scaled. What it does once for such a layer is then shared by as many pairs as in the full work, and
pairs are as wide."""


def features(n: int, layers: int, widths: Sequence[int], seed: int) -> list[Tensor]:
    """Hidden layers of a random network, on the same rows for every seed."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 64, generator=generator)
    noise = torch.randn(n, 64, generator=generator) * torch.arange(1, 65) ** -0.5
    hidden = centres[torch.arange(n) % 10] + 2 * noise
    generator.manual_seed(1 + seed)
    kept = []
    for layer in range(layers):
        width = widths[layer % len(widths)]
        weight = torch.randn(hidden.shape[1], width, generator=generator) * (2 / hidden.shape[1]) ** 0.5
        hidden = torch.relu(hidden @ weight + 0.1 * torch.randn(width, generator=generator))
        kept.append(hidden)
    return kept


def reference(Xs: Sequence[Tensor], Ys: Sequence[Tensor]) -> Tensor:
    """Song et al. 2012, equation 5, on float64 Gram matrices of centred features, pair by pair."""

    def centred_gram(X: Tensor) -> Tensor:
        X = X.double() - X.double().mean(0)
        return (X @ X.T).fill_diagonal_(0)

    def hsic(K: Tensor, L: Tensor) -> Tensor:
        n = len(K)
        total = K.sum() * L.sum() / ((n - 1) * (n - 2))
        return torch.vdot(K.flatten(), L.flatten()) + total - 2 / (n - 2) * K.sum(0) @ L.sum(0)

    left = [centred_gram(X) for X in Xs]
    right = left if Ys is Xs else [centred_gram(Y) for Y in Ys]
    own = [torch.stack([hsic(K, K) for K in grams]) for grams in (left, right)]
    cross = torch.stack([torch.stack([hsic(K, L) for L in right]) for K in left])
    return cross / (own[0][:, None] * own[1][None, :]).sqrt()


class Stored(nn.Module):
    """Layers `layer0`, `layer1`, ... that return stored features; the input only sets the rows."""

    class Layer(nn.Module):
        def __init__(self, values: Tensor) -> None:
            super().__init__()
            self.values = values

        def forward(self, x: Tensor) -> Tensor:
            return self.values

    def __init__(self, values: Sequence[Tensor]) -> None:
        super().__init__()
        self.names = [f"layer{i}" for i in range(len(values))]
        for name, value in zip(self.names, values, strict=True):
            self.add_module(name, Stored.Layer(value))

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            self.get_submodule(name)(x)
        return x


def _loader(n: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(n, 1)), batch_size=n)


def _sides(inputs: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor] | None]:
    return inputs["Xs"], inputs["Ys"] or None


def ours(inputs: Mapping[str, Any]) -> Job:
    Xs, Ys = _sides(inputs)
    return Job(lambda: _whole(cka_matrix(Xs, Ys)))


def pytorch_cka(inputs: Mapping[str, Any]) -> Job:
    """With one list, its short path: model 1 is model 2, each Gram matrix once."""
    from cka import compute_cka

    Xs, Ys = _sides(inputs)
    first = Stored(Xs)
    second = first if Ys is None else Stored(Ys)
    loader = _loader(len(Xs[0]))
    return Job(
        lambda: _whole(
            compute_cka(
                first,
                second,
                loader,
                layers=first.names,
                model2_layers=second.names,
                device="cpu",
                progress=False,
            )[0]
        )
    )


def torch_cka(inputs: Mapping[str, Any]) -> Job:
    from torch_cka import CKA

    def pairs(Xs: list[Tensor], Ys: list[Tensor]) -> Tensor:
        first, second = Stored(Xs), Stored(Ys)
        compared = CKA(first, second, "a", "b", first.names, second.names, device="cpu")
        loader = _loader(len(Xs[0]))
        with torch.no_grad():
            compared.compare(loader, loader)
        return compared.export()["CKA"]

    return _subset(inputs, pairs)


def ckatorch(inputs: Mapping[str, Any]) -> Job:
    """Its `CKA` takes 3-d outputs only; this is the function behind it that debiases, pair by pair."""
    from ckatorch import cka_base

    def pairs(Xs: list[Tensor], Ys: list[Tensor]) -> Tensor:
        return torch.tensor(
            [[cka_base(X, Y, unbiased=True).item() for Y in Ys] for X in Xs], dtype=torch.float64
        )

    return _subset(inputs, pairs)


def _subset(inputs: Mapping[str, Any], pairs: Callable[[list[Tensor], list[Tensor]], Tensor]) -> Job:
    Xs, Ys = _sides(inputs)
    other = Xs if Ys is None else Ys
    # Layer i is of width i modulo the number of widths.
    rows, columns = list(range(len(Xs) if inputs["full"] else SUBSET)), list(range(len(other)))

    def run() -> Result:
        matrix = pairs([Xs[i] for i in rows], [other[j] for j in columns])
        return {"matrix": matrix.double().numpy(), "rows": rows, "columns": columns}

    return Job(run, len(rows) * len(columns) / (len(Xs) * len(other)))


def _whole(matrix: Tensor) -> Result:
    a, b = matrix.shape
    return {"matrix": matrix.double().numpy(), "rows": list(range(a)), "columns": list(range(b))}


METHODS = (
    Method("universality", ours),
    Method("pytorch-cka", pytorch_cka, "cka", "pytorch-cka"),
    Method("torch-cka", torch_cka, "torch_cka", "torch-cka", repeats=1),
    Method("ckatorch", ckatorch, "ckatorch", "ckatorch", repeats=1),
)
FASTER = {"pytorch-cka": 1.5, "torch-cka": 20.0}


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    widths = (64, 128) if quick else WIDTHS
    count, sizes = (6, (200, 400)) if quick else (24, (2000, 4000))
    with Bench(__name__) as bench:
        for n, between in ((sizes[0], False), (sizes[1], False), (sizes[0], True)):
            each = count if between else count // 2
            Xs, Ys = (features(n, each, widths, seed) for seed in (0, 1))
            if not between:
                Xs, Ys = [*Xs, *Ys], []
            path = folder / f"similarity-{n}-{between}.pt"  # a new file each: processes map it
            torch.save({"Xs": Xs, "Ys": Ys, "full": quick}, path)
            truth = reference(Xs, Ys or Xs).numpy()
            del Xs, Ys
            samples = bench.measure(path, rounds)
            path.unlink()
            label = f"n={n}, " + ("between two networks" if between else "all of two networks, symmetric")
            table = _table(label, samples, truth, n == sizes[1], widths)
            yield table, {"samples": samples, "truth": truth}
        yield _offsets(bench, folder, 300 if quick else 1000)


def _table(
    label: str,
    samples: dict[str, Sample],
    truth: np.ndarray,
    memory_counts: bool,
    widths: Sequence[int],
) -> Table:
    own, rows = samples["universality"], []
    for name, sample in samples.items():
        ratio, targets = against(own, sample, FASTER.get(name))
        if sample.error:
            rows.append(Row([name, "-", "-", "-", sample.error], targets))
            continue
        error = _error(sample, truth)
        if sample is own:
            targets = [(f"error < {ERROR:g}", error < ERROR)]
        elif memory_counts and name in FASTER:
            targets = [*targets, ("memory > ours", sample.memory > own.memory)]
        rows.append(
            Row(
                [
                    f"{name} ({len(sample.cpu)})",
                    f"{sample.share:.3g}",
                    ratio,
                    f"{sample.memory:.0f} MiB",
                    number(error),
                ],
                targets,
            )
        )
    return Table(
        f"Debiased CKA, {truth.shape[0]} x {truth.shape[1]} pairs, {label}, widths {min(widths)} to {max(widths)}",
        ["method (rounds)", "share timed", "CPU time", "peak memory", "max abs error"],
        rows,
        [
            "Error against float64 Gram matrices, pair by pair. A share below 1: timed on so many of the pairs "
            "(errors are of those), the time divided by it. Memory: beyond the features.",
        ],
    )


def _offsets(bench: Bench, folder: Path, n: int) -> tuple[Table, dict[str, Any]]:
    """Errors alone, with a constant added to every feature."""
    columns: dict[float, dict[str, Sample]] = {}
    truths: dict[float, np.ndarray] = {}
    for offset in (0.0, 10.0, 100.0):
        Xs = [features(n, 2, (128, 256), seed) for seed in (0, 1)]
        shifted = [[X + offset * X.std() for X in side] for side in Xs]
        path = folder / f"offset-{offset:g}.pt"
        torch.save({"Xs": shifted[0], "Ys": shifted[1], "full": True}, path)
        truths[offset] = reference(*shifted).numpy()
        columns[offset] = bench.measure(path, repeats=1)
    rows = []
    for name in columns[0.0]:
        cells, met = [name], True
        for offset, samples in columns.items():
            sample = samples[name]
            error = float("nan") if sample.error else _error(sample, truths[offset])
            met = met and error < ERROR
            cells.append(sample.error or number(error))
        rows.append(Row(cells, [(f"errors < {ERROR:g}", met)] if name == "universality" else []))
    table = Table(
        f"Debiased CKA, max abs error with a common offset in standard deviations, 2 x 2 pairs, n={n}",
        ["method", *(f"offset {offset:g}" for offset in columns)],
        rows,
        [
            "The offset changes no true value. Features are rounded to float32 after it, for the reference too."
        ],
    )
    return table, {f"offset {offset:g}": samples for offset, samples in columns.items()}


def _error(sample: Sample, truth: np.ndarray) -> float:
    result = sample.result
    exact = truth[np.ix_(result["rows"], result["columns"])]
    return float(np.abs(result["matrix"] - exact).max())
