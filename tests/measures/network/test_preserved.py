"""Measuring leaves no trace."""

import pytest
import torch
from torch import nn

from universality.measures import preserved


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    net[1].eval()  # a mixture of modes, as with frozen statistics
    net(torch.randn(5, 3)).sum().backward()
    net[3].bias.grad = None
    return net


def disturb_and_fail(net):
    with preserved(net):
        disturb(net)
        raise ZeroDivisionError


def disturb(net):
    net.train()
    net(torch.randn(6, 3)).pow(2).sum().backward()
    net[1].running_var = torch.zeros(4)  # rebound, not written
    net.zero_grad(set_to_none=True)
    net.eval()


def state(net):
    return (
        {name: buffer.clone() for name, buffer in net.named_buffers()},
        [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        [module.training for module in net.modules()],
        torch.get_rng_state(),
    )


def assert_same(before, after):
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    for a, b in zip(before[1], after[1], strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
    assert before[2] == after[2]
    assert torch.equal(before[3], after[3])


def test_modes_buffers_gradients_and_random_state_come_back(net):
    before = state(net)
    with preserved(net):
        disturb(net)
        assert not torch.equal(torch.get_rng_state(), before[3])
    assert_same(before, state(net))


def test_they_come_back_after_an_error_too(net):
    before = state(net)
    with pytest.raises(ZeroDivisionError):
        disturb_and_fail(net)
    assert_same(before, state(net))


def test_gradients_accumulated_in_place_are_undone(net):
    before, gradient = state(net), net[0].weight.grad
    with preserved(net):
        net(torch.ones(2, 3)).sum().backward()
    assert_same(before, state(net))
    assert net[0].weight.grad is gradient


def test_weights_that_forward_changes_come_back():
    def clip(module, _):
        module.weight.data.clamp_(-0.1, 0.1)

    embedding, clipped = nn.Embedding(50, 4, max_norm=1.0), nn.Linear(4, 4)
    clipped.register_forward_pre_hook(clip)
    for net, x in ((embedding, torch.arange(50)), (clipped, torch.ones(2, 4))):
        before = net.weight.detach().clone()
        with preserved(net):
            net(x)
            assert not torch.equal(net.weight, before)
        assert torch.equal(net.weight, before)


def test_a_graph_made_inside_is_usable_outside():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.ones(2, 3)
    expected = torch.autograd.grad(net(x).square().sum(), net[0].weight)[0]
    with preserved(net):
        loss = net(x).square().sum()
    assert torch.equal(torch.autograd.grad(loss, net[0].weight)[0], expected)
