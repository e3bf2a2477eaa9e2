"""Sizes at which the cost of each measure is timed, by subject; `growth` times them."""

from .case import Growth
from .collapse import CASES as COLLAPSE
from .curvature import CASES as CURVATURE
from .kernels import CASES as KERNELS
from .numbers import CASES as NUMBERS
from .rows import CASES as ROWS
from .similarity import CASES as SIMILARITY
from .solvable import CASES as SOLVABLE
from .spectra import CASES as SPECTRA

CASES: tuple[Growth, ...] = (
    *CURVATURE,
    *COLLAPSE,
    *SIMILARITY,
    *ROWS,
    *KERNELS,
    *SPECTRA,
    *NUMBERS,
    *SOLVABLE,
)
