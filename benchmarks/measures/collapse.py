"""Neural collapse of last-layer features, float32, against the ways it is usually computed.

The routes over d x d matrices give the same quantities as ours: NC1, both NC2, NC3, NC4 and CDNV.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universality.measures.collapse.neural_collapse import neural_collapse

from .harness import Bench, Job, Method, Result, Row, Sample, Table, against, number

FASTER = {512: 5.0, 2048: 10.0}
"""Target against the route over d x d matrices, by width."""
ERROR = 1e-6
NOTEBOOK_NUMBERS = 1e9
"""Numbers of outer products that the per-sample route is timed on; the rest is scaled."""

SHOWN = ("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4", "cdnv")


def prepare(path: Path, *, n: int, d: int, C: int) -> None:
    """ReLU features: class means, correlated noise of decaying spectrum; a readout near the means."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % C
    means = torch.randn(C, d, generator=generator) * (8 / d) ** 0.5
    mix = torch.randn(64, d, generator=generator) * torch.arange(1, 65)[:, None] ** -0.5 * (8 / d) ** 0.5
    features = torch.empty(n, d)
    for rows, classes in zip(features.split(4096), labels.split(4096), strict=True):
        noise = torch.randn(len(rows), 64, generator=generator) @ mix
        noise += 0.5 * torch.randn(len(rows), d, generator=generator)
        torch.clamp(means[classes] + noise + 0.5, min=0, out=rows)
    weight = means - means.mean(0) + (2 / d) ** 0.5 * torch.randn(C, d, generator=generator)
    bias = 0.1 * torch.randn(C, generator=generator)
    torch.save({"features": features, "labels": labels, "weight": weight, "bias": bias}, path)


def by_matrices(
    features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, within: Tensor | None = None
) -> Result:
    """Everything from S_W [d d] and the pseudo-inverse of S_B [d d], in the dtype of the features.

    With torch's default cut-off for the pseudo-inverse, as it is usually called; float64 is the
    reference, with the cut-off at the known rank.

    within: S_W, where it was formed in another way.
    """
    n, (C, d) = len(features), weight.shape
    exact = features.dtype == torch.float64
    counts = torch.bincount(labels, minlength=C).to(features.dtype)
    means = features.new_zeros(C, d).index_add_(0, labels, features) / counts[:, None]
    noise = features - means[labels]
    if within is None:
        within = noise.T @ noise / n
    M = means - means.mean(0)
    between = M.T @ M / C
    inverse = torch.linalg.pinv(between, rtol=1e-10, hermitian=True) if exact else torch.linalg.pinv(between)
    norms = M.norm(dim=1)
    cosines = (M / norms[:, None]) @ (M / norms[:, None]).T
    apart = ~torch.eye(C, dtype=torch.bool)
    variance = features.new_zeros(C).index_add_(0, labels, noise.square().sum(1)) / counts
    distances = torch.cdist(
        M, M, compute_mode="donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist"
    )
    squared = distances.square()
    nearest = (means.square().sum(1) - 2 * features @ means.T).argmin(1)
    predicted = (features @ weight.T + bias).argmax(1)
    return {
        # tr(A B) = sum(A * B^T): the product of two d x d matrices is not needed.
        "nc1": (within * inverse.T).sum().item() / C,
        "nc2_norms": (norms.std(correction=0) / norms.mean()).item(),
        "nc2_angles": (cosines + 1 / (C - 1)).abs()[apart].mean().item(),
        "nc3": torch.linalg.norm(weight / weight.norm() - M / M.norm()).item(),
        "nc4": (nearest != predicted).double().mean().item(),
        "cdnv": ((variance[:, None] + variance) / (2 * squared))[apart].mean().item(),
    }


