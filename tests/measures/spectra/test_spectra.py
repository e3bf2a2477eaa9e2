"""Spectra against closed forms, slow twins and simulated coverage."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.measures.simulated import assert_covers
from universality.errors import MeasurementError
from universality.measures.spectra.spectra import (
    effective_rank,
    participation_ratio,
    sampled_spectrum,
    spectral_decay,
    stable_rank,
)
from universality.measures.spectra.tails import fit_tail


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_ranks_of_a_known_spectrum():
    s = torch.tensor([4.0, 2.0, 1.0, 1.0, 0.0])
    # p = 1/2, 1/4, 1/8, 1/8: entropy 1.75 ln 2
    assert effective_rank(s) == pytest.approx(2**1.75)
    assert participation_ratio(s) == pytest.approx(64 / 22)
    assert stable_rank(s) == pytest.approx(22 / 16)
    assert participation_ratio(torch.diag(s)) == pytest.approx(22**2 / (256 + 16 + 2))  # of squares


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.integers(1, 6), st.integers(1, 6))
def test_ranks_ignore_rotation_scale_and_transposition_and_keep_their_order(seed, scale, n, d):
    X = normal(n, d, seed=seed)
    Q, R = torch.linalg.qr(normal(n, n, seed=seed + 1))[0], torch.linalg.qr(normal(d, d, seed=seed + 2))[0]
    for rank in (effective_rank, participation_ratio, stable_rank):
        assert rank(scale * (Q @ X @ R).T) == pytest.approx(rank(X), rel=1e-6)
        assert 1 - 1e-9 <= rank(X) <= min(n, d) + 1e-9
    squares = torch.linalg.svdvals(X).square()
    # Renyi entropies of l fall with their order: 1, 2, infinity
    assert effective_rank(squares) >= participation_ratio(X) - 1e-9
    assert participation_ratio(X) >= stable_rank(X) - 1e-9


def test_the_jackknife_equals_its_slow_twin():
    X = normal(60, 4) @ torch.diag(torch.tensor([3.0, 2, 1, 0.5]).double()) + 1e4

    def theta(rows):
        return participation_ratio(torch.linalg.eigvalsh(torch.cov(rows.T)))

    without = torch.tensor([theta(X[torch.arange(60) % 6 != g]) for g in range(6)])
    whole = theta(X)
    result = sampled_spectrum(X, participation_ratio, blocks=6)
    centre = 6 * whole - 5 * without.mean().item()
    half = 2.570581835636314 * math.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum().item())  # t_5
    assert (result.estimate, result.corrected) == pytest.approx((whole, centre), rel=1e-5)
    assert (result.low, result.high) == pytest.approx((centre - half, centre + half), rel=1e-5)


SCALES = torch.tensor([3.0, 2, 1.5, 1, 1, 1, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    "statistic",
    [effective_rank, participation_ratio, lambda values: stable_rank(values.sqrt())],
    ids=["effective", "participation", "stable"],
)
def test_sampled_ranks_cover_the_ranks_of_the_population(statistic):
    truth, generator = statistic(SCALES**2), seeded(3)
    results = [
        sampled_spectrum(torch.randn(200, 10, generator=generator, dtype=torch.float64) * SCALES, statistic)
        for _ in range(80)
    ]
    assert all(result.supported for result in results)
    assert_covers([result.low <= truth <= result.high for result in results])
    plain = np.mean([result.estimate for result in results]) - truth
    corrected = np.mean([result.corrected for result in results]) - truth
    if statistic in (effective_rank, participation_ratio):  # the bias of the third is below its noise here
        assert abs(corrected) < abs(plain) / 2


def test_too_few_rows_for_the_columns_are_flagged_and_so_is_a_large_correction():
    result = sampled_spectrum(normal(100, 40), participation_ratio)
    assert not result.supported
    assert "100 rows are too few for 40 columns" in result.reason
    flat = sampled_spectrum(normal(600, 60), participation_ratio)
    assert "correction for bias" in flat.reason


def test_a_decay_is_the_line_of_its_window():
    k = torch.arange(1, 301, dtype=torch.float64)
    values = k**-1.0
    values[:9] = 5.0
    shuffled = values[torch.randperm(300, generator=seeded())]
    fit = spectral_decay(shuffled, 10, 200)
    assert (fit.exponent, fit.r2) == pytest.approx((1, 1))
    assert fit.halves == pytest.approx((1, 1))
    assert (fit.supported, fit.window) == (True, (10, 200))
    assert not spectral_decay(shuffled, 1, 200).supported


def test_the_interval_of_a_decay_without_correlation_is_that_of_regression():
    y = -1.3 * np.log(np.arange(1, 41)) + 1e-3 * np.tile([1.0, -1.0], 20)
    fit = spectral_decay(torch.tensor(np.exp(y)), 1, 40)
    line = stats.linregress(np.log(np.arange(1, 41)), y)
    assert fit.correlation < -0.9
    assert fit.exponent == pytest.approx(-line.slope)
    assert fit.high - fit.exponent == pytest.approx(stats.t.ppf(0.975, 38) * line.stderr)


@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.95), (0.5, 0.91)])
def test_the_interval_of_a_decay_covers_with_correlated_deviations(phi, least):
    rng, hits, k = np.random.default_rng(4), [], np.arange(1, 101)
    for _ in range(300):
        e = np.zeros(150)
        for i, z in enumerate(rng.normal(size=149), 1):
            e[i] = phi * e[i - 1] + z
        # So small that sorting does not change the order.
        fit = spectral_decay(torch.tensor(k**-1.2 * np.exp(3e-4 * e[50:])), 1, 100)
        hits.append(fit.low <= 1.2 <= fit.high)
    if phi == 0:
        assert_covers(hits)
    else:  # its honest level, less three standard errors of 300 draws; ordinary regression has .75
        assert np.mean(hits) >= least - 3 * math.sqrt(least * (1 - least) / 300)


@pytest.mark.parametrize(
    ("values", "window", "text"),
    [
        (torch.exp(-torch.arange(100).double() / 10), (1, 100), "first half and"),
        (torch.arange(1, 21).double() ** -1, (10, 20), "over 0.30 decades"),
        (torch.linalg.svdvals(normal(200, 100)).square(), (1, 100), "first half and"),
    ],
    ids=["exponential", "narrow", "Marchenko-Pastur"],
)
def test_spectra_without_one_exponent_are_flagged(values, window, text):
    fit = spectral_decay(values, *window)
    assert not fit.supported
    assert text in fit.reason


X = normal(60, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: effective_rank(torch.tensor([1.0, math.nan])), "values are not finite"),
        (lambda: stable_rank(torch.zeros(3)), "a spectrum must be positive"),
        (lambda: participation_ratio(torch.tensor([1.0, -1.0])), "minimum -1"),
        (lambda: inspect.unwrap(effective_rank)(torch.ones(2, 2, 2)), r"shape \[2, 2, 2\]"),
        (lambda: effective_rank(torch.ones(0)), r"shape \[0\]"),
        (lambda: inspect.unwrap(effective_rank)(torch.ones(3) + 1j), "complex64(.|\n)*real values"),
        (lambda: sampled_spectrum(X[:30], stable_rank), "30 rows, 20 blocks"),
        (lambda: sampled_spectrum(X, stable_rank, blocks=2), "60 rows, 2 blocks"),
        (lambda: sampled_spectrum(torch.ones(60, 3), stable_rank), "all rows are equal"),
        (lambda: sampled_spectrum(X * math.inf, stable_rank), "features are not finite"),
        (lambda: spectral_decay(torch.ones(20), 0, 10), r"ranks 0 \.\. 10 of 20"),
        (lambda: spectral_decay(torch.ones(20), 1, 21), r"ranks 1 \.\. 21 of 20"),
        (lambda: spectral_decay(torch.ones(20), 3, 6), "at least 5 ranks"),
        (lambda: spectral_decay(torch.eye(20)[0], 1, 20), "eigenvalues of the window are zero"),
        *(
            (
                lambda call=call: call(torch.eye(60)),
                r"eigenvalues s\^2(.|\n)*\[60, 60\](.|\n)*eigvalsh\(W.T @ W\)",
            )
            for call in (
                lambda W: inspect.unwrap(fit_tail)(W, seeded()),
                lambda W: inspect.unwrap(spectral_decay)(W, 1, 50),
            )
        ),
        (lambda: fit_tail(torch.ones(50), seeded()), "1 different in the tail"),
        (lambda: fit_tail(torch.arange(50.0), seeded()), "1 not positive"),
        (lambda: fit_tail(torch.arange(1.0, 50), seeded(), draws=5), "too few bootstrap draws"),
        (lambda: fit_tail(torch.arange(1.0, 50), seeded(), xmin=45.0), "5 different in the tail"),
        *(
            (lambda xmin=xmin: fit_tail(torch.arange(1.0, 50), seeded(), xmin=xmin), "cannot begin there")
            for xmin in (0.0, -1.0, math.inf, math.nan)
        ),
        *(
            (lambda call=call, level=level: call(level), "no such level")
            for level in (0.0, 1.0, -0.5, 95.0, math.nan)
            for call in (
                lambda level: fit_tail(torch.arange(1.0, 50), seeded(), level=level),
                lambda level: spectral_decay(torch.ones(20), 1, 20, level=level),
                lambda level: sampled_spectrum(X, stable_rank, level=level),
            )
        ),
        (lambda: inspect.unwrap(sampled_spectrum)(X[:, 0], stable_rank), r"shape \[60\]"),
        (lambda: sampled_spectrum(X.double() * 1e200, stable_rank), "does not fit into double precision"),
        (lambda: sampled_spectrum(X.double() * 1e-200, stable_rank), "does not fit into double precision"),
    ],
)
def test_input_without_an_answer_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()


def test_exponents_of_a_matrix_are_those_of_its_eigenvalues_and_half_of_them_of_its_singular_values():
    """With eigenvalues 1/k of W^T W the density falls as x^-2; with singular values k^-1/2 it is x^-3."""
    W = torch.linalg.qr(normal(400, 400))[0] @ torch.diag(torch.arange(1, 401, dtype=torch.float64) ** -0.5)
    eigenvalues, singular = torch.linalg.eigvalsh(W.T @ W), torch.linalg.svdvals(W)
    for values, alpha, exponent in ((eigenvalues, 2, 1), (singular, 3, 0.5)):
        assert fit_tail(values, seeded(), draws=50).alpha == pytest.approx(alpha, abs=0.05)
        assert spectral_decay(values, 5, 300).exponent == pytest.approx(exponent, abs=1e-6)


@pytest.mark.parametrize("unit", [1e308, 1e-300])
def test_ranks_do_not_overflow(unit):
    values = unit * torch.ones(5, dtype=torch.float64)
    for rank in (effective_rank, participation_ratio, stable_rank):
        assert rank(values) == pytest.approx(5)
        assert rank(torch.diag(values / 4)) == pytest.approx(5)
