"""The whole spectrum of a symmetric operator by stochastic Lanczos quadrature.

d: dimension. p: probe vectors. m: Lanczos steps. g: grid points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.curvature.lanczos import check_dtype, checked_image, safe_norm


@dataclass(frozen=True, slots=True, eq=False)
class SpectralDensity:
    """Per probe vector a discrete measure of unit mass, whose mean over probes is the spectrum's.

    The spectrum is the measure (1/d) sum_i delta(lambda - lambda_i). For a probe v its Gauss
    quadrature sum_k weights[v, k] f(nodes[v, k]) equals v^T f(A) v / |v|^2 for every polynomial f
    of degree up to 2m - 1; its expectation is (1/d) tr f(A). Where a probe's Krylov space ended
    early its row is padded with nodes of weight 0.

    Every figure is the mean over probes and comes with the standard error of that mean, which
    holds the noise of the probes but not the error of the quadrature (for f not a polynomial).

    `matvecs` is the number of products spent.
    """

    nodes: Float[Tensor, "p m"]
    weights: Float[Tensor, "p m"]
    dim: int
    matvecs: int

    @measure
    def density(
        self, grid: Float[Tensor, " g"], width: float
    ) -> tuple[Float[Tensor, " g"], Float[Tensor, " g"]]:
        """The density at `grid`, smoothed by a Gaussian of standard deviation `width`: mean, standard error.

        Its integral is 1. An eigenvalue alone is a bump of height 1 / (d width sqrt(2 pi)). Lines
        finer than about (lambda_max - lambda_min) / m are the quadrature's, not the spectrum's.

        Raises:
            MeasurementError: a width that is not positive, a grid that is not finite.
        """
        _on_grid(grid, "SpectralDensity.density")
        if not (width > 0 and math.isfinite(width)):
            raise MeasurementError(
                "a kernel needs a positive width", where="SpectralDensity.density", got=str(width)
            )
        distance = (grid.to(self.nodes)[:, None, None] - self.nodes) / width
        kernel = torch.exp(-0.5 * distance**2) / (width * math.sqrt(2 * math.pi))
        return _over_probes((kernel * self.weights).sum(-1))

    @measure
    def cumulative(self, grid: Float[Tensor, " g"]) -> tuple[Float[Tensor, " g"], Float[Tensor, " g"]]:
        """Share of eigenvalues at or below each point of `grid`: mean, standard error.

        The quadrature is within the mass of one node of the probe's true measure
        (Chebyshev, Markov, Stieltjes).

        Raises:
            MeasurementError: a grid that is not finite.
        """
        _on_grid(grid, "SpectralDensity.cumulative")
        below = self.nodes <= grid.to(self.nodes)[:, None, None]
        return _over_probes((below * self.weights).sum(-1))

    @measure
    def moment(self, power: int) -> tuple[float, float]:
        """(1/d) tr A^power: mean, standard error. Exact for each probe up to power 2m - 1.

        `moment(1)` times `dim` is the trace, `moment(2)` times `dim` the squared Frobenius norm.

        Raises:
            MeasurementError: a power that is negative or no integer, or whose moment leaves the range
                of float64.
        """
        if not isinstance(power, int) or power < 0:
            raise MeasurementError(
                "a moment needs an integer power of at least 0",
                where="SpectralDensity.moment",
                got=str(power),
            )
        mean, error = _over_probes((self.weights * self.nodes**power).sum(-1)[None])
        if not bool(torch.isfinite(mean) & torch.isfinite(error)):
            raise MeasurementError(
                "a moment that float64 cannot hold",
                where="SpectralDensity.moment",
                got=f"power {power} of eigenvalues up to {self.nodes.abs().max().item():.3g}",
                do="scale the operator",
            )
        return mean.item(), error.item()


@measure
def spectral_density(
    matvec: Callable[[Tensor], Tensor],
    dim: int,
    *,
    probes: int = 10,
    order: int = 80,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SpectralDensity:
    """Stochastic Lanczos quadrature with full reorthogonalisation.

    From each of `probes` Gaussian vectors, normalised, `order` Lanczos steps give a tridiagonal T;
    its eigenvalues are the nodes, and the squared first entries of its eigenvectors the weights.

    Args:
        matvec: v [d] -> A v [d], linear and symmetric.
        generator: of the probes. None is a fixed seed; the global state is never touched.
        dtype: of the vectors. T and the result are float64, the result on the CPU.

    Cost: probes min(order, dim) products; beside them 4 dim order^2 operations for each probe. Memory: order + 3
    vectors.

    Raises:
        MeasurementError: fewer than 2 probes (no standard error), an order below 1, a dtype that is not real
            floating point, a product that is not finite or not like its vector, or an operator that is
            not symmetric.

    Source: Ghorbani, Krishnan and Xiao 2019, arXiv:1901.10159; Papyan 2018, arXiv:1811.07062;
    Golub and Welsch 1969.

    >>> spectrum = torch.tensor([1.0, 1.0, 4.0])
    >>> found = spectral_density(lambda v: spectrum * v, 3, probes=500)
    >>> mean, error = found.moment(1)  # (1 + 1 + 4) / 3
    >>> abs(mean - 2) < 4 * error, round(found.moment(0)[0], 6)
    (True, 1.0)
    """
    check_dtype(dtype, "spectral_density")
    if probes < 2 or order < 1 or dim < 1:
        raise MeasurementError(
            "a spectral density of impossible size",
            where="spectral_density",
            got=f"probes={probes}, order={order}, dim={dim}",
            expected="probes >= 2, order >= 1, dim >= 1",
        )
    generator = generator or torch.Generator("cpu").manual_seed(0)
    steps = min(order, dim)
    nodes = torch.zeros(probes, steps, dtype=torch.float64, device="cpu")
    weights = torch.zeros_like(nodes)
    matvecs = 0
    for p in range(probes):
        probe = torch.randn(dim, generator=generator, device=generator.device, dtype=dtype).to(device)
        diagonal, off = _lanczos(matvec, probe, steps)
        matvecs += len(diagonal)
        T = torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(T)
        nodes[p, : len(values)], weights[p, : len(values)] = values, vectors[0] ** 2
    return SpectralDensity(nodes, weights, dim, matvecs)


def _lanczos(
    matvec: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m-1"]]:
    """Diagonal and off-diagonal of T, float64 on the CPU; shorter than `steps` in an invariant subspace."""
    eps = torch.finfo(start.dtype).eps
    Q = torch.zeros(steps, len(start), dtype=start.dtype, device=start.device)
    Q[0] = start / safe_norm(start)
    diagonal: list[float] = []
    off: list[float] = []
    for j in range(steps):
        image = matvec(Q[j].clone())  # it may work in place
        image = checked_image(image, Q[j], f"spectral_density, step {j + 1}")
        diagonal.append((Q[j] @ image).item())
        size = safe_norm(image).item()
        if not math.isfinite(size):
            raise NotFinite(
                "a product that is not finite",
                where=f"spectral_density, step {j + 1}",
                got="NaN or infinity",
                expected="finite parameters, loss and second derivatives",
            )
        # q_{j-1} . A q_j is beta_{j-1} = q_j . A q_{j-1} of a symmetric A, up to rounding.
        scale = max([size, *map(abs, diagonal), *off])
        if j and abs((Q[j - 1] @ image).item() - off[-1]) > max(1e-2, 100 * eps) * scale:
            raise MeasurementError(
                "an operator that is not symmetric has no such spectrum",
                where=f"spectral_density, step {j + 1}",
                got=f"q_i . A q_j = {(Q[j - 1] @ image).item():.4g}, q_j . A q_i = {off[-1]:.4g}",
                do="check the products with check_hvp",
            )
        if j + 1 == steps:
            break
        for _ in range(2):  # twice is enough (Kahan; Parlett 1980)
            image = image - Q[: j + 1].T @ (Q[: j + 1] @ image)
        beta = safe_norm(image).item()
        # What rounding leaves of a vector that lies in the basis is no direction.
        if beta <= 100 * eps * max(size, max(map(abs, diagonal))):
            break
        off.append(beta)
        Q[j + 1] = image / beta
    found = torch.tensor([*diagonal, *off], dtype=torch.float64, device="cpu")
    return found[: len(diagonal)], found[len(diagonal) :]


def _on_grid(grid: Tensor, where: str) -> None:
    if not bool(torch.isfinite(grid).all()):
        raise MeasurementError("a grid that is not finite", where=where, got="NaN or infinity")


def _over_probes(values: Float[Tensor, "g p"]) -> tuple[Float[Tensor, " g"], Float[Tensor, " g"]]:
    return values.mean(1), values.std(1) / math.sqrt(values.shape[1])
