"""Whatever `forward` writes beside parameters and buffers is seen, named and put back."""

import array
import functools
import itertools
import random
import sys
import threading
import types
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from universality.measures import preserved
from universality.measures.network.hidden_state import HiddenState, shared

COUNT = 0
SEEN = []


@dataclass
class Notes:
    lines: list = field(default_factory=list)


class Slotted:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 0


def counting():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


def remember(value, seen=[]):  # noqa: B006
    seen.append(value)
    return len(seen)


def helper():
    global COUNT
    COUNT += 1
    SEEN.append(COUNT)
    return COUNT


def appended(net):
    net.state.append(1)


def counted(net):
    net.state["calls"] += 1


class Net(nn.Module):
    calls = 0

    def __init__(self, state=None, change=None):
        super().__init__()
        self.layer, self.state, self.change = nn.Linear(2, 2), state, change
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x):
        self.change(self)
        return self.layer(x)


def rebind(net):
    net.mean = net.mean + 1


def count_attribute(net):
    net.state += 1


def count_class(net):
    type(net).calls += 1


def new_attribute(net):
    net.fresh = 1


KINDS = {
    "number": (lambda: 0, count_attribute, "state", lambda n: n.state),
    "list": (lambda: [0], appended, "state", lambda n: list(n.state)),
    "deque": (lambda: deque([0], maxlen=2), appended, "state", lambda n: list(n.state)),
    "array": (lambda: array.array("d"), lambda n: n.state.append(1.0), "state", lambda n: list(n.state)),
    "dict": (lambda: {"calls": 0}, counted, "state.calls", lambda n: dict(n.state)),
    "counter": (Counter, counted, "state.calls", lambda n: dict(n.state)),
    "nested": (
        lambda: {"a": (1, [0])},
        lambda n: n.state["a"][1].append(1),
        "state.a.1",
        lambda n: str(n.state),
    ),
    "set": (set, lambda n: n.state.add(1), "state", lambda n: set(n.state)),
    "numpy": (lambda: np.zeros(3), count_attribute, "state", lambda n: n.state.tolist()),
    "tensor": (lambda: torch.zeros(3), count_attribute, "state", lambda n: n.state.tolist()),
    "object": (Notes, lambda n: n.state.lines.append(1), "state.lines", lambda n: list(n.state.lines)),
    "slots": (
        Slotted,
        lambda n: setattr(n.state, "count", n.state.count + 1),
        "state.count",
        lambda n: n.state.count,
    ),
    "namespace": (
        lambda: types.SimpleNamespace(calls=0),
        lambda n: setattr(n.state, "calls", 1),
        "state.calls",
        lambda n: n.state.calls,
    ),
    "unregistered module": (
        lambda: [nn.BatchNorm1d(2)],
        lambda n: n.state[0](torch.ones(3, 2)),
        "state.0._buffers.running_mean",
        lambda n: n.state[0].running_mean.tolist(),
    ),
    "closure": (counting, lambda n: n.state(), "count", lambda n: n.state.__closure__[0].cell_contents),
    "partial": (
        lambda: functools.partial(remember, seen=[]),
        lambda n: n.state(1),
        "state.2.seen",
        lambda n: list(n.state.keywords["seen"]),
    ),
    "default": (lambda: remember, lambda n: n.state(1), "defaults of remember.0", lambda n: str(remember.__defaults__)),
    "helper": (lambda: helper, lambda n: n.state(), "COUNT", lambda n: (COUNT, list(SEEN))),
    "count": (itertools.count, lambda n: next(n.state), "state", lambda n: repr(n.state)),
    "iterator": (lambda: iter([1, 2]), lambda n: next(n.state), "state", lambda n: n.state.__length_hint__()),
    "torch generator": (
        lambda: torch.Generator().manual_seed(0),
        lambda n: torch.rand(1, generator=n.state),
        "state",
        lambda n: n.state.get_state().tolist(),
    ),
    "random": (lambda: random.Random(0), lambda n: n.state.random(), "state", lambda n: n.state.getstate()),
    "numpy generator": (
        lambda: np.random.default_rng(0),
        lambda n: n.state.random(),
        "state.state",
        lambda n: str(n.state.bit_generator.state),
    ),
    "numpy legacy": (
        lambda: np.random.RandomState(0),
        lambda n: n.state.rand(),
        "state.state",
        lambda n: str(n.state.get_state(legacy=False)),
    ),
    "buffer": (lambda: None, rebind, "mean", lambda n: n.mean.tolist()),
    "class": (lambda: None, count_class, "Net.calls", lambda n: Net.calls),
    "fresh": (lambda: None, new_attribute, "fresh", lambda n: hasattr(n, "fresh")),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_state_is_named_and_put_back(kind):
    make, change, name, look = KINDS[kind]
    net = Net(make(), change)
    hidden, before, state = HiddenState(net), look(net), net.state
    with preserved(net):
        net(torch.ones(1, 2))
        assert name in hidden.changes()
        assert look(net) != before
    assert look(net) == before
    assert hidden.changes() == []
    assert kind in ("count", "iterator") or net.state is state
    assert look(net) == before


def test_global_generators_are_put_back():
    net = Net(change=lambda n: (random.random(), np.random.rand()))
    random.seed(0)
    np.random.seed(0)
    expected = random.random(), np.random.rand()
    random.seed(0)
    np.random.seed(0)
    with preserved(net):
        net(torch.ones(1, 2))
    assert (random.random(), np.random.rand()) == expected


def test_a_copied_iterator_goes_on_over_the_layers_themselves():
    net = Net(change=lambda n: None)
    net.turn = itertools.cycle([net.layer])
    with preserved(net):
        next(net.turn)
    assert next(net.turn) is net.layer


def test_what_cannot_be_copied_is_named():
    net = Net(change=lambda n: None)
    net.turn = (number for number in range(3))
    assert HiddenState(net).lost == ["turn"]


def test_a_network_without_state_has_no_changes():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.LSTM(3, 2))
    hidden = HiddenState(net)
    net(torch.randn(4, 2))[0].sum().backward()
    assert hidden.changes() == []


