"""Scaling fits against exact data, a brute-force twin, simulated coverage and truths that are no power law."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.simulated import N, assert_covers, sweep
from universality.errors import MeasurementError
from universality.measures.scaling.fits import compare_scaling, fit_scaling
from universality.measures.scaling.forms import cost_of, fit_form, log_shape
from universality.measures.scaling.slopes import log_slope

TRUTHS = {
    "power": (lambda n: 5 * n**-0.7, 0.7, 0.0),
    "offset": (lambda n: 0.05 + 5 * n**-0.7, 0.7, 0.05),
    "large offset": (lambda n: 0.5 + 4 * n**-0.4, 0.4, 0.5),
    "steep": (lambda n: 1e-3 + 50 * n**-2.0, 2.0, 1e-3),
}


@pytest.mark.parametrize("name", ["offset", "large offset", "steep"])
@pytest.mark.parametrize("huber", [None, 1e-3])
def test_exact_data_give_the_exact_law(name, huber):
    truth, alpha, offset = TRUTHS[name]
    fit = fit_scaling(N, truth(N)[:, None], huber=huber)
    assert (fit.exponent, fit.offset) == pytest.approx((alpha, offset), rel=1e-4)
    assert [fit.predict(n) for n in N.tolist()] == pytest.approx(truth(N).tolist(), rel=1e-5)
    assert fit.residuals == pytest.approx([0] * 8, abs=1e-5)
    assert fit.decades == pytest.approx(7 * math.log10(2))


def test_a_pure_power_law_is_the_line_of_its_logarithms():
    losses = sweep(TRUTHS["power"][0], 4, 0.05, np.random.default_rng(0))
    fit = fit_scaling(N, losses, form="power")
    slope, level = np.polyfit(N.log(), losses.log().mean(1), 1)
    assert (fit.exponent, fit.amplitude) == pytest.approx((-slope, math.exp(level)), rel=1e-9)
    assert (fit.offset, fit.identified, fit.method) == (0, True, "jackknife over seeds")


@pytest.mark.parametrize("form", ["power_offset", "exponential_offset", "logarithmic"])
@pytest.mark.parametrize("huber", [None, 0.01])
@pytest.mark.parametrize("name", ["large offset", "power"])
def test_no_point_of_a_fine_grid_fits_better(form, huber, name):
    x = (N.log() - N.log()[-1]).numpy()
    Y = sweep(TRUTHS[name][0], 3, 0.03, np.random.default_rng(3)).log().numpy()
    fit = fit_form(form, x, Y, huber)
    found = cost_of(Y - fit.c - log_shape(form, x, fit.theta, fit.rho)[:, None], huber)
    rho = np.linspace(0, 0.99, 25) if form != "logarithmic" else np.zeros(1)
    for theta in np.geomspace(1e-2, 8, 40):
        gaps = (Y[:, :, None] - log_shape(form, x[:, None], theta, rho)[:, None]).reshape(-1, len(rho))
        # Huber's scale has no closed form: mean and median are candidates.
        for centre in (gaps.mean(0), np.median(gaps, axis=0)):
            assert all(found <= cost_of(left, huber) * (1 + 1e-6) for left in (gaps - centre).T)


@pytest.mark.parametrize(
    ("name", "form", "seeds", "noise", "shared", "k"),
    [
        ("power", "power", 3, 0.03, 0.5, 8),
        ("power", "power", 1, 0.03, 0.0, 6),
        ("offset", "power_offset", 3, 0.02, 0.0, 8),
        ("large offset", "power_offset", 5, 0.02, 0.4, 8),
        ("large offset", "power_offset", 1, 0.02, 0.0, 8),
    ],
)
def test_the_interval_of_the_exponent_covers_at_its_level(name, form, seeds, noise, shared, k):
    truth, alpha, _ = TRUTHS[name]
    rng = np.random.default_rng(1)
    fits = [
        fit_scaling(N[:k], sweep(truth, seeds, noise, rng, shared=shared, sizes=N[:k]), form=form)
        for _ in range(100)
    ]
    assert all(fit.identified for fit in fits)
    assert {fit.method for fit in fits} == {"profile" if seeds < 3 else "jackknife over seeds"}
    assert_covers([fit.low <= alpha <= fit.high for fit in fits])


def test_the_interval_of_the_offset_covers_and_its_level_is_its_own():
    rng = np.random.default_rng(2)
    truth, _, offset = TRUTHS["large offset"]
    draws = [sweep(truth, 4, 0.02, rng) for _ in range(100)]
    fits = [fit_scaling(N, losses) for losses in draws]
    assert_covers([fit.offset_low <= offset <= fit.offset_high for fit in fits])
    narrow = [fit_scaling(N, losses, level=0.8) for losses in draws]
    assert_covers([fit.low <= 0.4 <= fit.high for fit in narrow], 0.8)


def test_seeds_that_disagree_widen_the_interval_though_the_mean_fits():
    e = 0.05 * torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1], dtype=torch.float64)
    clean = TRUTHS["power"][0](N)
    columns = torch.stack([clean * e.exp(), clean * (-e).exp(), clean], dim=1)
    fit = fit_scaling(N, columns, form="power")
    assert fit.residuals == pytest.approx([0] * 8, abs=1e-9)
    assert fit.high - fit.low > 0.01


@pytest.mark.parametrize(
    ("truth", "sizes", "form", "text"),
    [
        (lambda n: 5 * n**-0.7, N, "power_offset", "the interval of the offset contains zero"),
        (lambda n: 0.5 + 4 * n**-0.4, torch.linspace(100, 800, 8).double(), "power_offset", "0.90 decades"),
        (lambda n: 1.0 + 0 * n, N, "power", "contains zero"),
        (lambda n: 1 - np.exp(-n / 20), N, "power", "contains zero"),  # rises
        (lambda n: 1 + 1e5 * (n / 32) ** -10.0, N, "power_offset", "upper limit"),
        (lambda n: 1.0 + 0 * n, N, "power_offset", "interval of the exponent"),
    ],
)
def test_what_the_data_do_not_identify_is_flagged(truth, sizes, form, text):
    losses = sweep(truth, 3, 0.01, np.random.default_rng(0), sizes=sizes)
    fit = fit_scaling(sizes, losses, form=form)
    assert not fit.identified
    assert text in fit.reason


def test_huber_ignores_an_outlier_and_without_seeds_has_no_interval():
    losses = TRUTHS["large offset"][0](N)[:, None].repeat(1, 2)
    losses[3, 0] *= 2
    fit = fit_scaling(N, losses, huber=1e-3)
    assert fit.exponent == pytest.approx(0.4, abs=0.01)
    assert abs(fit_scaling(N, losses).exponent - 0.4) > 0.05
    assert (fit.low, fit.method, fit.identified) == (None, "none", False)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.1, 1000), st.floats(0.01, 100), st.permutations(range(8)), st.permutations(range(3)))
def test_units_and_orders_change_nothing_but_the_units(a, b, rows, columns):
    losses = sweep(TRUTHS["offset"][0], 3, 0.02, np.random.default_rng(5))
    plain, other = fit_scaling(N, losses), fit_scaling(a * N[rows], b * losses[rows][:, columns])
    assert (other.exponent, other.low, other.high) == pytest.approx(
        (plain.exponent, plain.low, plain.high), rel=1e-4
    )
    assert other.offset == pytest.approx(b * plain.offset, rel=1e-3)
    assert other.predict(100 * a) == pytest.approx(b * plain.predict(100), rel=1e-4)


@pytest.mark.parametrize(
    ("truth", "form"),
    [(TRUTHS["power"][0], "power"), (TRUTHS["offset"][0], "power_offset")],
)
def test_power_laws_are_supported(truth, form):
    rng = np.random.default_rng(7)
    results = [compare_scaling(N, sweep(truth, 5, 0.02, rng, shared=0.3)) for _ in range(25)]
    # 39 or 40 of 40 in a longer run; with probability .975 fewer than 21 of 25 come up once in 2,000.
    assert sum(result.supported for result in results) >= 21
    if form == "power_offset":
        assert all(result.law.form == form for result in results)


@pytest.mark.parametrize(
    "truth",
    [
        lambda n: np.exp(-n / 800),
        lambda n: 0.1 + np.exp(-n / 300),
        lambda n: 0.3 + np.exp(-n / 1500),
        lambda n: 9 - np.log(n),
        lambda n: 20 - np.log(n),
        lambda n: 1 + 0 * n,
        lambda n: np.exp(-0.03 * np.log(n) ** 2.5),  # the exponent grows
    ],
    ids=["exponential", "to .1", "to .3", "logarithm", "slow logarithm", "flat", "bent"],
)
def test_other_truths_are_not_called_power_laws(truth):
    rng = np.random.default_rng(8)
    results = [compare_scaling(N, sweep(truth, 5, 0.03, rng, shared=0.3)) for _ in range(20)]
    # At a false rate of 2 % three or more of 20 come up once in 140.
    assert sum(result.supported for result in results) <= 2


def test_the_comparison_of_exact_data_in_closed_form():
    losses = (4 - 0.3 * N.log())[:, None].repeat(1, 3)
    result = compare_scaling(N, losses)
    assert result.best == "logarithmic"
    assert result.ratios["logarithmic"] == pytest.approx((1, 1), abs=1e-6)
    x, y = N.log().numpy(), losses[:, 0].log().numpy()
    expected = np.exp(np.polyval(np.polyfit(x[:6], y[:6], 1), x[6:]) - y[6:])
    assert result.ratios["power"] == pytest.approx(tuple(expected))
    assert result.ratios["last"] == pytest.approx(tuple(np.exp(y[5] - y[6:])))
    assert result.errors["last"] == pytest.approx(math.sqrt(np.mean((y[5] - y[6:]) ** 2)))
    assert result.local == pytest.approx(tuple(-np.diff(y) / np.diff(x)))


def test_a_prediction_that_is_not_positive_has_infinite_error():
    losses = torch.cat([4.2 - N[:6].log() / 2, torch.tensor([0.5, 0.4])])[:, None].repeat(1, 3)
    losses[5] = 0.02
    assert compare_scaling(N, losses).errors["logarithmic"] == math.inf


def test_two_seeds_and_half_a_decade_support_nothing():
    truth = TRUTHS["power"][0]
    few = compare_scaling(N, sweep(truth, 2, 0.01, np.random.default_rng(0)))
    assert "2 seeds give no error" in few.reason
    near = torch.linspace(100, 500, 8).double()
    narrow = compare_scaling(near, sweep(truth, 3, 0.01, np.random.default_rng(0), sizes=near))
    assert "decades of fitted sizes" in narrow.reason
    assert not few.supported
    assert not narrow.supported


@pytest.mark.parametrize("measure", [log_slope, fit_scaling, compare_scaling])
@pytest.mark.parametrize(
    ("sizes", "losses", "text"),
    [
        (
            N,
            torch.ones(8, 3).index_fill(0, torch.tensor([2]), math.nan),
            r"values without a logarithm(.|\n)*3 of 24",
        ),
        (N, torch.zeros(8, 1), "values without a logarithm"),
        (N - 32, torch.ones(8, 1), "sizes without a logarithm"),
        (torch.tensor([1.0, 2, 2, 4, 8, 16, 32, 64]), torch.ones(8, 1), "sizes repeat"),
        (N[:2], torch.ones(2, 3), "too few sizes"),
        (N, torch.ones(7, 3), "one row of seeds for each size"),
        (N, torch.ones(8, 0), "one row of seeds for each size"),
    ],
)
def test_input_without_an_answer_is_refused(measure, sizes, losses, text):
    with pytest.raises(MeasurementError, match=text):
        inspect.unwrap(measure)(sizes, losses)


@pytest.mark.parametrize("measure", [log_slope, fit_scaling, compare_scaling])
@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (lambda y: y * (1 + 2j), r"no real tensors(.|\n)*torch.float64 and torch.complex128"),
        (lambda y: y.numpy(), "torch.float64 and ndarray"),
        (lambda y: y.tolist(), "torch.float64 and list"),
    ],
    ids=["complex", "numpy", "list"],
)
def test_what_is_no_real_tensor_is_refused(measure, convert, text):
    losses = sweep(TRUTHS["power"][0], 3, 0.01, np.random.default_rng(3))
    with pytest.raises(MeasurementError, match=text):
        inspect.unwrap(measure)(N, convert(losses))
    with pytest.raises(MeasurementError, match="no real tensors"):
        inspect.unwrap(measure)(convert(N), losses)


def test_too_few_sizes_to_hold_out_and_bad_options_are_refused():
    with pytest.raises(MeasurementError, match=r"6 sizes, 2 of them held out"):
        compare_scaling(N[:6], torch.ones(6, 3))
    with pytest.raises(MeasurementError, match="4 sizes"):
        fit_scaling(N[:4], torch.ones(4, 3))
    with pytest.raises(MeasurementError, match="threshold must be positive"):
        fit_scaling(N, torch.ones(8, 3), huber=0.0)
    with pytest.raises(MeasurementError, match="no such level"):
        fit_scaling(N, torch.ones(8, 3), level=95.0)
    with pytest.raises(MeasurementError, match=r"no such form(.|\n)*banana"):
        inspect.unwrap(fit_scaling)(N, torch.ones(8, 3), form="banana")
    for measure in (log_slope, fit_scaling, compare_scaling):
        for level in (0.0, 1.0, math.nan):
            with pytest.raises(MeasurementError, match="no such level"):
                measure(N, torch.ones(8, 3), level=level)
    fit = fit_scaling(N, TRUTHS["offset"][0](N)[:, None])
    with pytest.raises(MeasurementError, match="no such size"):
        fit.predict(0)


def test_equal_columns_are_no_replicates():
    rng = np.random.default_rng(3)
    losses = sweep(TRUTHS["power"][0], 3, 0.01, rng)
    for fit in (fit_scaling(N, losses, form="power"), log_slope(N, losses)):
        assert "differ" not in fit.reason
    twice = losses[:, [0, 1, 2, 0]]
    slope, law = log_slope(N, twice), fit_scaling(N, twice, form="power")
    assert (slope.supported, law.identified) == (False, False)
    assert (slope.low, slope.high, slope.bend_low, law.low, law.high) == (None,) * 5
    for reason in (slope.reason, law.reason, compare_scaling(N, twice).reason):
        assert "only 3 of 4 seeds differ" in reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [2.0, 1 + 1e-12, 3.7])
def test_a_column_times_a_factor_is_no_second_replicate(factor, dtype):
    losses = sweep(TRUTHS["power"][0], 3, 0.01, np.random.default_rng(3))
    assert "differ" not in log_slope(N, losses.to(dtype)).reason
    twice = torch.cat([losses, factor * losses[:, :1]], 1).to(dtype)
    pair = twice[:, [0, 3]]
    for values, text in [
        (twice, "only 3 of 4 seeds differ by more"),
        (pair, "only 1 of 2 seeds differ by more"),
    ]:
        slope, law = log_slope(N, values), fit_scaling(N, values, form="power")
        assert (slope.supported, law.identified) == (False, False)
        assert (slope.low, slope.high, law.low, law.high) == (None,) * 4
        for reason in (slope.reason, law.reason, compare_scaling(N, values).reason):
            assert text in reason


@pytest.mark.parametrize(
    ("dtype", "noise"), [(torch.float64, 1e-12), (torch.float32, 3e-6), (torch.bfloat16, 0.1)]
)
def test_noise_above_the_rounding_of_its_dtype_is_a_replicate(dtype, noise):
    losses = sweep(TRUTHS["power"][0], 5, noise, np.random.default_rng(3)).to(dtype)
    assert "differ" not in log_slope(N, losses).reason


def test_repeated_columns_are_counted_among_many():
    rng = np.random.default_rng(3)
    losses = sweep(TRUTHS["power"][0], 2000, 0.01, rng)
    copies = losses[:, rng.permutation(2000)[:700]] * torch.tensor(rng.random(700) + 0.5)
    mixed = torch.cat([losses, copies, copies[:, :100]], 1)[:, rng.permutation(2800)]
    assert "only 2000 of 2800 seeds differ" in log_slope(N, mixed).reason
    same = losses[:, :1] * torch.ones(5000)
    assert "only 1 of 5000 seeds differ" in log_slope(N, same).reason


@pytest.mark.parametrize("scale", [2.0**660, 2.0**-660], ids=["2^660", "2^-660"])
def test_the_interval_of_the_offset_follows_the_unit_of_the_losses(scale):
    losses = sweep(TRUTHS["large offset"][0], 4, 0.01, np.random.default_rng(3))
    plain, other = fit_scaling(N, losses), fit_scaling(N, scale * losses)
    assert plain.offset_low < plain.offset < plain.offset_high
    bounds = [other.offset_low / scale, other.offset_high / scale, other.low, other.high]
    assert bounds == pytest.approx([plain.offset_low, plain.offset_high, plain.low, plain.high], rel=1e-6)
    assert other.identified


def test_huge_numbers_have_their_law_or_are_refused():
    losses = sweep(TRUTHS["power"][0], 3, 0.01, np.random.default_rng(3))
    plain, large = (fit_scaling(a * N, losses, form="power") for a in (1.0, 1e30))
    assert large.exponent == pytest.approx(plain.exponent, rel=1e-9)
    assert large.amplitude == pytest.approx(plain.amplitude * 1e30**plain.exponent, rel=1e-6)
    for sizes, values in [(1e200 * N, losses**4), (N, 1e304 * losses), (N, 1e-303 * losses)]:
        with pytest.raises(MeasurementError, match="does not fit into double precision"):
            fit_scaling(sizes, values, form="power")
