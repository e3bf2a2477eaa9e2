"""The algebraically largest eigenvalues of a symmetric operator that is known only by its products.

d: dimension. k: wanted eigenpairs. m: vectors of a warm start. j: size of the basis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure

Product = Callable[[Tensor], Tensor]

DENSE_DIM = 20
"""Up to here the matrix is formed: as cheap, and exact."""
WARM = 5
"""Ritz vectors beyond the wanted that a warm start hands on: eigenvectors about to cross are among them."""
BASIS = 24
"""Vectors kept before a restart."""
UNSEEN = 0.02
"""Largest probability, over the random vectors, with which a larger eigenvalue may have stayed unseen."""
UNSEEN_BESIDE = 0.3
"""The same beside a start that was no invariant subspace, so that its residuals lead to what it has lost."""


@dataclass(frozen=True, slots=True, eq=False)
class EigenResult:
    """Eigenpairs, largest first, and how far they can be trusted.

    `residuals` are |A v - value v|; an eigenvalue lies within each. `error_estimates` are
    min(residual, residual^2 / gap), the gap being to the nearest other Ritz value, plus what the
    rounding of the products leaves uncertain, measured as the asymmetry |q_i A q_j - q_j A q_i| that
    they show: an estimate, not a bound. No verdict should rest on a result that is not `converged`:
    products too coarse or too asymmetric for the tolerance are not, however small the residuals.
    """

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, "d k"]
    subspace: Float[Tensor, "d m"]
    residuals: Float[Tensor, " k"]
    error_estimates: Float[Tensor, " k"]
    matvecs: int
    converged: bool


@measure
def top_eigenvalues(
    matvec: Product,
    dim: int,
    k: int = 1,
    *,
    start: Float[Tensor, "d m"] | None = None,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-3,
    max_matvecs: int = 200,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> EigenResult:
    """Thick-restart Lanczos with full reorthogonalisation and an optional block warm start.

    The basis begins with `start`, if any, and random vectors (k without a start, one with). From random vectors
    alone it grows by the residual of the first Ritz pair that is not settled, which from a single one is exactly
    Lanczos. Beside a start the Krylov chain of the random vector grows first, then residuals. A pair is settled
    where its error estimate is within the tolerance and a larger eigenvalue is unlikely to have stayed unseen:
    j Lanczos steps from a random unit vector v lead on to the vector p(A) v of norm 1,

        p(t) = prod_i (t - theta_i) / prod_i beta_i,

    so that the eigenvector u of an eigenvalue t has |u.v| <= 1 / |p(t)|. For a random v that has a probability of
    at most sqrt(2 d / pi) / |p(t)|. Beyond the largest Ritz value theta, of residual r and vector y,
    |p(t)| >= (t - theta) / (r |y.v|). At t = theta + tolerance |theta| the probability is asked to be at most 2 %.
    Beside a start p is that of the chain, and 30 % suffice: its residuals lead to most of what it has lost,
    unless it is an invariant subspace, of which 2 % are asked as well. A chain that fills the basis without an
    answer is given up for a cold start.

    What remains, measured at the tolerance of 1e-3: `converged` and off by more were 2 of 400 cold starts on spectra
    without gaps (uniform, its square, semicircle, Marchenko-Pastur; 200 to 300 values), and 0 of 100 on spectra like
    those of networks; of starts that had lost one to three leading eigenvectors, 0 of 240 within an invariant
    subspace and 19 of 120 where the operator had moved by 1 % since. Along trainings, where a start seldom
    loses one, none of 200. The bound is of one vector and one eigenvalue: with k > 1 it is a guide. Audit
    long warm chains by cold starts.

    Args:
        matvec: v [d] -> A v [d], linear and symmetric.
        start: earlier eigenvectors; need not be orthonormal.
        generator: of the random vectors. None is a fixed seed; the global state is never touched.
        tolerance: on error_estimates / |value|.
        dtype: of the vectors; the projected matrix is float64 always.

    Returns:
        values, residuals and error_estimates float64 on the CPU; vectors, and the `subspace` of
        k + 5 leading Ritz vectors for the next start, as `dtype` on `device`.

    Cost: about 12 products for Hessians of networks from the `subspace` of one nearby, about 20 cold, and 30 to 110
    without gaps; beside each,
    O(d) for every vector of the basis, of which there are up to 24 (more for many values). Memory: twice
    that many vectors.

    Raises:
        MeasurementError: impossible sizes, a dtype that is not real floating point, or a product that is not finite or not like its vector.

    Source: Wu and Simon 2000 (thick restart); Morgan and Scott 1986 (residual expansion); van Dorsselaer, Hochstenbach
    and van der Vorst 2000 (the probability from p).

    >>> result = top_eigenvalues(lambda v: torch.arange(100.0) * v, 100, k=2)
    >>> [round(value, 2) for value in result.values.tolist()], result.converged
    ([99.0, 98.0], True)
    """
    check_dtype(dtype, "top_eigenvalues")
    fits = start is None or (start.ndim == 2 and start.shape[0] == dim)
    if not 1 <= k <= min(dim, max_matvecs) or not fits or not tolerance > 0:
        raise MeasurementError(
            "an eigenvalue problem of impossible size",
            where="top_eigenvalues",
            got=f"k={k}, dim={dim}, max_matvecs={max_matvecs}, tolerance={tolerance}"
            + ("" if start is None else f", start {list(start.shape)}"),
            expected="1 <= k <= min(dim, max_matvecs), tolerance > 0, start [dim, m]",
        )
    generator = generator or torch.Generator("cpu").manual_seed(0)
    warm = 0 if start is None else start.shape[1]
    capacity = min(dim, max(BASIS, 2 * k + 12, warm + 12))
    basis = _Basis(matvec, dim, capacity, torch.device(device), dtype)

    def draw() -> Tensor:
        noise = torch.randn(dim, generator=generator, device=generator.device, dtype=dtype)
        return noise.to(device)

    if dim <= min(DENSE_DIM, max_matvecs):
        for unit in torch.eye(dim, dtype=dtype, device=device):
            basis.extend(unit)
        return basis.result(k, tolerance, confirmed=True)

    def cold() -> EigenResult:
        spent = basis.products
        found = top_eigenvalues(
            matvec,
            dim,
            k,
            generator=generator,
            tolerance=tolerance,
            max_matvecs=max_matvecs - spent,
            dtype=dtype,
            device=device,
        )
        return replace(found, matvecs=found.matvecs + spent)

    def load(vectors: Iterable[Tensor]) -> None:
        for vector in vectors:
            if basis.products < max_matvecs:
                basis.extend(vector)

    if start is not None:
        load(start.detach().to(device, dtype).T)
    held = basis.size
    limit = UNSEEN if not held or basis.invariant() else UNSEEN_BESIDE
    load(draw() for _ in range(1 if held else k))
    if not held:
        basis.begun = torch.eye(basis.size, dtype=torch.float64, device="cpu")
    confirmed = not held
    while basis.products < max_matvecs and basis.size < dim:
        confirmed = confirmed or basis.unseen(held, k, tolerance) <= limit
        unsettled = basis.unsettled(k, tolerance)
        if unsettled is None and confirmed:
            break
        if basis.size == capacity:
            if not confirmed and max_matvecs - basis.products >= k:
                return cold()
            basis.restart(k + capacity // 3)
        # The random chain grows first, so that the residuals already see what it brings.
        if not basis.extend(basis.residual(unsettled or 0) if confirmed else basis.images[basis.size - 1]):
            basis.extend(draw())  # an invariant subspace: only chance leads out of it
    return basis.result(k, tolerance, confirmed=confirmed)


def check_dtype(dtype: torch.dtype, where: str) -> None:
    """Raise unless vectors of this dtype are real: of complex ones the products lack a conjugate.

    >>> check_dtype(torch.float64, "")
    """
    if dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise MeasurementError(
            "vectors of a dtype that is not real floating point",
            where=where,
            got=str(dtype),
            expected="float32 or float64, or half precision",
            do="pass the dtype of the parameters; for a complex Hermitian operator its real form of twice the size",
        )


def checked_image(image: Tensor, vector: Tensor, where: str) -> Tensor:
    """The product of a vector, if it has its size and precision: torch would broadcast or round another.

    >>> checked_image(torch.ones(2), torch.zeros(2), "").tolist()
    [1.0, 1.0]
    """
    if image.shape != vector.shape or image.dtype != vector.dtype:
        raise MeasurementError(
            "a product of another size or precision than its vector",
            where=where,
            got=f"{list(image.shape)} {image.dtype}",
            expected=f"{list(vector.shape)} {vector.dtype}",
            do="pass the dtype of the operator as dtype=, and return A v as [d]",
        )
    return image


def safe_norm(vector: Float[Tensor, " d"]) -> Float[Tensor, ""]:
    """|vector|, also where the squares of its entries leave the range of the dtype.

    Equal to `vector.norm()` to the last bit between 1e-12 and 1e12.

    >>> f"{safe_norm(torch.tensor([3e-25, 4e-25])).item():.3g}"
    '5e-25'
    """
    norm: Tensor = vector.norm()
    if 1e-12 < norm < 1e12:
        return norm
    size = vector.abs().max()
    return size * (vector / size).norm() if size > 0 else size


class _Basis:
    """An orthonormal basis Q (as rows), its images A Q, and the projected matrix Q A Q^T."""

    def __init__(
        self, matvec: Product, dim: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.matvec = matvec
        self.rows = torch.zeros(capacity, dim, dtype=dtype, device=device)
        self.images = torch.zeros_like(self.rows)
        self.projected = torch.zeros(capacity, capacity, dtype=torch.float64, device="cpu")
        self.size = 0
        self.products = 0
        self.eps = torch.finfo(dtype).eps
        self.asymmetry = 0.0
        self.begun: Tensor | None = None
        """Of a cold start, coordinates of its random vectors [k, basis], however often it was restarted."""

    def extend(self, vector: Tensor) -> bool:
        """Add the part of `vector` outside the basis; False where there is none."""
        Q = self.rows[: self.size]
        vector = vector / safe_norm(vector).clamp_min(torch.finfo(vector.dtype).tiny)
        for _ in range(2):  # twice is enough (Kahan; Parlett 1980)
            vector = vector - Q.T @ (Q @ vector)
        norm = vector.norm()
        if not norm > 100 * self.eps:
            return False
        vector = vector / norm
        vector = vector - Q.T @ (Q @ vector)
        vector = vector / vector.norm()
        image = self.matvec(vector.clone())  # it may work in place
        image = checked_image(image, vector, f"top_eigenvalues, product {self.products + 1}")
        self.products += 1
        j = self.size
        self.rows[j], self.images[j], self.size = vector, image, j + 1
        column = (self.rows[: j + 1] @ image).to("cpu", torch.float64)
        if not bool(torch.isfinite(column).all()):
            raise NotFinite(
                "a product that is not finite",
                where=f"top_eigenvalues, product {self.products}",
                got="NaN or infinity",
                expected="finite parameters, loss and second derivatives",
            )
        # What should be equal, q_i . A q_j and q_j . A q_i, differs by the rounding of the products.
        other = (self.images[:j] @ vector).to("cpu", torch.float64)
        if j:
            self.asymmetry = max(self.asymmetry, (column[:j] - other).abs().max().item())
        self.projected[j, : j + 1] = column
        self.projected[: j + 1, j] = column
        self._solve()
        return True

    def _solve(self) -> None:
        values, coordinates = torch.linalg.eigh(self.projected[: self.size, : self.size])
        self.values, self.coordinates = values.flip(0), coordinates.flip(1)

    def residual(self, i: int) -> Tensor:
        y = self.coordinates[:, i].to(self.rows)
        image, vector = y @ self.images[: self.size], y @ self.rows[: self.size]
        residual: Tensor = image - self.values[i].item() * vector
        return residual

    def errors(self, k: int) -> tuple[Tensor, Tensor]:
        """Residual norms [k] and error estimates [k]."""
        # A Ritz value that has not settled lies below its eigenvalue, by at most its residual, so the plain
        # difference would overstate the gap.
        near = min(k + 1, self.size)
        residuals = torch.stack([safe_norm(self.residual(i)) for i in range(near)]).to("cpu", torch.float64)
        values = self.values[:near]
        gaps = (values[:k, None] - values[None, :]).abs() - residuals[None, :]
        gaps[range(k), range(k)] = torch.inf
        gap = gaps.amin(1) if near > 1 else torch.zeros_like(residuals[:k])
        residuals = residuals[:k]
        squared = torch.where(gap > residuals, residuals * (residuals / gap), torch.inf)
        return residuals, torch.minimum(residuals, squared)

    def doubts(self, k: int) -> Tensor:
        """Error estimates [k], or what a larger eigenvalue lies above if it has the probability `UNSEEN`."""
        residuals, errors = self.errors(k)
        if self.begun is None:
            return errors
        weights = (self.begun @ self.coordinates[: self.begun.shape[1], :k]).norm(dim=0)
        above = residuals * weights * self.chance() / UNSEEN
        return torch.maximum(errors, torch.where(residuals > self.floor(), above, 0.0))

    def chance(self) -> float:
        """P(|u.v| < x) / x of a random unit vector v, for small x."""
        return math.sqrt(2 * self.rows.shape[1] / math.pi)

    def floor(self) -> float:
        """Below the rounding of the products no residual can be told from 0."""
        return float(10 * self.eps * self.values.abs().max())

    def invariant(self) -> bool:
        """Whether products stay in the basis, up to rounding."""
        return bool((self.errors(self.size)[0] <= 10 * self.floor()).all())

    def unseen(self, first: int, k: int, tolerance: float) -> float:
        """Probability at most that the chain in the rows from `first` on has missed a larger eigenvalue."""
        Q, last = self.rows[: self.size], self.images[self.size - 1]
        onward = safe_norm(last - (Q @ last) @ Q).item()
        T = self.projected[first : self.size, first : self.size]
        value = self.values[min(k, self.size) - 1]
        distances = value + tolerance * value.abs() - torch.linalg.eigvalsh(T)
        if onward <= self.floor():
            return 0.0
        if not bool((distances > 0).all()):
            return 1.0
        norms = torch.cat([T.diagonal(1).abs(), torch.full_like(T[0, :1], onward)]).clamp_min(self.floor())
        return self.chance() * math.exp(min((norms.log() - distances.log()).sum().item(), 0.0))

    def settled(self, errors: Tensor, tolerance: float) -> Tensor:
        """Which error estimates suffice [k]; below the rounding of the products none can."""
        enough: Tensor = (tolerance * self.values[: len(errors)].abs()).clamp_min(self.floor())
        return errors <= enough

    def rounding(self) -> float:
        """What the products' rounding leaves uncertain in every value."""
        return self.floor() + 3 * self.asymmetry

    def unsettled(self, k: int, tolerance: float) -> int | None:
        """The first of the k leading pairs that is not settled."""
        settled = self.settled(self.doubts(min(k, self.size)), tolerance)
        if not bool(settled.all()):
            return int((~settled).int().argmax())
        return None if self.size >= k else 0

    def restart(self, keep: int) -> None:
        """Keep the leading Ritz vectors only."""
        Y = self.coordinates[:, :keep].T.to(self.rows)
        self.rows[:keep], self.images[:keep] = Y @ self.rows[: self.size], Y @ self.images[: self.size]
        self.projected.zero_()
        self.projected[range(keep), range(keep)] = self.values[:keep]
        if self.begun is not None:
            self.begun = self.begun @ self.coordinates[: self.begun.shape[1], :keep]
        self.size = keep
        self._solve()

    def result(self, k: int, tolerance: float, *, confirmed: bool) -> EigenResult:
        residuals, errors = self.errors(k)
        converged = confirmed and bool(self.settled(self.doubts(k), tolerance).all())
        if self.size == self.rows.shape[1]:
            errors, converged = torch.zeros_like(errors), True  # nothing is left outside the basis
        wide = min(k + WARM, self.size)
        errors = errors + self.rounding()
        # Rounding as of float32 or finer is no reason to doubt; that of coarser dtypes is.
        usual = 100 * min(self.eps, torch.finfo(torch.float32).eps) * self.values.abs().max()
        converged = converged and bool(
            (errors <= torch.maximum(tolerance * self.values[:k].abs(), usual)).all()
        )
        subspace = (self.coordinates[:, :wide].T.to(self.rows) @ self.rows[: self.size]).T
        return EigenResult(
            self.values[:k].clone(), subspace[:, :k], subspace, residuals, errors, self.products, converged
        )
