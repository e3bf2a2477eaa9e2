"""Neural collapse: how near a classifier's last layer is to a simplex equiangular tight frame.

n: rows. d: width. C: classes. m: other rows. Class means are centred on the mean of class means;
M [C d] holds them. The within-class covariance S_W averages over rows, S_B = M^T M / C over classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.collapse.sums import (
    Batches,
    Head,
    Within,
    check_finite,
    means_by_class,
    moderate,
    rows_of_block,
    within_sums,
)
from universality.measures.features import largest_entry, power_of_two


@dataclass(frozen=True, slots=True)
class Collapse:
    """The four manifestations (Papyan, Han and Donoho 2020, arXiv:2008.08186); all fall to 0.

    nc1: tr(S_W pinv(S_B)) / C, the pseudo-inverse of rank min(C - 1, d), as in Zhu et al. 2021
        (arXiv:2105.02375). Compare across widths only relative to `permuted_collapse`.
    nc1_balanced: nc1 with S_W averaged within classes first, then over classes.
    nc1_weighted: nc1 with S_B averaged over rows, about the mean of rows. All three are one number
        for classes of equal size.
    nc1_ratio: tr S_W / tr S_B.
    cdnv: class-distance normalised variance, mean over pairs of (var_i + var_j) / (2 |mu_i - mu_j|^2)
        (Galanti et al. 2021, arXiv:2112.15121).
    nc2_norms: standard deviation over mean of the norms of M's rows.
    nc2_angles: mean over pairs of |cos(M_i, M_j) + 1/(C-1)|.
    nc2_gram: |M M^T / |M M^T| - E|, Frobenius, with E = (I - 1 1^T / C) / sqrt(C-1) the Gram matrix
        of a simplex of norm 1 (Zhu et al. 2021).
    nc2_norms_weight, nc2_angles_weight, nc2_gram_weight: the same of the rows of W, which are not
        centred.
    nc3: Frobenius distance of W/|W| and M/|M|, not squared. At most 2.
    nc3_gram: |W M^T / |W M^T| - E| (Zhu et al. 2021).
    nc4: share of rows whose predicted class (bias included) is not that of the nearest class mean.
    simplex_fits: d >= C - 1. Where not, no simplex exists and a small nc1 is no collapse.
    classes: C.
    imbalance: rows of the largest class over rows of the smallest.
    """

    nc1: float
    nc1_balanced: float
    nc1_weighted: float
    nc1_ratio: float
    nc2_norms: float
    nc2_angles: float
    nc2_gram: float
    nc2_norms_weight: float
    nc2_angles_weight: float
    nc2_gram_weight: float
    nc3: float
    nc3_gram: float
    nc4: float
    cdnv: float
    simplex_fits: bool
    classes: int
    imbalance: float

    @property
    def nc1_undivided(self) -> float:
        """tr(S_W pinv(S_B)), as the notebook of Papyan, Han and Donoho 2020 has it."""
        return self.classes * self.nc1

    @property
    def nc3_squared(self) -> float:
        """nc3^2, as the notebook of Papyan, Han and Donoho 2020 has it."""
        return self.nc3**2


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Share of rows, with an exact binomial 95 % interval for rows drawn independently."""

    share: float
    low: float
    high: float
    rows: int


