"""Adapters, cuts, activations and scales."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from universality.errors import BadParameter, UnknownName
from universality.plugin.architecture import InputSpec
from universality.plugin.kit import (
    Chunks,
    Patches,
    Rows,
    ScaledOutput,
    activation,
    flat_adapter,
    image_adapter,
    patch_side,
    require_at_least,
    scale_parameters,
    scaled_width,
    sequence_adapter,
    unscaled,
)

VECTOR = InputSpec("vector", (20,))
IMAGE = InputSpec("image", (3, 8, 12))
TOKENS = InputSpec("tokens", (4,), 7)
STEPS = InputSpec("sequence", (5, 3))


# Flat


def test_the_flat_adapter_writes_tokens_one_hot_in_order_of_position() -> None:
    tokens = torch.tensor([[2, 0, 6, 2]])
    flat = flat_adapter(TOKENS)(tokens)
    assert flat.shape == (1, TOKENS.size) == (1, 28)
    assert flat.nonzero()[:, 1].tolist() == [2, 7 + 0, 14 + 6, 21 + 2]


def test_the_flat_adapter_keeps_the_order_of_pixels() -> None:
    x = torch.randn(5, 3, 8, 12)
    adapter = flat_adapter(IMAGE)
    assert adapter.features == 288
    assert torch.equal(adapter(x), x.reshape(5, -1))


def test_one_hot_vectors_follow_the_floating_type_of_the_network() -> None:
    adapter = flat_adapter(TOKENS)
    assert adapter(torch.zeros(1, 4, dtype=torch.int64)).dtype == torch.float32
    assert adapter.double()(torch.zeros(1, 4, dtype=torch.int64)).dtype == torch.float64
    assert not adapter.state_dict()


def test_one_embedding_table_serves_every_position() -> None:
    adapter = flat_adapter(TOKENS, embedding=3)
    (table,) = adapter.parameters()
    assert table.shape == (7, 3)
    flat = adapter(torch.tensor([[5, 1, 5, 5]]))
    assert torch.equal(flat, torch.cat([table[5], table[1], table[5], table[5]])[None])


def test_embedding_an_image_is_refused() -> None:
    with pytest.raises(BadParameter, match="only tokens are embedded"):
        flat_adapter(IMAGE, embedding=3)


# Image


def test_the_image_adapter_writes_tokens_as_an_image_of_height_one() -> None:
    adapter = image_adapter(TOKENS)
    assert (adapter.channels, adapter.height, adapter.width) == (7, 1, 4)
    image = adapter(torch.tensor([[2, 0, 6, 2]]))
    assert image.shape == (1, 7, 1, 4)
    assert image[0, :, 0].argmax(0).tolist() == [2, 0, 6, 2]
    assert image.sum() == 4


def test_the_image_adapter_writes_steps_as_an_image_of_height_one() -> None:
    adapter, x = image_adapter(STEPS), torch.randn(2, 5, 3)
    assert (adapter.channels, adapter.height, adapter.width) == (3, 1, 5)
    assert torch.equal(adapter(x)[:, :, 0], x.mT)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_adapter_lays_channels_side_by_side_and_changes_nothing_else(channels: int) -> None:
    adapter, x = image_adapter(InputSpec("image", (channels, 8, 12))), torch.randn(2, channels, 8, 12)
    image = adapter(x)
    assert torch.equal(image, x)
    assert image.stride() == x.to(memory_format=torch.channels_last).stride()
    features = torch.nn.functional.conv2d(image, torch.randn(4, channels, 3, 3))
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.func.vmap(adapter)(x.unsqueeze(1)), x.unsqueeze(1))


def test_the_image_adapter_refuses_vectors() -> None:
    with pytest.raises(BadParameter, match="no spatial arrangement"):
        image_adapter(VECTOR)


# Sequences


@given(st.integers(1, 200))
def test_the_patch_side_divides_and_no_divisor_is_nearer_to_a_quarter(side: int) -> None:
    def distance(patch: int) -> float:
        return max(4 * patch / side, side / (4 * patch))

    patch = patch_side(side)
    assert side % patch == 0
    assert distance(patch) <= min(distance(d) for d in range(1, side + 1) if side % d == 0) + 1e-12


def test_patches_equal_slices_of_the_image() -> None:
    patches = Patches(3, 8, 12)
    assert patches.patch == (2, 3)
    x = torch.randn(5, 3, 8, 12)
    cut = patches(x)
    assert cut.shape == (5, patches.length, patches.size) == (5, 16, 18)
    for row in range(4):
        for column in range(4):
            piece = x[:, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            assert torch.equal(cut[:, 4 * row + column], piece.flatten(1))


def test_rows_equal_pixel_rows_of_all_channels() -> None:
    x = torch.randn(5, 3, 8, 12)
    cut = Rows(3, 8, 12)(x)
    for row in range(8):
        assert torch.equal(cut[:, row], x[:, :, row].flatten(1))


@given(st.integers(1, 900))
def test_chunks_hold_the_vector_once_and_then_zeros(features: int) -> None:
    chunks = Chunks(features)
    x = torch.arange(1.0, features + 1)[None]
    flat = chunks(x).flatten()
    assert torch.equal(flat[:features], x[0])
    assert not flat[features:].any()
    assert 0 <= len(flat) - features < chunks.size
    assert (chunks.size - 1) ** 2 < features <= chunks.size**2


@pytest.mark.parametrize(
    ("inputs", "images", "length"),
    [
        (VECTOR, "patches", 4),
        (IMAGE, "patches", 16),
        (IMAGE, "rows", 8),
        (TOKENS, "patches", 4),
        (STEPS, "patches", 5),
    ],
    ids=["vector", "patches", "rows", "tokens", "steps"],
)
def test_a_sequence_adapter_states_the_length_and_width_of_what_it_makes(
    inputs: InputSpec, images: str, length: int
) -> None:
    adapter = sequence_adapter(inputs, 6, images=images)  # type: ignore[arg-type]
    x = torch.randint(0, 7, (5, 4)) if inputs.kind == "tokens" else torch.randn(5, *inputs.shape)
    assert adapter.length == length
    assert adapter(x).shape == (5, length, 6)


def test_a_step_of_a_sequence_is_embedded_by_one_linear_map() -> None:
    adapter, x = sequence_adapter(STEPS, 6), torch.randn(2, 5, 3)
    weight, bias = adapter.parameters()
    torch.testing.assert_close(adapter(x)[1, 4], weight @ x[1, 4] + bias)


# Activations, widths, scales


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("tanh", lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
        ("gelu", lambda x: x * 0.5 * torch.erfc(-x / 2**0.5)),
        ("quadratic", lambda x: x * x),
        ("identity", lambda x: x),
    ],
)
def test_an_activation_follows_its_formula_and_leaves_its_input_alone(name: str, formula) -> None:
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    before = x.clone()
    torch.testing.assert_close(activation(name)(x), formula(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)


def test_a_misspelt_activation_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="unknown activation 'rleu'") as caught:
        activation("rleu")
    assert "did you mean 'relu'" in str(caught.value)


def test_too_small_a_size_is_named_with_its_place() -> None:
    with pytest.raises(BadParameter) as caught:
        require_at_least(1, where="mlp", depth=3, width=0)
    assert str(caught.value).splitlines() == [
        "width is too small",
        "  where:    mlp",
        "  got:      width=0",
        "  expected: width >= 1",
    ]


@given(st.integers(1, 500), st.floats(0.01, 20), st.sampled_from([1, 2, 4]))
def test_a_scaled_width_is_the_nearest_positive_multiple(width: int, factor: float, multiple: int) -> None:
    scaled = scaled_width(width, factor, multiple=multiple)
    assert scaled % multiple == 0
    assert scaled == multiple or abs(scaled - factor * width) <= multiple / 2 + 1e-9


def test_a_width_does_not_scale_by_zero() -> None:
    with pytest.raises(BadParameter, match="positive factor"):
        scaled_width(64, 0.0)


def test_a_centred_output_is_alpha_times_the_change_of_the_network() -> None:
    net = nn.Linear(4, 3).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    before = net(x).detach()
    scaled = ScaledOutput(net, 10.0, centred=True)
    assert torch.equal(scaled(x), torch.zeros(6, 3, dtype=torch.float64))
    scale_parameters(net, 1.5)
    torch.testing.assert_close(scaled(x), 10 * 0.5 * before, rtol=1e-12, atol=1e-12)


def test_the_centre_is_saved_but_not_trained() -> None:
    scaled = ScaledOutput(nn.Linear(4, 3), 1.0, centred=True)
    assert [name for name, _ in scaled.named_parameters()] == ["net.weight", "net.bias"]
    assert sorted(scaled.state_dict()) == ["initial.bias", "initial.weight", "net.bias", "net.weight"]
    assert unscaled(scaled) is scaled.net
    assert unscaled(scaled.net) is scaled.net
