"""Neural collapse: how near a classifier's last layer is to a simplex equiangular tight frame.

n: rows. d: width. C: classes. Class means are centred on the mean of class means; M [C d] holds
them. The within-class covariance S_W averages over rows, S_B = M^T M / C over classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError

ROWS = 4096
"""Rows taken to float64 at a time."""


@dataclass(frozen=True, slots=True)
class Collapse:
    """The four manifestations (Papyan, Han and Donoho 2020, arXiv:2008.08186); all fall to 0.

    nc1: tr(S_W pinv(S_B)) / C, the pseudo-inverse of rank min(C - 1, d). The authors' notebook
        leaves out 1/C; Zhu et al. 2021 (arXiv:2105.02375) have it. Compare across widths only
        relative to `permuted_collapse`.
    nc1_ratio: tr S_W / tr S_B.
    cdnv: class-distance normalised variance, mean over pairs of (var_i + var_j) / (2 |mu_i - mu_j|^2)
        (Galanti et al. 2021, arXiv:2112.15121).
    nc2_norms: standard deviation over mean of the norms of M's rows.
    nc2_angles: mean over pairs of |cos(M_i, M_j) + 1/(C-1)|.
    nc2_norms_weight, nc2_angles_weight: the same of the rows of W, which are not centred.
    nc3: Frobenius distance of W/|W| and M/|M|, not squared (the notebook squares). At most 2.
    nc4: share of rows whose predicted class (bias included) is not that of the nearest class mean.
    simplex_fits: d >= C - 1. Where not, no simplex exists and a small nc1 is no collapse.
    """

    nc1: float
    nc1_ratio: float
    nc2_norms: float
    nc2_angles: float
    nc2_norms_weight: float
    nc2_angles_weight: float
    nc3: float
    nc4: float
    cdnv: float
    simplex_fits: bool


def neural_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "C d"],
    bias: Float[Tensor, " C"] | None = None,
) -> Collapse:
    """Every measure of neural collapse, in float64, without a d x d matrix.

    With M = U S V^T of rank r = min(C - 1, d), pinv(S_B) = C V S^-2 V^T, hence

        nc1 = 1/n sum_i |S^-1 V^T (h_i - mu_{y_i})|^2,

    one thin product with V, which also gives the distances to the class means of nc4.

    Args:
        features: inputs of the last linear layer, in eval mode, on training rows.
        labels: of the rows, 0 .. C-1, each class present.
        weight, bias: of the last linear layer.

    Cost: 4 n d (r + C) operations, two passes over the features.

    Raises:
        MeasurementError: shapes that do not match, one class, a class without rows, values that are
            not finite, class means (or weights) that coincide.

    >>> corners = torch.eye(3) - 1 / 3
    >>> perfect = neural_collapse(corners.repeat(4, 1), torch.arange(3).repeat(4), 5 * corners)
    >>> [round(value, 6) for value in (perfect.nc1, perfect.nc2_angles, perfect.nc3, perfect.nc4)]
    [0.0, 0.0, 0.0, 0.0]
    """
    counts = _checked(features, labels, weight, bias)
    n, (C, d) = len(features), weight.shape
    chunks = list(zip(torch.split(features, ROWS), torch.split(labels, ROWS), strict=True))

    means = torch.zeros(C, d, dtype=torch.float64, device=features.device)
    for rows, classes in chunks:
        means.index_add_(0, classes, rows.double())
    means /= counts[:, None]
    M = means - means.mean(0)

    rank = min(C - 1, d)
    _, S, Vh = torch.linalg.svd(M, full_matrices=False)
    _apart(S, rank)
    W = weight.double()
    # Columns of the one product: r coordinates in the span of the means, then C logits.
    project = torch.cat([Vh[:rank], W]).T.contiguous()
    inside = M @ Vh[:rank].T
    logits = means @ W.T + (0 if bias is None else bias.double())

    squares = torch.zeros(C, dtype=torch.float64, device=features.device)
    mahalanobis, mismatches = squares.new_zeros(()), squares.new_zeros(())
    for rows, classes in chunks:
        noise = rows.double() - means[classes]
        squares.index_add_(0, classes, torch.einsum("nd,nd->n", noise, noise))
        z = noise @ project
        mahalanobis += (z[:, :rank] / S[:rank]).square().sum()
        # |h - mu_c|^2 is |mu_c|^2 - 2 h.mu_c up to a constant, in coordinates centred on the global mean.
        near = inside.square().sum(1) - 2 * (z[:, :rank] + inside[classes]) @ inside.T
        mismatches += (near.argmin(1) != (z[:, rank:] + logits[classes]).argmax(1)).sum()

    variance = squares / counts
    norms, angles = _simplex(M)
    norms_weight, angles_weight = _simplex(W)
    return Collapse(
        nc1=(mahalanobis / n).item(),
        nc1_ratio=(squares.sum() / n / (M.square().sum() / C)).item(),
        nc2_norms=norms,
        nc2_angles=angles,
        nc2_norms_weight=norms_weight,
        nc2_angles_weight=angles_weight,
        nc3=torch.linalg.norm(W / torch.linalg.norm(W) - M / torch.linalg.norm(M)).item(),
        nc4=(mismatches / n).item(),
        cdnv=_cdnv(M, variance),
        simplex_fits=d >= C - 1,
    )


def permuted_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "C d"],
    bias: Float[Tensor, " C"] | None,
    generator: torch.Generator,
) -> Collapse:
    """`neural_collapse` with the labels permuted: the value by chance at this n, d and C.

    For isotropic features nc1 is about (n/C) (C-1)/(d-C), so it falls with the width alone:
    log(nc1 / permuted nc1) is what can be compared across architectures.

    >>> rows = torch.randn(600, 20, generator=torch.Generator().manual_seed(0))
    >>> classes = torch.arange(600) % 3
    >>> null = permuted_collapse(rows, classes, torch.randn(3, 20), None, torch.Generator().manual_seed(1))
    >>> null.nc1 > 10
    True
    """
    order = torch.randperm(len(labels), generator=generator, device=generator.device)
    return neural_collapse(features, labels[order.to(labels.device)], weight, bias)


def _simplex(rows: Tensor) -> tuple[float, float]:
    """Deviation of C vectors from equal norms and from equal, maximal angles."""
    C = len(rows)
    norms = rows.norm(dim=1)
    unit = rows / norms[:, None]
    cosines = (unit @ unit.T)[~torch.eye(C, dtype=torch.bool, device=rows.device)]
    spread = norms.std(correction=0) / norms.mean()
    return spread.item(), (cosines + 1 / (C - 1)).abs().mean().item()


def _cdnv(M: Tensor, variance: Tensor) -> float:
    i, j = torch.triu_indices(len(M), len(M), offset=1, device=M.device)
    return ((variance[i] + variance[j]) / (2 * (M[i] - M[j]).square().sum(1))).mean().item()


def _apart(S: Tensor, rank: int) -> None:
    # Means of n float64 sums are exact to about 1e-16; a factor of 1e3 keeps clear of it.
    if not bool(S[rank - 1] > 1e-13 * S[0]):
        raise MeasurementError(
            f"class means span fewer than {rank} dimensions: tr(S_W pinv(S_B)) has no value",
            where="neural_collapse",
            got=f"singular values from {S[0].item():.3g} to {S[rank - 1].item():.3g}",
            do="check for a dead layer, or for classes that share every row",
        )


def _checked(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Rows of each class [C], in float64."""

    def refuse(what: str, got: str, expected: str) -> MeasurementError:
        return MeasurementError(what, where="neural_collapse", got=got, expected=expected)

    shapes = [list(t.shape) for t in (features, labels, weight)] + (
        [] if bias is None else [list(bias.shape)]
    )
    good = features.ndim == 2 and weight.ndim == 2 and labels.shape == features.shape[:1]
    good = good and weight.shape[1] == features.shape[1] and (bias is None or bias.shape == weight.shape[:1])
    if not good:
        raise refuse(
            "shapes do not match", str(shapes), "features [n, d], labels [n], weight [C, d], bias [C]"
        )
    C = len(weight)
    if C < 2:
        raise refuse("collapse compares classes", f"{C} class", "at least 2")
    if len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= C:
        raise refuse("labels out of range", f"{sorted(set(labels.tolist()))[:10]}", f"0 .. {C - 1}")
    counts = torch.bincount(labels, minlength=C)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        raise refuse("a class without rows has no mean", f"no rows of class {empty}", "every class present")
    tensors = {"features": features, "weight": weight} | ({} if bias is None else {"bias": bias})
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise refuse(f"{name} are not finite", "NaN or infinity", "finite values")
    if not bool((weight.double().norm(dim=1) > 0).all()):
        raise refuse("a class with zero weight has no direction", "a zero row of weight", "rows of W not 0")
    return counts.double()
