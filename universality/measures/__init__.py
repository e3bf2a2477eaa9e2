"""Measures of networks as pure tensor mathematics; each imports alone, without the harness.

curvature       `HessianOperator`, `top_eigenvalues`, `spectral_density`, `hessian_trace`,
                `central_flow`, `batch_sharpness`, `stability_threshold`, `preconditioner`; `check_hvp` tests a network;
                `gradient_noise_scale`
connectivity    `error_barrier`, along the line between two networks; `match_weights`, `permute_units`
collapse        `neural_collapse`, `permuted_collapse`, `nearest_mean_mismatch`
similarity      `cka_matrix`, `StreamingCKA`, `mutual_knn_matrix`, `procrustes_distance`, `svcca`, `pwcca`,
                `rsa`; `error_consistency`, `wrong_alike`; their nulls `cka_null`, `mutual_knn_null`, `max_cka_null`; `capture` of features
kernels         `empirical_ntk`, `kernel_distance`, `kernel_change`, `target_alignment`
feature ansatz  `feature_matrices`, `traceless_cosine`
grokking        `grokking_times`, `fragility`, `delay_summary`
spectra         `effective_rank`, `spectral_decay`, `fit_tail`
solvable        `mode_strengths`, `passage_times` of linear networks; `eigenlearning_error`,
                `kernel_regression_error`; `random_feature_errors`
scaling laws    `fit_scaling`, `compare_scaling`, `log_slope`, `smooth_minimum`; `critical_batch_size`

Every function refuses input that would give a silent wrong number; estimates carry their error.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # names: __init__.pyi