@measure
def neural_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "C d"],
    bias: Float[Tensor, " C"] | None = None,
) -> Collapse:
    """Every measure of neural collapse, without a d x d matrix.

    With M = U S V^T of rank r = min(C - 1, d), pinv(S_B) = C V S^-2 V^T, hence

        nc1 = 1/n sum_i |S^-1 V^T (h_i - mu_{y_i})|^2,

    one thin product with V, which also gives the distances to the class means of nc4.

    Class means and sums are float64. On a CPU the thin product of float32 features is float32: they
    are centred first, which costs no digits; 1,024 rows or more, spread evenly, are done in float64
    too; and unless the sums of the two agree to 8e-8 with their uncertainty, all is done again in
    float64. Rows that lie within rounding of two classes are decided in float64. So results agree
    with float64 to 7 digits.

    Args:
        features: inputs of the last linear layer, in eval mode, on training rows.
        labels: of the rows, 0 .. C-1, each class present.
        weight, bias: of the last linear layer.

    Cost: 2 n (d (r + C) + r C) operations (2 n r^2 more for classes of unequal size), two passes over
    the rows. Memory beside them is of order C d.

    Raises:
        MeasurementError: shapes that do not match, complex values, one class, a class with fewer than 2
            rows (its variability is 0 whatever the features), values that are not finite, class means
            that coincide or do not differ beyond the rounding of the features, a zero row of weights.

    Source: Papyan, Han and Donoho 2020, arXiv:2008.08186; Zhu et al. 2021, arXiv:2105.02375; Galanti et
    al. 2021, arXiv:2112.15121. The route by a thin product is derived above.

    >>> corners = torch.eye(3) - 1 / 3
    >>> perfect = neural_collapse(corners.repeat(4, 1), torch.arange(3).repeat(4), 5 * corners)
    >>> [round(value, 6) for value in (perfect.nc1, perfect.nc2_angles, perfect.nc3, perfect.nc4)]
    [0.0, 0.0, 0.0, 0.0]
    """
    _matching("neural_collapse", features, labels, weight, bias)
    return _collapse(lambda: [(features, labels)], weight, bias, "neural_collapse")


@measure
def batched_collapse(
    batches: Batches, weight: Float[Tensor, "C d"], bias: Float[Tensor, " C"] | None = None
) -> Collapse:
    """`neural_collapse` of features that arrive in batches and are never held together.

    Two passes, since the directions to project on are those of the final means. One pass cannot do with
    less than d x d numbers: rows still to come can turn the centred means into any direction u, so what is
    kept must give u^T S u for every u, and that is all d (d + 1) / 2 numbers of the scatter S within classes. (Of
    nc4 not even S suffices: which mean is nearest is asked of every row.) Batches may come in another order
    or cut in the second pass.

    Args:
        batches: opens the features with their labels anew on each call.

    Raises:
        MeasurementError: as `neural_collapse`, `batches` that cannot be called, or a later pass that brings
            fewer rows (an iterator that is used up) or other features (a sampler, augmentation or
            dropout that is not frozen).

    Cost: as `neural_collapse`, and the batches are read two times, or three where float32 does not suffice.

    Source: as `neural_collapse`.

    >>> rows, classes = torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0], [0.0, 6.0]]), torch.tensor([0, 0, 1, 1])
    >>> loader = lambda: zip(rows.split(3), classes.split(3))
    >>> round(batched_collapse(loader, torch.eye(2)).cdnv, 6)
    0.161538
    """
    if not callable(batches):
        raise MeasurementError(
            "batches that cannot be opened anew",
            where="batched_collapse",
            got=type(batches).__name__,
            expected="a function without arguments that returns an iterable of (features, labels)",
            do="pass `lambda: batches`, if they can be iterated over again and again",
        )

    def opened() -> Iterator[tuple[Tensor, Tensor]]:
        for features, labels in batches():
            _matching("batched_collapse", features, labels, weight, bias)
            yield features, labels

    return _collapse(opened, weight, bias, "batched_collapse")


