"""Captured features are what the modules put out; the network is left as it was found; what is unclear is refused."""

from importlib import import_module
from inspect import unwrap

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from universality.errors import MeasurementError
from universality.measures.network.capture import capture


class Mixed(nn.Module):
    """A tap that the next module overwrites, one that returns a tuple, and one called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5)
        self.relu = nn.ReLU(inplace=True)
        self.cell = nn.LSTM(5, 3, batch_first=True)
        self.twice = nn.Dropout(0.5)
        self.readout = nn.Linear(3, 2)
        self.unused = nn.Linear(3, 2)

    def forward(self, x):
        sequence, _ = self.cell(self.twice(self.relu(self.norm(self.first(x))))[:, None])
        torch.rand(1)  # a network that draws
        return self.readout(self.twice(sequence[:, -1]))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Mixed()


def rows(n=7, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_features_are_those_before_an_in_place_activation(net):
    x = rows()
    seen = capture(net, {"linear": net.first, "norm": net.norm, "relu": net.relu}, None, x)
    net.eval()
    torch.testing.assert_close(seen["linear"], net.first(x))
    assert (seen["norm"] < 0).any()
    torch.testing.assert_close(seen["relu"], seen["norm"].clamp(min=0))


@torch.no_grad()
def test_of_a_tuple_the_first_counts_and_penultimate_is_the_input_of_the_readout(net):
    x = rows()
    seen = capture(net, {"cell": net.cell}, net.readout, x)
    states, _ = net.eval().cell(net.relu(net.norm(net.first(x)))[:, None])
    torch.testing.assert_close(seen["cell"], states.flatten(1))
    torch.testing.assert_close(seen["penultimate"], states[:, -1])


def test_names_come_in_the_order_in_which_the_modules_run(net):
    taps = {"c": net.cell, "b": net.relu, "a": net.first}
    assert list(capture(net, taps, net.readout, rows())) == ["a", "b", "c", "penultimate"]


def test_rows_keep_their_order_over_several_passes(net, monkeypatch):
    x = rows(17)
    at_once = capture(net, {"relu": net.relu}, net.readout, x)
    monkeypatch.setattr(import_module("universality.measures.network.capture"), "ROWS", 5)
    for name, features in capture(net, {"relu": net.relu}, net.readout, x).items():
        torch.testing.assert_close(features, at_once[name])


def state(net):
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    return buffers, [m.training for m in net.modules()], torch.get_rng_state()


def assert_untouched(net, before):
    buffers, modes, random = state(net)
    assert all(torch.equal(buffers[name], before[0][name]) for name in buffers)
    assert modes == before[1]
    assert torch.equal(random, before[2])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_mode_buffers_random_state_and_hooks_are_as_before_after_errors_too(net):
    net.relu.eval()
    before = state(net)
    seen = capture(net, {"relu": net.relu}, net.readout, rows())
    assert not any(features.requires_grad for features in seen.values())
    assert_untouched(net, before)
    with pytest.raises(RuntimeError, match="shapes"):
        capture(net, {"relu": net.relu}, net.readout, rows(d=5))
    assert_untouched(net, before)
    with pytest.raises(MeasurementError):
        capture(net, {"twice": net.twice}, net.readout, rows())
    assert_untouched(net, before)


@torch.no_grad()
def test_images_and_sequences_are_flattened_or_averaged_over_positions():
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    conv = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.LazyLinear(2))
    conv(images)
    out = conv[0](images)
    assert torch.equal(capture(conv, {"conv": conv[0]}, None, images)["conv"], out.flatten(1))
    average = capture(conv, {"conv": conv[0]}, conv[2], images, space="average")
    torch.testing.assert_close(average["conv"], out.mean((2, 3)))
    assert average["penultimate"].shape == (6, 5 * 36)  # already a matrix
    sequences = torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(0))
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    found = capture(layer, {"layer": layer.linear2}, None, sequences, space="average")["layer"]
    assert found.shape == (6, 4)
    flat = capture(layer, {"layer": layer.linear2}, None, sequences)["layer"]
    torch.testing.assert_close(found, flat.view(6, 9, 4).mean(1))


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(4, 3)

    def forward(self, x):
        return self.cell(x.transpose(0, 1))[0][-1]


def tapped(name, **options):
    net = Mixed()
    return capture(net, {name: getattr(net, name)}, None, rows(), **options)


def time_first():
    net = TimeFirst()
    return capture(net, {"cell": net.cell}, None, torch.randn(6, 9, 4))


def loader():
    net = Mixed()
    return unwrap(capture)(net, {}, net.readout, DataLoader(rows(), shuffle=True))


def scalar():
    class Scalar(nn.Module):
        def forward(self, x):
            return x.sum()

    net = Scalar()
    return capture(net, {"net": net}, None, rows())


def clash():
    net = Mixed()
    return capture(net, {"penultimate": net.relu}, net.readout, rows())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tapped("twice"), "'twice' ran more than once"),
        (lambda: tapped("unused"), "never ran: 'unused'"),
        (time_first, r"'cell' has no rows(.|\n)*\[9, 6, 3\](.|\n)*\[6, ...\]"),
        (scalar, r"'net' has no rows(.|\n)*got: +\[\]"),
        (loader, "got: +DataLoader(.|\n)*does not shuffle"),
        (lambda: unwrap(capture)(Mixed(), {}, None, rows(0)), r"got: +\[0, 4\]"),
        (clash, "rename the tap"),
        (
            lambda: unwrap(capture)(Mixed(), {}, None, rows(), space="mean"),
            "unknown space 'mean'(.|\n)*flatten or average",
        ),
    ],
)
def test_what_is_unclear_is_refused(call, text):
    with pytest.raises(MeasurementError, match=text):
        call()
