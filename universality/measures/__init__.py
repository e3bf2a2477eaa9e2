"""Measures of networks as pure tensor mathematics; each imports alone, without the harness.

curvature       `HessianOperator`, `top_eigenvalues`, `spectral_density`, `hessian_trace`,
                `batch_sharpness`, `stability_threshold`, `preconditioner`; `check_hvp` tests a network
collapse        `neural_collapse`, `permuted_collapse`, `nearest_mean_mismatch`
similarity      `cka_matrix`, `StreamingCKA`, `mutual_knn_matrix`, `procrustes_distance`, `svcca`, `pwcca`,
                `rsa`; their nulls `cka_null`, `mutual_knn_null`, `max_cka_null`; `capture` of features
kernels         `empirical_ntk`, `kernel_distance`, `kernel_change`, `target_alignment`
grokking        `grokking_times`, `fragility`, `delay_summary`
spectra         `effective_rank`, `spectral_decay`, `fit_tail`
scaling laws    `fit_scaling`, `compare_scaling`, `log_slope`

Every function refuses input that would give a silent wrong number; estimates carry their error.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from universality.measures.batch_sharpness import BatchSharpness, batch_losses, batch_sharpness
from universality.measures.capture import capture
from universality.measures.cca import canonical_correlations, mean_cca, pwcca, svcca
from universality.measures.cka import biased_cka, cka_matrix, debiased_cka, gram
from universality.measures.collapse import (
    Collapse,
    Mismatch,
    batched_collapse,
    chance_nc1,
    class_means,
    nearest_mean_mismatch,
    neural_collapse,
    permuted_collapse,
)
from universality.measures.delays import DelaySummary, LogRank, delay_summary, permutation_logrank
from universality.measures.features import Null, isometric_compress, permutation_null, within_class
from universality.measures.grokking_times import (
    Fragility,
    GrokkingTimes,
    Thresholds,
    fragility,
    gap_area,
    grokking_times,
    sustained,
)
from universality.measures.hessian import HessianOperator
from universality.measures.hvp_check import HvpCheck, check_hvp
from universality.measures.kernels import (
    KernelEstimate,
    empirical_ntk,
    kernel_change,
    kernel_distance,
    pseudo_ntk,
    target_alignment,
    trace_ntk,
)
from universality.measures.lanczos import EigenResult, top_eigenvalues
from universality.measures.neighbours import (
    calibrated,
    mutual_knn,
    mutual_knn_matrix,
    nearest_neighbours,
    neighbour_overlap,
)
from universality.measures.nulls import (
    MaxNull,
    NullMatrix,
    cka_null,
    max_cka_null,
    max_knn_null,
    mutual_knn_null,
    neighbour_null,
)
from universality.measures.preserved import preserved
from universality.measures.procrustes import procrustes_distance, procrustes_similarity
from universality.measures.rsa import dissimilarities, rsa
from universality.measures.spectral_density import SpectralDensity, spectral_density
from universality.measures.stability import l2_decay, preconditioned, preconditioner, stability_threshold
from universality.measures.streaming import MinibatchCKA, StreamingCKA
from universality.measures.trace import TraceEstimate, hessian_trace

if TYPE_CHECKING:
    from universality.measures.scaling import ScalingComparison, ScalingFit, compare_scaling, fit_scaling
    from universality.measures.slopes import LogSlope, log_slope
    from universality.measures.spectra import (
        Decay,
        SampledSpectrum,
        effective_rank,
        participation_ratio,
        sampled_spectrum,
        spectral_decay,
        stable_rank,
    )
    from universality.measures.tails import Comparison, Tail, fit_tail

_NEED_SCIPY = {
    "slopes": ("LogSlope", "log_slope"),
    "scaling": ("ScalingComparison", "ScalingFit", "compare_scaling", "fit_scaling"),
    "spectra": (
        "Decay",
        "SampledSpectrum",
        "effective_rank",
        "participation_ratio",
        "sampled_spectrum",
        "spectral_decay",
        "stable_rank",
    ),
    "tails": ("Comparison", "Tail", "fit_tail"),
}
"""By module: loaded when first asked for, since training machines may have no scipy."""


def __getattr__(name: str) -> Any:
    for module, names in _NEED_SCIPY.items():
        if name in names:
            return getattr(import_module(f"universality.measures.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BatchSharpness",
    "Collapse",
    "Comparison",
    "Decay",
    "DelaySummary",
    "EigenResult",
    "Fragility",
    "GrokkingTimes",
    "HessianOperator",
    "HvpCheck",
    "KernelEstimate",
    "LogRank",
    "LogSlope",
    "MaxNull",
    "MinibatchCKA",
    "Mismatch",
    "Null",
    "NullMatrix",
    "SampledSpectrum",
    "ScalingComparison",
    "ScalingFit",
    "SpectralDensity",
    "StreamingCKA",
    "Tail",
    "Thresholds",
    "TraceEstimate",
    "batch_losses",
    "batch_sharpness",
    "batched_collapse",
    "biased_cka",
    "calibrated",
    "canonical_correlations",
    "capture",
    "chance_nc1",
    "check_hvp",
    "cka_matrix",
    "cka_null",
    "class_means",
    "compare_scaling",
    "debiased_cka",
    "delay_summary",
    "dissimilarities",
    "effective_rank",
    "empirical_ntk",
    "fit_scaling",
    "fit_tail",
    "fragility",
    "gap_area",
    "gram",
    "grokking_times",
    "hessian_trace",
    "isometric_compress",
    "kernel_change",
    "kernel_distance",
    "l2_decay",
    "log_slope",
    "max_cka_null",
    "max_knn_null",
    "mean_cca",
    "mutual_knn",
    "mutual_knn_matrix",
    "mutual_knn_null",
    "nearest_mean_mismatch",
    "nearest_neighbours",
    "neighbour_null",
    "neighbour_overlap",
    "neural_collapse",
    "participation_ratio",
    "permutation_logrank",
    "permutation_null",
    "permuted_collapse",
    "preconditioned",
    "preconditioner",
    "preserved",
    "procrustes_distance",
    "procrustes_similarity",
    "pseudo_ntk",
    "pwcca",
    "rsa",
    "sampled_spectrum",
    "spectral_decay",
    "spectral_density",
    "stability_threshold",
    "stable_rank",
    "sustained",
    "svcca",
    "target_alignment",
    "top_eigenvalues",
    "trace_ntk",
    "within_class",
]
