"""The two passes over the rows behind `neural_collapse`: class means, then sums of projected noise.

d: width. C: classes. r = min(C - 1, d): rank of the centred class means M = U S V^T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.errors import MeasurementError, NotFinite

BLOCK = 2**19
"""Numbers in a block of rows that is worked on at a time: as many as stay in a cache."""


CHECKED = 1024
"""Rows of float32 features, at least, that are done in float64 as well."""


Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Opens the same features [k d] with labels [k] anew on each call, in any order."""


class Head:
    """What the rows are projected on: columns S^-1 V^T (r of them), then the logits (C)."""

    def __init__(self, means: Tensor, S: Tensor, Vh: Tensor, W: Tensor, bias: Tensor | None) -> None:
        self.means = means
        self.rank = len(S)
        self.project = torch.cat([Vh / S[:, None], W]).T.contiguous()
        M = means - means.mean(0)
        self.corners = M @ self.project[:, : self.rank]  # U
        self.reach = self.corners * S**2
        self.lengths = M.square().sum(1)
        logits = means @ W.T + (0 if bias is None else bias)
        # A constant over the classes decides nothing and would cost digits.
        self.logits = logits - logits.mean(1, keepdim=True)
        self.largest_mean = self.lengths.max().sqrt()
        self.largest_weight = W.norm(dim=1).max()

    def scores(self, z: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Less distance from each class mean, and logits, of rows with centred projections z."""
        r, dtype = self.rank, z.dtype
        inside = z[:, :r] + self.corners.to(dtype)[classes]
        near = inside @ (2 * self.reach.to(dtype)).T - self.lengths.to(dtype)
        return near, z[:, r:] + self.logits.to(dtype)[classes]


@dataclass(slots=True)
class Within:
    """Sums over rows: how many by class, of |S^-1 V^T noise|^2 and |noise|^2 by class, rows that differ, and by
    how much the sum of the second may be off: relative difference on the checked rows and two standard errors."""

    rows: Tensor
    mahalanobis: Tensor
    squares: Tensor
    mismatches: Tensor
    scatter: Tensor | None
    deviation: float
    same: bool


def within_sums(batches: Batches, head: Head, counts: Tensor, dtype: torch.dtype, where: str) -> Within:
    means, r = head.means, head.rank
    single = dtype == torch.float32
    zeros = means.new_zeros
    total = Within(
        torch.zeros_like(counts, dtype=torch.int64),
        zeros(len(counts)),
        zeros(len(counts)),
        zeros(()),
        zeros(r, r) if bool((counts != counts[0]).any()) else None,
        0.0,
        True,
    )
    # h - fl(mu) is exact where it is small (Sterbenz), else right to its own last digit; what the
    # rounding of mu does is taken off afterwards.
    # Zero columns up to a multiple of 16: 199 took 1.6 times as long as 208.
    columns = head.project.shape[1]
    centre = means.to(dtype)
    project = torch.nn.functional.pad(head.project.to(dtype), (0, -columns % 16))
    shift = centre.double() - means
    shift_z = (shift @ head.project).to(dtype)
    error, variance, checked, leftover = zeros(()), zeros(()), zeros(()), zeros(len(counts))
    some = slice(None, None, max(1, min(64, int(counts.sum()) // CHECKED)))
    for rows, classes in blocks(batches):
        _in_range(classes, len(counts), where)
        total.rows += torch.bincount(classes, minlength=len(counts))
        noise = rows.to(dtype) - centre.index_select(0, classes)
        leftover.index_add_(0, classes, noise.sum(1).double())
        length = torch.linalg.vector_norm(noise, dim=1)
        total.squares.index_add_(0, classes, length.double().square())
        z = (noise @ project)[:, :columns]
        z += shift_z[classes]
        q = z[:, :r].square().sum(1, dtype=dtype).double()
        total.mahalanobis.index_add_(0, classes, q)
        if total.scatter is not None:
            total.scatter += z[:, :r].double().T @ z[:, :r].double()
        near, logits = head.scores(z, classes)
        chosen, predicted = near.max(1), logits.max(1)
        differ = chosen.indices != predicted.indices
        if single:
            exact = (rows[some].double() - means[classes[some]]) @ head.project[:, :r]
            true = exact.square().sum(1)
            error += (q[some] - true).sum()
            variance += (q[some] - true).square().sum()
            checked += true.sum()
            # Rounding of a product of length d, seldom more than 8 sqrt(d) u |a| |b| (Higham and Mary 2019).
            u = 8 * rows.shape[1] ** 0.5 * 2.0**-24
            length = length.double()
            slack_near = 4 * u * head.largest_mean * (length + head.largest_mean)
            slack = 2 * u * (head.largest_weight * length + head.logits.abs().max())
            unsure = ((near > (chosen.values - slack_near.to(dtype))[:, None]).sum(1) > 1) | (
                (logits > (predicted.values - slack.to(dtype))[:, None]).sum(1) > 1
            )
            again = unsure.nonzero().flatten()
            exact = (rows[again].double() - means[classes[again]]) @ head.project
            near, logits = head.scores(exact, classes[again])
            differ[again] = near.argmax(1) != logits.argmax(1)
        total.mismatches += differ.sum()
    # sum |h - fl(mu)|^2 = sum |h - mu|^2 + n_c |fl(mu) - mu|^2
    total.squares -= counts * shift.square().sum(1)
    total.squares.clamp_min_(0)
    if single and bool(checked + error.abs() > 0):
        total.deviation = ((error.abs() + 2 * variance.sqrt()) / checked).item()
    # The noise of the rows that made the means sums to nothing, up to rounding.
    leftover += counts * shift.sum(1)
    rounding = 1e-9 * counts * means.shape[1] ** 0.5 * (means.square().sum(1) + total.squares / counts).sqrt()
    total.same = bool((leftover.abs() <= 1e-3 * total.squares.sqrt() + rounding).all())
    return total


def blocks(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    for features, labels in batches():
        step = rows_of_block(features)
        yield from zip(torch.split(features.detach(), step), torch.split(labels, step), strict=True)


def rows_of_block(features: Tensor) -> int:
    return max(1, BLOCK // features.shape[1])


def means_by_class(batches: Batches, C: int, where: str) -> tuple[Tensor, Tensor, torch.dtype]:
    """Class means [C d] and rows of each class [C], in float64, and the widest dtype of the features."""
    if C < 2:
        raise MeasurementError(
            "collapse compares classes", where=where, got=f"{C} class", expected="at least 2"
        )
    sums: Tensor | None = None
    dtype = torch.float16
    for rows, classes in blocks(batches):
        if sums is None:
            sums = torch.zeros(C, rows.shape[1], dtype=torch.float64, device=rows.device)
            counts = torch.zeros(C, dtype=torch.int64, device=rows.device)
        _in_range(classes, C, where)
        dtype = torch.promote_types(dtype, rows.dtype)
        sums.index_add_(0, classes, rows.double())
        counts += torch.bincount(classes, minlength=C)
    if sums is None:
        raise MeasurementError("a class without rows has no mean", where=where, got="no rows at all")
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        raise MeasurementError(
            "a class without rows has no mean",
            where=where,
            got=f"no rows of class {empty}",
            expected="every class present",
        )
    # A NaN or an infinity anywhere leaves none of its sums finite, at no cost.
    check_finite(where, features=sums)
    return sums / counts[:, None], counts.double(), dtype


def _in_range(classes: Tensor, C: int, where: str) -> None:
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= C):
        raise MeasurementError(
            "labels out of range",
            where=where,
            got=f"{int(classes.min())} .. {int(classes.max())}",
            expected=f"0 .. {C - 1}",
        )


def moderate(scale: Tensor) -> bool:
    return 1e-12 <= scale.item() <= 1e12


def check_finite(where: str, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise NotFinite(
                f"{name} are not finite", where=where, got="NaN or infinity", expected="finite values"
            )
