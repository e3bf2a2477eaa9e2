"""The algebraically largest eigenvalues of a symmetric operator that is known only by its products.

d: dimension. k: wanted eigenpairs. m: vectors of a warm start. j: size of the basis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError

Product = Callable[[Tensor], Tensor]

DENSE_DIM = 20
"""Up to here the matrix is formed: as cheap, and exact."""
WARM = 5
"""Ritz vectors beyond the wanted that a warm start hands on: eigenvectors about to cross are among them."""
BASIS = 24
"""Vectors kept before a restart."""
CONFIRMATIONS = 4
"""Products of the random vector's Krylov chain that every settled result must survive."""
CONFIRMATIONS_WIDE = 2
"""The same from a start of k + WARM vectors, which loses a leading eigenvector far less easily."""


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

    The basis begins with `start`, if any, and random vectors (k without a start, one with). It
    grows by the residual of the first Ritz pair that is not settled, which from a single vector is
    exactly Lanczos, and by a few products of the Krylov chain of the last random vector: before
    the residuals from a warm start, after all is settled from a cold one. Eigenvectors that a start
    has lost, or that hide in a cluster, show there. The test follows every product. Like any such
    method it can still take a neighbour in a cluster for the top, `converged` and with an estimate
    that does not know of it: of 480 warm starts whose three leading eigenvalues, 1e-4 to 1 apart and each
    moved by 2 % a step, changed places, 4 did, by 0.06 to 3 %. Audit long warm chains by cold starts.

    Args:
        matvec: v [d] -> A v [d], linear and symmetric.
        start: earlier eigenvectors; need not be orthonormal.
        generator: of the random vectors. None is a fixed seed; the global state is never touched.
        tolerance: on error_estimates / |value|.
        dtype: of the vectors; the projected matrix is float64 always.

    Returns:
        values, residuals and error_estimates float64 on the CPU; vectors, and the `subspace` of
        k + 5 leading Ritz vectors for the next start, as `dtype` on `device`.

    Cost: about 12 products for Hessians of networks from the `subspace` of one nearby, about 20 cold; beside each,
    O(d) for every vector of the basis, of which there are up to 24 (more for many values). Memory: twice
    that many vectors.

    Raises:
        MeasurementError: impossible sizes, a dtype that is not real floating point, or a product that is not finite or not like its vector.

    Source: Wu and Simon 2000 (thick restart); Morgan and Scott 1986 (residual expansion).

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
    generator = generator or torch.Generator().manual_seed(0)
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

    first = [] if start is None else list(start.detach().to(device, dtype).T)
    for vector in [*first, *(draw() for _ in range(1 if first else k))]:
        if basis.products < max_matvecs:
            basis.extend(vector)
    chain, confirmed = basis.size - 1, 0
    needed = CONFIRMATIONS_WIDE if warm >= k + WARM else CONFIRMATIONS
    while basis.products < max_matvecs and basis.size < dim:
        if basis.size == capacity:
            basis.restart(k + capacity // 3)
            chain = -1
        unsettled = basis.unsettled(k, tolerance)
        if unsettled is None and confirmed >= needed:
            break
        # From a warm start the random chain grows first, so that the residuals already see what it brings;
        # from a random start it is the whole basis, and the count starts anew at every upset.
        on_chain = chain >= 0 and (unsettled is None or (bool(first) and confirmed < needed))
        if not basis.extend(basis.images[chain] if on_chain else basis.residual(unsettled or 0)):
            basis.extend(draw())  # an invariant subspace: only chance leads out of it
            chain = basis.size - 1
        elif on_chain or not first:
            chain = basis.size - 1
        if on_chain or unsettled is None:
            confirmed += 1
        elif not first:
            confirmed = 0
    return basis.result(k, tolerance, confirmed=confirmed >= needed)


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
        self.projected = torch.zeros(capacity, capacity, dtype=torch.float64)
        self.size = 0
        self.products = 0
        self.eps = torch.finfo(dtype).eps
        self.asymmetry = 0.0

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
            raise MeasurementError(
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
        # A Ritz value that has not settled lies below its eigenvalue, by at most its residual, so the
        # plain difference would overstate the gap; half the residual is what tracking networks needed.
        near = min(k + 1, self.size)
        residuals = torch.stack([safe_norm(self.residual(i)) for i in range(near)]).to("cpu", torch.float64)
        values = self.values[:near]
        gaps = (values[:k, None] - values[None, :]).abs() - residuals[None, :] / 2
        gaps[range(k), range(k)] = torch.inf
        gap = gaps.amin(1) if near > 1 else torch.zeros(k, dtype=torch.float64)
        residuals = residuals[:k]
        squared = torch.where(gap > residuals, residuals**2 / gap, torch.inf)
        return residuals, torch.minimum(residuals, squared)

    def settled(self, errors: Tensor, tolerance: float) -> Tensor:
        """Which error estimates suffice [k]; below the rounding of the products none can."""
        rounding = 10 * self.eps * self.values.abs().max()
        return errors <= torch.maximum(tolerance * self.values[: len(errors)].abs(), rounding)

    def rounding(self) -> float:
        """What the products' rounding leaves uncertain in every value."""
        return float(10 * self.eps * self.values.abs().max()) + 3 * self.asymmetry

    def unsettled(self, k: int, tolerance: float) -> int | None:
        """The first of the k leading pairs that is not settled."""
        settled = self.settled(self.errors(min(k, self.size))[1], tolerance)
        if not bool(settled.all()):
            return int((~settled).int().argmax())
        return None if self.size >= k else 0

    def restart(self, keep: int) -> None:
        """Keep the leading Ritz vectors only."""
        Y = self.coordinates[:, :keep].T.to(self.rows)
        self.rows[:keep], self.images[:keep] = Y @ self.rows[: self.size], Y @ self.images[: self.size]
        self.projected.zero_()
        self.projected[range(keep), range(keep)] = self.values[:keep]
        self.size = keep
        self._solve()

    def result(self, k: int, tolerance: float, *, confirmed: bool) -> EigenResult:
        residuals, errors = self.errors(k)
        if self.size == self.rows.shape[1]:
            errors, confirmed = torch.zeros_like(errors), True  # nothing is left outside the basis
        wide = min(k + WARM, self.size)
        converged = confirmed and bool(self.settled(errors, tolerance).all())
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
