"""Batches add up to the full sample, exactly, whatever their sizes and however far the features are from 0."""

from inspect import unwrap

import pytest
import torch

from universality.errors import MeasurementError
from universality.measures.similarity.cka import biased_cka, cka_matrix, debiased_cka
from universality.measures.similarity.streaming import MinibatchCKA, StreamingCKA


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layers(n, widths=(3, 7, 1), seed=0):
    shared = normal(n, 2, seed=seed)
    return [
        normal(n, d, seed=seed + d) * torch.arange(1, d + 1) + shared @ normal(2, d, seed=d) for d in widths
    ]


def streamed(Xs, Ys=None, sizes=10, stream=None):
    stream = stream or StreamingCKA()
    for parts in zip(*(X.split(sizes) for X in [*Xs, *(Ys or [])]), strict=True):
        stream.update(list(parts[: len(Xs)]), list(parts[len(Xs) :]) if Ys else None)
    return stream


@pytest.mark.parametrize("sizes", [(60,), (20, 20, 20), (1, 3, 50, 6), (7,) * 8 + (4,)], ids=str)
@pytest.mark.parametrize("debiased", [True, False])
def test_streamed_cka_equals_that_of_all_rows_at_once(sizes, debiased):
    Xs, Ys = layers(60), layers(60, (4, 2), seed=50)
    for others in (None, Ys):
        at_once = cka_matrix(Xs, others, debiased=debiased)
        result = streamed(Xs, others, sizes).result(debiased=debiased)
        torch.testing.assert_close(result, at_once, rtol=0, atol=1e-12)


def test_each_pair_is_that_of_the_functions_of_two_representations():
    Xs, Ys = layers(60), layers(60, (4, 2), seed=50)
    stream = streamed(Xs, Ys, (31, 29))
    assert stream.result()[1, 0].item() == pytest.approx(debiased_cka(Xs[1], Ys[0]), abs=1e-12)
    assert stream.result(debiased=False)[1, 0].item() == pytest.approx(biased_cka(Xs[1], Ys[0]), abs=1e-12)


def test_an_offset_of_a_hundred_standard_deviations_costs_no_digits():
    # Scaled to multiples of 2^-30, to which an offset adds without rounding: the data themselves lose nothing.
    Xs = [(X * 2**30).round() / 2**30 for X in layers(80)]
    far = [X + 1000 for X in Xs]
    torch.testing.assert_close(streamed(far).result(), cka_matrix(Xs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-80, 1e80, 1e160, 1e300], ids=str)
def test_features_whose_fourth_powers_leave_the_range_are_streamed_all_the_same(scale):
    """1e80 was said to come from a dead layer, and 1e-80 lost digits without a word."""
    for kind in (StreamingCKA, MinibatchCKA):
        expected, both, one = (kind() for _ in range(3))
        for X, Y in zip(normal(60, 5).split(20), normal(60, 4, seed=1).split(20), strict=True):
            expected.update([X], [Y])
            both.update([scale * X], [scale * Y])
            one.update([scale * X], [Y])
        for found in (both, one):
            torch.testing.assert_close(found.result(), expected.result(), rtol=0, atol=1e-12)


def test_a_first_batch_unlike_the_rest_costs_no_digits():
    Xs = layers(60)
    for X in Xs:
        X[:10] += 50
    torch.testing.assert_close(streamed(Xs).result(), cka_matrix(Xs), rtol=0, atol=1e-11)


def test_results_may_be_asked_for_on_the_way():
    Xs = layers(60)
    stream = StreamingCKA()
    stream.update([X[:30] for X in Xs])
    torch.testing.assert_close(stream.result(), cka_matrix([X[:30] for X in Xs]))
    stream.update([X[30:] for X in Xs])
    torch.testing.assert_close(stream.result(), cka_matrix(Xs))


def hsic_1(X, Y):
    """Song et al. 2012, equation 5."""
    n = len(X)
    K, L = (Z @ Z.T * (1 - torch.eye(n, dtype=torch.float64)) for Z in (X, Y))
    one = torch.ones(n, dtype=torch.float64)
    total = (K @ L).trace() + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return ((total - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))).item()