@measure
def permuted_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "C d"],
    bias: Float[Tensor, " C"] | None,
    generator: torch.Generator,
) -> Collapse:
    """`neural_collapse` with the labels permuted: the value by chance at this n, d and C.

    nc1 by chance falls with the width alone (`chance_nc1`): log(nc1 / permuted nc1) is what can be
    compared across architectures. One permutation suffices for many classes; for isotropic features
    the relative spread of nc1 is about sqrt(2 / (d (C-1))).

    Cost, errors and source: `neural_collapse`. Source of the permutation: Fisher 1935.

    >>> rows = torch.randn(600, 20, generator=torch.Generator().manual_seed(0))
    >>> classes = torch.arange(600) % 3
    >>> null = permuted_collapse(rows, classes, torch.randn(3, 20), None, torch.Generator().manual_seed(1))
    >>> null.nc1 > 10
    True
    """
    order = torch.randperm(len(labels), generator=generator, device=generator.device)
    return neural_collapse(features, labels[order.to(labels.device)], weight, bias)


@measure
def chance_nc1(n: int, d: int, C: int) -> float:
    """Expected nc1 of n isotropic Gaussian rows in C classes of equal size that mean nothing,

        (n/C - 1) (C-1) / (d - C)       for d > C,
        (n/C - 1) d / (C - 2 - d)       for d < C - 2.

    Exact: S_W is independent of the means, E S_W = (1 - C/n) I, and n/C M M^T is a Wishart matrix of
    C - 1 dimensions and d degrees of freedom (the second case: the two exchanged), whose inverse has
    expected trace (C-1) / (d - C). Features that are not Gaussian approach it as n/C grows. With
    anisotropic ones there is no closed form: use `permuted_collapse`.

    Raises:
        MeasurementError: no second row for a class, or C - 2 <= d <= C, where the expectation is infinite.

    Cost: none.

    Source: mean of an inverse Wishart matrix, von Rosen 1988 (Scandinavian Journal of Statistics 15).

    >>> round(chance_nc1(n=600, d=23, C=3), 6)
    19.9
    """
    if C < 2 or n <= C or d < 1:
        raise MeasurementError(
            "no chance level", where="chance_nc1", got=f"n={n}, d={d}, C={C}", expected="2 <= C < n, d >= 1"
        )
    if C - 2 <= d <= C:
        raise MeasurementError(
            "nc1 by chance has no finite expectation",
            where="chance_nc1",
            got=f"d={d}, C={C}",
            expected="d > C or d < C - 2",
            do="compare with the median of several permuted_collapse",
        )
    return (n / C - 1) * ((C - 1) / (d - C) if d > C else d / (C - 2 - d))


@measure
def class_means(
    features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int
) -> Float[Tensor, "C d"]:
    """The mean of the rows of each class, summed in float64.

    Cost: n d additions, float64.

    Raises:
        MeasurementError: labels that are no indices below `classes` or do not match, fewer than two
            classes, a class without rows, values that are not finite.

    Source: Papyan, Han and Donoho 2020, arXiv:2008.08186 (mu_c).

    >>> class_means(torch.tensor([[1.0], [3.0], [10.0]]), torch.tensor([0, 0, 1]), 2).tolist()
    [[2.0], [10.0]]
    """
    if features.ndim != 2 or features.is_complex() or labels.shape != features.shape[:1]:
        raise _mismatched("class_means", features, labels)
    _indices("class_means", labels)
    return means_by_class(lambda: [(features, labels)], classes, "class_means")[0]