def test_two_networks_share_what_their_class_and_one_list_hold():
    one = [0]
    nets = [Net(one, appended), Net(one, appended)]
    states = [HiddenState(net) for net in nets]
    nets[0](torch.ones(1, 2))
    assert [name for kept in shared(states) for name in kept.changes()] == ["state"]
    own = [HiddenState(net) for net in (Net([0], appended), Net([0], appended))]
    nets[0](torch.ones(1, 2))
    assert [name for kept in shared(own) for name in kept.changes()] == []


class Collector:
    def __init__(self):
        self.seen = []

    def __call__(self, *_):
        self.seen.append(1)

    def of_tensor(self, gradient):
        self.seen.append(1)


def forward_hook(net, collector):
    net.layer.register_forward_hook(lambda *_: collector.seen.append(1))


def global_hook(net, collector):
    return nn.modules.module.register_module_forward_hook(collector)


HOOKS = {
    "forward, a closure": forward_hook,
    "forward, an object": lambda n, c: n.layer.register_forward_hook(c),
    "before forward, a method": lambda n, c: n.register_forward_pre_hook(c.__call__),
    "backward": lambda n, c: n.layer.register_full_backward_hook(c),
    "before backward, partial": lambda n, c: n.layer.register_full_backward_pre_hook(
        functools.partial(Collector.__call__, c)
    ),
    "of a gradient": lambda n, c: n.layer.weight.register_hook(c.of_tensor),
    "of a gradient that is there": lambda n, c: n.layer.weight.register_post_accumulate_grad_hook(c.of_tensor),
    "of every module": global_hook,
}  # fmt: skip


@pytest.mark.parametrize("kind", HOOKS)
def test_what_a_hook_writes_is_put_back(kind):
    net, collector = Net(change=lambda n: None), Collector()
    handle = HOOKS[kind](net, collector)
    try:
        with preserved(net):
            net(torch.ones(1, 2, requires_grad=True)).sum().backward()
            assert collector.seen
        assert collector.seen == []
    finally:
        if handle is not None:
            handle.remove()


def test_a_hook_that_takes_itself_off_is_there_again():
    net = Net(change=lambda n: None)
    handles = []

    def once(*_):
        handles.pop().remove()

    handles.append(net.layer.register_forward_hook(once))
    with preserved(net):
        net(torch.ones(1, 2))
        assert not net.layer._forward_hooks
    assert list(net.layer._forward_hooks.values()) == [once]
    handles[0].remove()
    assert not net.layer._forward_hooks


class Sender:
    """Of a thread of its own, as loggers have them."""

    def __init__(self):
        self.lock, self.sent, self.count = threading.Lock(), [], 0


class Holder:
    def __init__(self, sender):
        self.logger = sender


def test_what_belongs_to_the_training_is_left_to_it(monkeypatch):
    library = types.ModuleType("lightning.pytorch.stub")
    trainer_class = type("Trainer", (), {"__module__": library.__name__})
    monkeypatch.setitem(sys.modules, library.__name__, library)
    net = Net(change=lambda n: None)
    plain, under_lock, of_library = Notes(), Sender(), trainer_class()
    of_library.lines = []
    net._trainer, net.log, net.held = Holder(plain), under_lock, of_library
    with preserved(net):
        plain.lines.append(1)
        under_lock.sent.append(1)
        under_lock.count += 1
        of_library.lines.append(1)
    assert (plain.lines, under_lock.sent, under_lock.count, of_library.lines) == ([1], [1], 1, [1])
    assert isinstance(net._trainer, Holder)