@pytest.mark.parametrize("sizes", [(20, 20, 20), (40, 16, 4)], ids=str)
def test_minibatch_cka_is_the_ratio_of_summed_hsic_terms(sizes):
    Xs, Ys = layers(60), layers(60, (4, 2), seed=50)
    result = streamed(Xs, Ys, sizes, MinibatchCKA()).result()

    def summed(X, Y):
        return sum(len(x) * hsic_1(x, y) for x, y in zip(X.split(sizes), Y.split(sizes), strict=True))

    for i, X in enumerate(Xs):
        for j, Y in enumerate(Ys):
            expected = summed(X, Y) / (summed(X, X) * summed(Y, Y)) ** 0.5
            assert result[i, j].item() == pytest.approx(expected, rel=1e-9)


def test_one_batch_is_the_full_sample():
    Xs = layers(30)
    torch.testing.assert_close(streamed(Xs, None, (30,), MinibatchCKA()).result(), cka_matrix(Xs))


def test_minibatch_cka_has_no_bias_of_small_batches_where_the_mean_of_biased_ones_has():
    n, batch = 2000, 8
    X = normal(n, 20)
    Y = X @ normal(20, 20, seed=1) / 20**0.5 + normal(n, 20, seed=2)
    truth = debiased_cka(X, Y)
    batches = streamed([X], [Y], (batch,) * (n // batch), MinibatchCKA()).result().item()
    pairs = zip(X.split(batch), Y.split(batch), strict=True)
    naive = sum(biased_cka(x, y) for x, y in pairs) / (n // batch)
    # Over draws of the data the standard deviation of the difference is about .01.
    assert batches == pytest.approx(truth, abs=0.05)
    assert naive > truth + 0.3


def updated(stream, *batches):
    for batch in batches:
        stream.update(batch)
    return stream


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: updated(StreamingCKA(), [normal(3, 2)]).result(), "too few rows(.|\n)*>= 4"),
        (lambda: StreamingCKA().result(), "too few rows(.|\n)*got: +0"),
        (lambda: StreamingCKA().update([]), "no representations"),
        (lambda: updated(StreamingCKA(), [normal(5, 2)], [normal(5, 3)]), r"got: +widths \[3\](.|\n)*\[2\]"),
        (lambda: updated(StreamingCKA(), [torch.ones(9, 2)]).result(), "without spread"),
        (lambda: StreamingCKA().update([normal(5, 2) * torch.nan]), "not finite"),
        (
            lambda: unwrap(StreamingCKA.update)(StreamingCKA(), [normal(5, 2), normal(6, 2)]),
            r"do not match(.|\n)*\[5, 2\], \[6, 2\]",
        ),
        (lambda: MinibatchCKA().result(), "no batches"),
        (lambda: MinibatchCKA().update([normal(3, 2)]), "too few rows(.|\n)*>= 4"),
        (
            lambda: updated(MinibatchCKA(), [normal(5, 2)], [normal(5, 2)] * 2),
            r"got: +widths \[2, 2\](.|\n)*widths \[2\]",
        ),
        (
            lambda: updated(updated(StreamingCKA(), [normal(9, 2)]), [1e160 * normal(9, 2)]).result(),
            "leave double precision",
        ),
        (
            lambda: updated(updated(MinibatchCKA(), [normal(9, 2)]), [1e160 * normal(9, 2)]),
            "quite another size than the first",
        ),
    ],
)
def test_batches_without_a_meaningful_answer_are_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()


@pytest.mark.parametrize("kind", [StreamingCKA, MinibatchCKA])
def test_a_batch_of_another_layout_is_refused_also_where_it_has_as_many_pairs(kind):
    X, Y = normal(9, 2), normal(9, 3, seed=1)
    for first, other, text in [
        (
            ([X, X + Y[:, :1]], None),
            ([X, X], [X, X]),
            r"first 2 of them Xs(.|\n)*expected: +widths \[2, 2\], no",
        ),
        (([X], [Y]), ([Y], [X]), r"\[3, 2\](.|\n)*\[2, 3\]"),
        (([X], [Y]), ([Y], [Y]), r"\[3, 3\](.|\n)*\[2, 3\]"),
    ]:
        stream = kind()
        stream.update(*first)
        before = stream.result()
        with pytest.raises(MeasurementError, match=text):
            stream.update(*other)
        assert torch.equal(stream.result(), before)


def test_a_refused_batch_leaves_no_trace():
    Xs = layers(30)
    stream = streamed(Xs)
    with pytest.raises(MeasurementError):
        stream.update([X * torch.nan for X in Xs])
    assert stream.rows == 30
    torch.testing.assert_close(stream.result(), cka_matrix(Xs))
