"""Measures of networks as pure tensor mathematics; each imports alone, without the harness.

Curvature: `HessianOperator`, `top_eigenvalues`, `stability_threshold`, `preconditioner`.
Collapse of the last layer: `neural_collapse`. Similarity of representations: `debiased_cka`,
`cka_matrix`, `mutual_knn`.
"""

from universality.measures.cka import biased_cka, cka_matrix, debiased_cka, gram
from universality.measures.collapse import Collapse, neural_collapse, permuted_collapse
from universality.measures.features import Null, isometric_compress, permutation_null, within_class
from universality.measures.hessian import HessianOperator
from universality.measures.lanczos import EigenResult, top_eigenvalues
from universality.measures.neighbours import calibrated, mutual_knn, nearest_neighbours, neighbour_overlap
from universality.measures.preserved import preserved
from universality.measures.stability import l2_decay, preconditioned, preconditioner, stability_threshold

__all__ = [
    "Collapse",
    "EigenResult",
    "HessianOperator",
    "Null",
    "biased_cka",
    "calibrated",
    "cka_matrix",
    "debiased_cka",
    "gram",
    "isometric_compress",
    "l2_decay",
    "mutual_knn",
    "nearest_neighbours",
    "neighbour_overlap",
    "neural_collapse",
    "permutation_null",
    "permuted_collapse",
    "preconditioned",
    "preconditioner",
    "preserved",
    "stability_threshold",
    "top_eigenvalues",
    "within_class",
]