@measure
def nearest_mean_mismatch(
    features: Float[Tensor, "m d"],
    means: Float[Tensor, "C d"],
    weight: Float[Tensor, "C d"],
    bias: Float[Tensor, " C"] | None = None,
) -> Mismatch:
    """NC4 of other rows: how often the predicted class is not that of the nearest training mean.

    Held-out rows need no labels. Near 0 in nearly every trained net, also one without collapse:
    report, do not decide on it.

    Args:
        features: of held-out rows, in eval mode.
        means: `class_means` of the training rows.

    Cost: 4 m d C + 2 d C^2 operations, float64.

    Raises:
        MeasurementError: shapes that do not match, no rows, values that are not finite, means of two
            classes that coincide or do not differ beyond their rounding.

    Source: Papyan, Han and Donoho 2020, arXiv:2008.08186 (NC4); Clopper and Pearson 1934 (the interval).

    >>> means = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    >>> nearest_mean_mismatch(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), means, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    Mismatch(share=0.5, low=0.012..., high=0.987..., rows=2)
    """
    from scipy import stats  # measuring runs do without it

    where = "nearest_mean_mismatch"
    _matching(where, features, None, weight, bias)
    if means.shape != weight.shape:
        raise _mismatched(where, means, weight)
    check_finite(where, means=means, features=features, weight=weight, bias=bias)
    if len(features) == 0:
        raise MeasurementError("a share of no rows", where=where, got="0 rows", expected="at least 1")
    # Distances to the means do not change with the origin; near it they keep their digits.
    unit = power_of_two(max(largest_entry(means), largest_entry(features)))
    means = means.detach().double() * unit
    origin = means.mean(0)
    M = means - origin
    _distinct(M, means, where)
    W, bias = _scaled_head(weight, bias, unit, where)
    offset = W @ origin + (0 if bias is None else bias)
    wrong = 0
    for rows in torch.split(features, rows_of_block(features)):
        near = M.square().sum(1) - 2 * (centred := rows.double() * unit - origin) @ M.T
        wrong += int((near.argmin(1) != (centred @ W.T + offset).argmax(1)).sum())
    n = len(features)
    bounds = stats.binomtest(wrong, n).proportion_ci(0.95, method="exact")
    return Mismatch(wrong / n, float(bounds.low), float(bounds.high), n)


def _collapse(batches: Batches, weight: Tensor, bias: Tensor | None, where: str) -> Collapse:
    check_finite(where, weight=weight, bias=bias)
    C, d = weight.shape
    means, counts, dtype = means_by_class(batches, C, where)
    unit = power_of_two(largest_entry(means))
    if unit != 1:
        means, dtype, batches = means * unit, torch.float64, _multiplied(batches, unit)
    W, offset = _scaled_head(weight, bias, unit, where)
    if not bool((W.norm(dim=1) > 0).all()):
        raise MeasurementError(
            "a class with zero weight has no direction",
            where=where,
            got="a zero row of weight",
            expected="rows of W not 0",
        )
    M = means - means.mean(0)
    rank = min(C - 1, d)
    _, S, Vh = torch.linalg.svd(M, full_matrices=False)
    if not bool((counts > 1).all()):
        raise MeasurementError(
            "a class of one row has no variability within",
            where=where,
            got=f"1 row of class {(counts == 1).nonzero().flatten().tolist()}",
            expected="at least 2 rows of each class",
            do="measure more rows, or leave these classes out",
        )
    _apart(S, rank, means, where)
    head = Head(means, S[:rank], Vh[:rank], W, offset)

    single = dtype != torch.float64 and means.device.type == "cpu"
    # Where squares would leave the range of float32, as those of 1e-25 and 1e19 do.
    single = single and all(moderate(value) for value in (S[0], head.largest_weight))
    within = within_sums(batches, head, counts, torch.float32 if single else torch.float64, where)
    _all_came(within, counts, where)
    noise = (within.squares.sum() / counts.sum()).sqrt()
    if single and not (within.deviation <= 8e-8 and moderate(noise)):
        within = within_sums(batches, head, counts, torch.float64, where)
        _all_came(within, counts, where)
    if not within.same or not torch.equal(within.rows, counts.long()):
        raise MeasurementError(
            "the second pass over the batches brought other features",
            where=where,
            expected="the same rows with the same labels",
            do="measure in eval mode, without augmentation, on a fixed set of rows",
        )

    if not bool(torch.isfinite(within.mahalanobis).all() & torch.isfinite(within.squares).all()):
        raise MeasurementError(
            "a ratio of noise to class means beyond double precision",
            where=where,
            got=f"class means of at most {(means.abs().amax() / unit).item():.3g}, noise whose square is infinite beside them",
            do="check the features: their classes do not differ",
        )

    n = counts.sum()
    weighted = within.mahalanobis.sum() / n
    if within.scatter is not None:
        # S_B over rows, in coordinates S^-1 V^T: n_c/n (U_c - u)(U_c - u)^T summed, u the mean over rows.
        share = counts / n
        U = head.corners - share @ head.corners
        weighted = torch.linalg.solve(C * U.T @ (share[:, None] * U), within.scatter / n).trace()
    norms, angles, gram = _simplex(M)
    norms_weight, angles_weight, gram_weight = _simplex(W)
    return Collapse(
        nc1=(within.mahalanobis.sum() / n).item(),
        nc1_balanced=(within.mahalanobis / counts).mean().item(),
        nc1_weighted=weighted.item(),
        nc1_ratio=(within.squares.sum() / n / (M.square().sum() / C)).item(),
        nc2_norms=norms,
        nc2_angles=angles,
        nc2_gram=gram,
        nc2_norms_weight=norms_weight,
        nc2_angles_weight=angles_weight,
        nc2_gram_weight=gram_weight,
        nc3=torch.linalg.norm(W / torch.linalg.norm(W) - M / torch.linalg.norm(M)).item(),
        nc3_gram=_from_frame(W @ M.T),
        nc4=(within.mismatches / n).item(),
        cdnv=_cdnv(M, within.squares / counts),
        simplex_fits=d >= C - 1,
        classes=C,
        imbalance=(counts.max() / counts.min()).item(),
    )