def _arguments(inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return inputs["features"], inputs["labels"], inputs["weight"], inputs["bias"]


def ours(inputs: Mapping[str, Any]) -> Job:
    arguments = _arguments(inputs)

    def run() -> Result:
        found = neural_collapse(*arguments)
        return {name: float(getattr(found, name)) for name in SHOWN}

    return Job(run)


def matrices(inputs: Mapping[str, Any]) -> Job:
    return Job(lambda: by_matrices(*_arguments(inputs)))


def notebook(inputs: Mapping[str, Any]) -> Job:
    """S_W as in the notebook of Papyan, Han and Donoho: batches, classes, an outer product a sample."""
    features, labels, weight, _ = _arguments(inputs)
    n, (C, d) = len(features), weight.shape
    rows = min(n, max(10 * C, int(NOTEBOOK_NUMBERS / d**2)))
    features, labels = features[:rows], labels[:rows]

    def run() -> Result:
        totals, within = torch.zeros(C, d), torch.zeros(d, d)
        batches = list(zip(features.split(128), labels.split(128), strict=True))
        for batch, classes in batches:
            for c in range(C):
                totals[c] += batch[classes == c].sum(0)
        means = totals / torch.bincount(labels, minlength=C)[:, None]
        for batch, classes in batches:
            for c in range(C):
                noise = batch[classes == c] - means[c]
                within += torch.matmul(noise.unsqueeze(-1), noise.unsqueeze(1)).sum(0)
        return {"within": within.trace().item()}

    return Job(run, rows / n)


def kowalski(inputs: Mapping[str, Any]) -> Job:
    """Its ETF, self-duality and CDNV. Its NC1 has the total covariance in the place of S_B (see below)."""
    from kowalski.neural_collapse import (
        class_distance_normalized_variance,
        classifier_etf_convergence,
        self_duality,
    )
    from kowalski.utils import to_per_class_list

    features, labels, weight, _ = _arguments(inputs)
    listed = to_per_class_list(features, labels)

    def run() -> Result:
        overall, means = features.mean(0), [rows.mean(0) for rows in listed]
        etf = classifier_etf_convergence(weight)
        duality = self_duality(None, weight, global_mean=overall, class_means=means)
        cdnv = class_distance_normalized_variance(listed, class_means=means)
        return {"cdnv": cdnv.item(), "etf": etf.item(), "duality": duality.item()}

    return Job(run)


def kowalski_nc1(inputs: Mapping[str, Any]) -> Job:
    """On few rows: it holds the outer products of all samples of a class."""
    from kowalski.neural_collapse import within_class_variability
    from kowalski.utils import to_per_class_list

    features, labels, weight, bias = _arguments(inputs)
    n, (C, d) = len(features), weight.shape
    rows = min(n, max(10 * C, int(NOTEBOOK_NUMBERS / 4 / d**2)))
    listed = to_per_class_list(features[:rows], labels[:rows])
    exact = by_matrices(features[:rows].double(), labels[:rows], weight.double(), bias.double())["nc1"]

    def run() -> Result:
        return {"nc1": within_class_variability(listed).item(), "exact": exact}

    return Job(run, rows / n)


METHODS = (
    Method("universality", ours),
    Method("d x d matrices, pinv", matrices, repeats=3),
    Method("per-sample loops of the notebook, S_W alone", notebook, repeats=1),
    Method("kowalski: ETF, NC3, CDNV", kowalski, "kowalski", "kowalski"),
    Method("kowalski: NC1", kowalski_nc1, "kowalski", "kowalski", repeats=1),
)


def measure(folder: Path, quick: bool, rounds: int | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    sizes = (
        ((3000, 64, 5), (3000, 128, 10))
        if quick
        else tuple((60_000, d, C) for d in (512, 2048) for C in (10, 100))
    )
    with Bench(__name__) as bench:
        for n, d, C in sizes:
            path = folder / f"collapse-{d}-{C}.pt"  # a new file each: processes map it
            prepare(path, n=n, d=d, C=C)
            truth = _truth(path)
            samples = bench.measure(path, rounds)
            path.unlink()
            yield (
                _table(f"n={n}, d={d}, C={C}", samples, truth, d),
                {
                    "samples": samples,
                    "truth": truth,
                },
            )


def _table(label: str, samples: dict[str, Sample], truth: Result, d: int) -> Table:
    return Table(
        f"Neural collapse, {label}",
        [
            "method (rounds)",
            "share timed",
            "CPU time",
            "peak memory",
            "error of NC1",
            "error of CDNV",
            "largest other",
        ],
        [_row(name, sample, samples["universality"], truth, d) for name, sample in samples.items()],
        [
            "Errors are relative (NC4: absolute) to float64 over d x d matrices. A share below 1: timed on "
            "so many of the rows, the time divided by it.",
            "kowalski: what of it is right, its ETF, self-duality and CDNV; and its NC1, which has the total "
            "covariance in the place of S_B.",
        ],
    )


def _truth(path: Path) -> Result:
    inputs = torch.load(path, mmap=True, weights_only=True)
    features, labels, weight, bias = _arguments(inputs)
    return by_matrices(features.double(), labels, weight.double(), bias.double())


def _row(name: str, sample: Sample, own: Sample, truth: Result, d: int) -> Row:
    ratio, targets = against(own, sample, FASTER.get(d) if name.startswith("d x d") else None)
    if sample.error:
        return Row([name, *["-"] * 5, sample.error], targets)
    found = sample.result
    exact = {**truth, "nc1": found.get("exact", truth["nc1"])}
    errors = {
        key: abs(found[key] - exact[key]) / (1 if key == "nc4" else abs(exact[key]))
        for key in SHOWN
        if key in found
    }
    if sample is own:
        worst = max(errors.values())
        targets = [(f"errors < {ERROR:g}", worst < ERROR)]
    others = [errors[key] for key in ("nc2_norms", "nc2_angles", "nc3", "nc4") if key in errors]
    return Row(
        [
            f"{name} ({len(sample.cpu)})",
            f"{sample.share:.2g}",
            ratio,
            f"{sample.memory:.0f} MiB",
            number(errors.get("nc1", float("nan"))),
            number(errors.get("cdnv", float("nan"))),
            number(max(others)) if others else "-",
        ],
        targets,
    )
