"""CKA of data that arrive in batches: exactly that of the full sample, or unbiased per batch.

n: rows of a batch. a, b: numbers of representations. A row of one batch is the same input in all.

`StreamingCKA` gives what `cka_matrix` gives of all rows at once. Its memory grows with products of
widths, not with rows: use it where features fit in memory for a batch only. `MinibatchCKA` averages
an unbiased estimate over batches: use it where products of widths do not fit either. Its noise is
that of comparing rows within batches alone, so it is the worse estimate at equal data.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import centred, checked, largest_entry, listed, mean_of_rows, power_of_two
from universality.measures.similarity.cka import alignments

_Layout = tuple[list[int], int | None]
"""Widths of the Xs and the Ys, and the number of Xs where there are Ys."""


class StreamingCKA:
    """Debiased CKA of all pairs over all rows seen, from sums that forget the rows. Float64.

    Features are taken relative to m, the mean of the first batch, and where their fourth powers would leave double
    precision, by that batch's power of two: with a = x - m and delta the mean
    of a over all rows, the centred row is a - delta, and every sum over centred rows that u needs
    (see `debiased_cka`) is a polynomial in delta with the sums of a b^T, |a|^2 b, |a|^2 |b|^2, a and
    |a|^2 as coefficients. delta is of the size of the spread, however far the features are from 0.

    Cost: n (products of widths of the pairs, and of each with itself), float64. Memory: as many float64 numbers as the
    products of widths of all pairs, and of each with itself.

    Raises:
        MeasurementError: from `update`, representations that do not match the batches before or are not
            finite; from `result`, fewer than 4 rows or features without spread.

    Source: as `debiased_cka`; the shift of the origin is that of Chan, Golub and LeVeque 1983.

    >>> X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    >>> stream = StreamingCKA()
    >>> for part in X.split(25):
    ...     stream.update([part, part[:, :1]])
    >>> from universality.measures.similarity.cka import cka_matrix
    >>> bool((stream.result() - cka_matrix([X, X[:, :1]], dtype=torch.float64)).abs().max() < 1e-12)
    True
    """

    def __init__(self) -> None:
        self.rows = 0
        self._widths: list[int] = []
        self._split: int | None = None

    @measure
    @torch.no_grad()
    def update(
        self, Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]] | None = None
    ) -> None:
        """Add a batch: the same representations in the same order as in every batch before.

        Raises:
            MeasurementError: representations that do not match each other or the batches before, or
                that are not finite; nothing of such a batch is added.
        """
        both = _both(Xs, Ys, "StreamingCKA")
        widths, split = [X.shape[1] for X in both], len(Xs) if Ys else None
        if not self._widths:
            self._start(both, widths, split)
        _same_layout((widths, split), (self._widths, self._split), "StreamingCKA")
        A = [(X.double() - m) * unit for X, m, unit in zip(both, self._reference, self._units, strict=True)]
        r = torch.stack([a.square().sum(1) for a in A])
        joined = torch.cat(A, 1)
        self.rows += len(joined)
        self._sum += joined.sum(0)
        self._weighted += r @ joined
        self._norms += r.sum(1)
        self._products += r @ r.T
        for i, (a, (first, last)) in enumerate(zip(A, self._partners, strict=True)):
            self._cross[i] += a.T @ joined[:, first:last]
            if self._own:
                self._own[i] += a.T @ a

    def _start(self, both: list[Tensor], widths: list[int], split: int | None) -> None:
        self._widths, self._split = widths, split
        self._reference = [mean_of_rows(X) for X in both]
        self._units = _units(both)
        zeros = self._reference[0].new_zeros
        total, count = sum(widths), len(widths)
        ends = [*accumulate(widths, initial=0)]
        self._slices = [slice(*pair) for pair in pairwise(ends)]
        # Columns that a representation is multiplied with: those of the Ys, or its own and later ones.
        self._partners = (
            [(first, total) for first in ends[:-1]]
            if split is None
            else [(ends[split], total) if i < split else (0, 0) for i in range(count)]
        )
        self._cross = [
            zeros(d, last - first) for d, (first, last) in zip(widths, self._partners, strict=True)
        ]
        self._own = [] if split is None else [zeros(d, d) for d in widths]
        self._sum, self._norms = zeros(total), zeros(count)
        self._weighted, self._products = zeros(count, total), zeros(count, count)

    @measure
    def result(self, *, debiased: bool = True) -> Float[Tensor, "a b"]:
        """CKA of every X with every Y (of every two without Ys), on the CPU. More may be added later.

        Raises:
            MeasurementError: fewer than 4 rows, or features without spread.
        """
        n = self.rows
        if n < 4:
            raise MeasurementError("too few rows", where="StreamingCKA", got=str(n), expected=">= 4")
        delta = self._sum / n
        D = [delta[piece] for piece in self._slices]
        d2 = torch.stack([d.square().sum() for d in D])
        count = len(D)
        left = range(count) if self._split is None else range(self._split)
        right = range(count) if self._split is None else range(self._split, count)
        inner, shifted = torch.zeros_like(self._products), torch.zeros_like(self._products)
        for i in range(count):
            for j in range(count):
                wanted = i in left and j in right and (self._split is not None or j >= i)
                if not (wanted or i == j):
                    continue
                if wanted:
                    start = self._slices[j].start - self._partners[i][0]
                    C = self._cross[i][:, start : start + len(D[j])]
                else:
                    C = self._own[i]
                inner[i, j] = inner[j, i] = (C - n * torch.outer(D[i], D[j])).square().sum()
                # Sum over rows of (a.delta_a) (b.delta_b), for the norms of centred rows,
                # |a - delta_a|^2 = |a|^2 - 2 a.delta_a + |delta_a|^2.
                shifted[i, j] = shifted[j, i] = D[i] @ C @ D[j]
        # [i, j]: sum over rows of |a_i|^2 a_j.delta_j; sum of a.delta over rows is n |delta|^2.
        mixed = torch.stack(
            [self._weighted[:, piece] @ d for piece, d in zip(self._slices, D, strict=True)], 1
        )
        norms = self._norms - n * d2
        rr = self._products - 2 * (mixed + mixed.T) + 4 * shifted
        rr += torch.outer(self._norms, d2) + torch.outer(d2, self._norms) - 3 * n * torch.outer(d2, d2)
        u = inner - n / (n - 2) * rr + torch.outer(norms, norms) / ((n - 1) * (n - 2))
        return _ratio(u if debiased else inner, inner.diagonal(), left, right)


class MinibatchCKA:
    """Ratio of sums over batches of the unbiased HSIC_1 terms (Nguyen et al. 2021, arXiv:2010.15327).

    A batch counts by its rows; with batches of one size this is their definition. The terms are
    unbiased at any batch size of at least 4, their ratio up to the noise of its parts. (The mean of
    the CKA of batches is another thing: .909 for .655 at batch 8 where biased.)

    Cost: `cka_matrix` of each of the batches, float64. Memory: nothing beyond that but one number a pair.

    Raises:
        MeasurementError: from `update`, as `StreamingCKA`, and fewer than 4 rows in a batch; from `result`,
            no batches.

    Source: Nguyen et al. 2021, arXiv:2010.15327.

    >>> X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    >>> batches = MinibatchCKA()
    >>> for part in X.split(20):
    ...     batches.update([part], [2 * part + 1])
    >>> batches.result().round(decimals=6).tolist()
    [[1.0]]
    """

    def __init__(self) -> None:
        self.batches = 0
        self._u = self._own = torch.zeros(0, dtype=torch.float64, device="cpu")
        self._layout: _Layout = [], None
        self._units: list[float] = []

    @measure
    def update(
        self, Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]] | None = None
    ) -> None:
        """Add a batch of at least 4 rows: the same representations as in every batch before.

        Raises:
            MeasurementError: as `StreamingCKA.update` and `cka_matrix`.
        """
        both = _both(Xs, Ys, "MinibatchCKA")
        layout = [X.shape[1] for X in both], len(Xs) if Ys else None
        if self.batches:
            _same_layout(layout, self._layout, "MinibatchCKA")
        found = alignments(Xs, Ys, dtype=torch.float64, where="MinibatchCKA")
        n = len(both[0])
        # Every batch in the units of the features themselves: `found` is in units of its own.
        units = self._units or _units(both)
        sizes = [(centred(X) * unit).square().sum() for X, unit in zip(both, units, strict=True)]
        unit = torch.stack(sizes) / found.r.sum(1)
        u = found.u * torch.outer(unit[found.left], unit[found.right]) / (n - 3)
        own = found.own * unit.square() / (n - 3)
        if not bool((own.isfinite() & (own > 0)).all()):
            raise MeasurementError(
                "a batch of quite another size than the first one",
                where="MinibatchCKA",
                got=f"self-similarities {own.min().item():.3g} to {own.max().item():.3g}, the first scaled to about 1",
                do="begin with a batch of the size of the others",
            )
        self._layout, self._units = layout, units
        self._split = found.left, found.right
        self._u, self._own = (self._u + u, self._own + own) if self.batches else (u, own)
        self.batches += 1

    @measure
    def result(self) -> Float[Tensor, "a b"]:
        """The ratios, on the CPU. More may be added later."""
        if not self.batches:
            raise MeasurementError("no batches", where="MinibatchCKA", do="call update first")
        root = self._own.sqrt()
        left, right = self._split
        return (self._u / torch.outer(root[left], root[right])).cpu()


def _units(both: Sequence[Tensor]) -> list[float]:
    """Factors, of which similarities do not depend, that keep fourth powers of features like these in range."""
    return [power_of_two(largest_entry(X)) for X in both]


def _both(Xs: Sequence[Tensor], Ys: Sequence[Tensor] | None, where: str) -> list[Tensor]:
    both = listed(Xs, Ys, where)
    checked(*both, where=where)
    return both


def _same_layout(got: _Layout, expected: _Layout, where: str) -> None:
    if got != expected:
        raise MeasurementError(
            "a batch of other representations", where=where, got=_said(got), expected=_said(expected)
        )


def _said(layout: _Layout) -> str:
    widths, split = layout
    return f"widths {widths}, {'no Ys' if split is None else f'the first {split} of them Xs'}"


def _ratio(u: Tensor, scale: Tensor, left: range, right: range) -> Tensor:
    own = u.diagonal()
    if not bool(scale.isfinite().all()):
        raise MeasurementError(
            "sums over the batches leave double precision",
            where="StreamingCKA",
            got="batches of quite another size than the first one",
            do="begin with a batch of the size of the others",
        )
    if not bool((own > 1e-12 * scale).all()):
        raise MeasurementError(
            "features without spread cannot be aligned",
            where="StreamingCKA",
            got=f"self-similarity {own.min().item():.3g} before normalisation",
            do="check for a dead layer; constant or mutually equidistant rows have no alignment",
        )
    root = own.sqrt()
    rows, columns = slice(left.start, left.stop), slice(right.start, right.stop)
    return (u[rows, columns] / torch.outer(root[rows], root[columns])).cpu()