def _multiplied(batches: Batches, unit: float) -> Batches:
    """The features times a power of two, in float64."""

    def opened() -> Iterator[tuple[Tensor, Tensor]]:
        for features, labels in batches():
            yield features.detach().double() * unit, labels

    return opened


def _scaled_head(
    weight: Tensor, bias: Tensor | None, unit: float, where: str
) -> tuple[Tensor, Tensor | None]:
    """W in float64, times a power of two where its size asks for one, and the bias that belongs to W and to
    features times `unit`: all logits times one positive number, so the same decisions."""
    size = largest_entry(weight)
    factor = power_of_two(size)
    W = weight.detach().double() * factor
    if bias is None:
        return W, None
    offset = bias.detach().double() * unit * factor
    if not bool(torch.isfinite(offset).all()):
        raise MeasurementError(
            "logits and biases of sizes that double precision does not hold together",
            where=where,
            got=f"weights of at most {size:.3g}, biases of at most {largest_entry(bias):.3g}, "
            f"features near {1 / unit:.3g}",
            do="scale features, weights and biases together",
        )
    return W, offset


def _all_came(within: Within, counts: Tensor, where: str) -> None:
    """Rows that do not come again would be rows without noise: a perfect collapse."""
    seen, first = int(within.rows.sum()), int(counts.sum())
    if seen < first:
        raise MeasurementError(
            "a later pass over the batches brought fewer rows than the first",
            where=where,
            got=f"{seen} rows after {first}",
            expected="the same rows with the same labels in every pass",
            do="`batches` must open them anew on every call: return a new iterator each time, not one that is used up",
        )


def _simplex(rows: Tensor) -> tuple[float, float, float]:
    """Deviation of C vectors from equal norms, from equal, maximal angles, and from a frame's Gram matrix."""
    C = len(rows)
    norms = rows.norm(dim=1)
    unit = rows / norms[:, None]
    cosines = (unit @ unit.T)[~torch.eye(C, dtype=torch.bool, device=rows.device)]
    spread = norms.std(correction=0) / norms.mean()
    return spread.item(), (cosines + 1 / (C - 1)).abs().mean().item(), _from_frame(rows @ rows.T)


def _from_frame(inner: Tensor) -> float:
    C = len(inner)
    frame = (torch.eye(C, dtype=inner.dtype, device=inner.device) - 1 / C) / (C - 1) ** 0.5
    return float(torch.linalg.norm(inner / torch.linalg.norm(inner) - frame))


