"""Networks of one architecture in one storage, trained by one of torch's own optimizers.

    weights, gradients   [members, numbers]: a row per network, its parameters one after another
    networks[s]          an ordinary network whose parameters are views of row s

torch's optimizers act on every number alone, so one step on the rows is every member's own step,
bit for bit, in a handful of operations instead of some for every parameter of every network. That
pays for a single network too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from universality.plugin.spec import Recipe
from universality.train.engine.optimizers import build_optimizer, trainable

_LINE = 64
"""Bytes at which every parameter begins, as torch's own allocations do: alignment can change the
order in which a matrix product is summed, and with it the last bit."""


STEP = "step"
"""Under which torch's optimizers count their updates; all else that they keep has the shape of a parameter."""


class CannotStack(Exception):
    """Why these networks cannot share one storage, or not be trained side by side."""


class Ensemble:
    """Stacked networks and their optimizer.

    Args:
        networks: their trainable parameters agree in name, shape and type. They are changed in place:
            each parameter keeps its identity and moves into the common storage.
        recipes: one per network, of one optimizer class. Neighbours with the same recipe share a
            group of the optimizer, and with it its operations.
        rates: learning rate per member.

    Raises:
        CannotStack: parameters that differ, are of several types or do not lie contiguously.
    """

    def __init__(
        self, networks: Sequence[nn.Module], recipes: Sequence[Recipe], rates: Sequence[float]
    ) -> None:
        self._networks = tuple(networks)
        self._recipes, self._rates, self._factor = tuple(recipes), tuple(rates), 1.0
        by_name = [{n: p for n, p in net.named_parameters() if p.requires_grad} for net in networks]
        self._check(by_name)
        self.trainable: tuple[tuple[nn.Parameter, ...], ...] = tuple(tuple(each.values()) for each in by_name)
        first = self.trainable[0]
        line = max(1, _LINE // first[0].element_size())
        self._shapes = [p.shape for p in first]
        self._starts, numbers = [], 0
        for parameter in first:
            self._starts.append(numbers)
            numbers += -(-parameter.numel() // line) * line
        self.weights = first[0].detach().new_zeros(len(networks), numbers)
        self.gradients = torch.zeros_like(self.weights)
        for row, parameters in zip(self.weights, self.trainable, strict=True):
            for parameter, place in zip(parameters, self._views(row), strict=True):
                place.copy_(parameter.detach())
                parameter.data = place
        self._gradients = [self._views(row) for row in self.gradients]
        self.parameters: dict[str, Tensor] = dict(zip(by_name[0], self._views(self.weights), strict=True))
        self._stacked_gradients = self._views(self.gradients)
        self.buffers: dict[str, Tensor] = {}
        self._alone: dict[int, tuple[torch.optim.Optimizer, dict[str, object]]] = {}
        self._groups = self._alike()
        self.optimizer = self._build_optimizer(on_device=False)

    def take(self, member: int, gradients: Sequence[Tensor | None]) -> None:
        """Keep the gradients of one member, in the order of `trainable`, for the next step.

        Copied into the layout of the parameters: a fused optimizer that is given a gradient of
        other strides than its parameter's updates the wrong numbers, silently.
        """
        torch._foreach_copy_(self._gradients[member], _whole(gradients))

    def take_stacked(self, gradients: Sequence[Tensor | None]) -> None:
        """The same for all members at once: `[members, *shape]` in the order of `parameters`."""
        torch._foreach_copy_(self._stacked_gradients, _whole(gradients))

    def step(self) -> None:
        self.optimizer.step()

    def scale_rates(self, factor: float) -> None:
        """From now on every learning rate is `factor` times its value at the start."""
        self._factor = factor
        for group, (begin, _) in zip(self.optimizer.param_groups, self._groups, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self._rates[begin] * factor)
            else:
                group["lr"] = self._rates[begin] * factor

    def optimizer_of(self, member: int) -> torch.optim.Optimizer:
        """The optimizer that this member would have alone: its parameters, rate and state, as views."""
        number = next(n for n, (begin, end) in enumerate(self._groups) if begin <= member < end)
        stacked = self.optimizer.param_groups[number]["params"][0]
        if member not in self._alone:
            parameters = self._networks[member].parameters()
            self._alone[member] = build_optimizer(self._recipes[member], parameters, self._rates[member]), {}
        alone, views = self._alone[member]
        for group in alone.param_groups:
            group["lr"] = self._rates[member] * self._factor
        row = member - self._groups[number][0]
        for key, value in self.optimizer.state.get(stacked, {}).items():
            # Optimizers write their state in place, so that views made once stay true.
            if views.get(key) is not value:
                views[key] = value
                whole = isinstance(value, Tensor) and value.shape == stacked.shape
                parts = self._views(value[row]) if whole else [value] * len(self._shapes)
                for parameter, part in zip(self.trainable[member], parts, strict=True):
                    alone.state[parameter][key] = part
        return alone

    def restore(self, states: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Before the first step: let the optimizer go on from the states of its members, one for each of `trainable`.

        Raises ValueError where these do not fit.
        """
        for (begin, end), group in zip(self._groups, self.optimizer.param_groups, strict=True):
            (stacked,), own = group["params"], states[begin:end]
            on_device = group.get("fused") or group.get("capturable")
            for key, value in own[0][0].items():
                if key == STEP:
                    if any(state[key] != value for each in own for state in each):
                        raise ValueError("members after different numbers of updates")
                    self.optimizer.state[stacked][key] = value.to(stacked.device if on_device else "cpu")
                elif value is None:
                    self.optimizer.state[stacked][key] = None
                else:
                    rows = self.optimizer.state[stacked][key] = torch.zeros_like(stacked)
                    for row, each in zip(rows, own, strict=True):
                        for place, state in zip(self._views(row), each, strict=True):
                            place.copy_(state[key])

    def stack_buffers(self) -> None:
        """Move buffers into common storage too: only gradients of all members at once need that."""
        own = [dict(net.named_buffers()) for net in self._networks]
        forms = [[(name, b.shape, b.dtype) for name, b in buffers.items()] for buffers in own]
        if any(form != forms[0] for form in forms):
            raise CannotStack("the networks have different buffers")
        for name in own[0]:
            self.buffers[name] = torch.stack([buffers[name].detach() for buffers in own])
            for buffers, place in zip(own, self.buffers[name], strict=True):
                buffers[name].data = place

    def keep_on_device(self) -> None:
        """Before the first step: an optimizer whose rates and state lie on the device, as CUDA graphs need."""
        self.optimizer = self._build_optimizer(on_device=True)

    def release(self, member: int) -> None:
        """Give a member storage of its own, so that no step of the others changes it."""
        for tensor in (*self.trainable[member], *self._networks[member].buffers()):
            tensor.data = tensor.detach().clone()
        self.weights[member].zero_()
        self.gradients[member].zero_()

    def only(self, members: Sequence[int]) -> Ensemble:
        """These members in a storage of their own, where they go on to the last bit."""
        states = [
            [dict(self.optimizer_of(number).state.get(p, {})) for p in self.trainable[number]]
            for number in members
        ]
        for number in members:
            self.release(number)
        networks, recipes, rates = self._networks, self._recipes, self._rates
        rest = Ensemble(
            [networks[n] for n in members], [recipes[n] for n in members], [rates[n] for n in members]
        )
        rest.restore(states)
        rest.scale_rates(self._factor)
        return rest

    def _check(self, by_name: Sequence[dict[str, nn.Parameter]]) -> None:
        def form(each: dict[str, nn.Parameter]) -> list[tuple[object, ...]]:
            return [(name, p.shape, p.dtype, p.device) for name, p in each.items()]

        if not by_name[0]:
            raise CannotStack("there is nothing to train")
        if any(form(each) != form(by_name[0]) for each in by_name):
            raise CannotStack("the networks have different parameters")
        if any(p.dtype != next(iter(by_name[0].values())).dtype for p in by_name[0].values()):
            raise CannotStack("parameters of several types")
        if not all(p.is_contiguous() for each in by_name for p in each.values()):
            raise CannotStack("a parameter that is not contiguous")
        if any(p.is_cuda for p in by_name[0].values()) and any(
            isinstance(module, nn.RNNBase) for module in self._networks[0].modules()
        ):
            raise CannotStack("cuDNN wants the weights of a recurrent layer in one piece of its own")

    def _views(self, rows: Tensor) -> list[Tensor]:
        """Parameters in a row of `weights`, in all rows, or in anything that lies like them."""
        return [
            rows[..., start : start + shape.numel()].view(*rows.shape[:-1], *shape)
            for start, shape in zip(self._starts, self._shapes, strict=True)
        ]

    def _alike(self) -> list[tuple[int, int]]:
        """Ranges of neighbours with the same learning rate and recipe."""

        def settings(member: int) -> tuple[float, Recipe]:
            return self._rates[member], self._recipes[member]

        ranges = []
        for _, members in groupby(range(len(self._networks)), key=settings):
            inside = list(members)
            ranges.append((inside[0], inside[-1] + 1))
        return ranges

    def _build_optimizer(self, *, on_device: bool) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer | None = None
        for begin, end in self._groups:
            rows = self.weights[begin:end]
            rows.grad = self.gradients[begin:end]
            one = build_optimizer(self._recipes[begin], [rows], self._rates[begin], on_device=on_device)
            if optimizer is None:
                optimizer = one
            else:
                optimizer.add_param_group(one.param_groups[0])
        assert optimizer is not None
        return optimizer


class Separate:
    """One optimizer per network; the interface of `Ensemble`.

    For what cannot be stacked: torch's optimizers skip a parameter without a gradient, where a row
    of numbers would be decayed as a whole.
    """

    def __init__(
        self, networks: Sequence[nn.Module], recipes: Sequence[Recipe], rates: Sequence[float]
    ) -> None:
        self.trainable = tuple(tuple(trainable(net)) for net in networks)
        self._rates = tuple(rates)
        self._optimizers = [
            build_optimizer(recipe, net.parameters(), rate)
            for net, recipe, rate in zip(networks, recipes, rates, strict=True)
        ]

    def take(self, member: int, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.trainable[member], gradients, strict=True):
            parameter.grad = gradient

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def scale_rates(self, factor: float) -> None:
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def optimizer_of(self, member: int) -> torch.optim.Optimizer:
        return self._optimizers[member]

    def restore(self, states: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        for optimizer, parameters, own in zip(self._optimizers, self.trainable, states, strict=True):
            for parameter, state in zip(parameters, own, strict=True):
                optimizer.state[parameter] = dict(state)

    def release(self, member: int) -> None:
        """Nothing to do: without gradients its optimizer leaves a member as it is."""


def _whole(gradients: Sequence[Tensor | None]) -> list[Tensor]:
    tensors = [gradient for gradient in gradients if gradient is not None]
    if len(tensors) < len(gradients):
        raise CannotStack("a parameter without a gradient")
    return tensors