def _cdnv(M: Tensor, variance: Tensor) -> float:
    i, j = torch.triu_indices(len(M), len(M), offset=1, device=M.device)
    return ((variance[i] + variance[j]) / (2 * (M[i] - M[j]).square().sum(1))).mean().item()


def _apart(S: Tensor, rank: int, means: Tensor, where: str) -> None:
    # Means of n float64 sums of equal numbers were found exact to 1e-14 at n of 1e3 to 1e5, relative to the
    # features as they are: of constant ones that rounding alone would be a spread.
    largest = means.abs().amax()
    size = largest * (means / largest).norm() / len(means) ** 0.5 if largest > 0 else largest
    if not bool(S[rank - 1] > torch.maximum(1e-13 * S[0], 1e-12 * size)):
        raise MeasurementError(
            f"class means span fewer than {rank} dimensions: tr(S_W pinv(S_B)) has no value",
            where=where,
            got=f"singular values from {S[0].item():.3g} to {S[rank - 1].item():.3g}",
            do="check for a dead layer, or for classes that share every row",
        )
    # In fewer dimensions than a simplex needs they can span all and still coincide.
    M = (means - means.mean(0)) / S[0]
    apart = torch.nn.functional.pdist(M)
    if not bool((M.norm(dim=1) > 1e-12).all() & (apart > 1e-12).all()):
        raise MeasurementError(
            "class means that coincide with each other or with their mean have no angle or distance",
            where=where,
            got=f"least norm {M.norm(dim=1).min().item():.3g}, least distance {apart.min().item():.3g} of the largest extent",
            do="check for classes that share every row; with fewer features than classes use more features",
        )


def _distinct(M: Tensor, means: Tensor, where: str) -> None:
    """Raise where two of the centred means M coincide: which of them is the nearest would be chance."""
    largest = M.norm(dim=1).amax()
    # As in `_apart`: of constant features rounding alone would be a spread.
    least = torch.maximum(1e-12 * largest, 1e-12 * means.norm() / len(means) ** 0.5)
    lengths = M.square().sum(1)
    # Products lose half of the digits, so they only say which pairs to look at.
    rough = lengths[:, None] + lengths[None, :] - 2 * M @ M.T
    i, j = (rough <= 1e-12 * largest**2 + least**2).triu(1).nonzero().T
    same = (M[i] - M[j]).norm(dim=1) <= least
    if bool(same.any()):
        raise MeasurementError(
            "class means that coincide: which of them is the nearest would be chance",
            where=where,
            got=f"classes {i[same][0].item()} and {j[same][0].item()}, of {int(same.sum())} such pairs",
            do="check for a dead layer, or for classes that share every row",
        )


def _matching(
    where: str, features: Tensor, labels: Tensor | None, weight: Tensor, bias: Tensor | None
) -> None:
    good = features.ndim == 2 and weight.ndim == 2 and weight.shape[1] == features.shape[1] > 0
    good = good and (labels is None or labels.shape == features.shape[:1])
    good = good and not (features.is_complex() or weight.is_complex())
    if not (good and (bias is None or bias.shape == weight.shape[:1])):
        raise _mismatched(where, *(t for t in (features, labels, weight, bias) if t is not None))
    if labels is not None:
        _indices(where, labels)


def _indices(where: str, labels: Tensor) -> None:
    # uint8 and bool would select rows as masks do.
    if labels.dtype not in (torch.int32, torch.int64):
        raise MeasurementError(
            "labels are no indices of classes",
            where=where,
            got=str(labels.dtype),
            expected="int64 or int32",
            do="convert with .long()",
        )


def _mismatched(where: str, *tensors: Tensor) -> MeasurementError:
    return MeasurementError(
        "shapes do not match",
        where=where,
        got=str([list(t.shape) for t in tensors]),
        expected="real features [n, d], labels [n], weight [C, d], bias [C]",
    )
