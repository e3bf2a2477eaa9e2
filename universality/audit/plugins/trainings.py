"""Questions to an architecture while it trains: is a run what its seed says, whoever looks on and trains beside it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from universality.audit.plugins.questions import Finding, NotAskedError, finding
from universality.errors import MeasurementError
from universality.measures.network.hidden_state import HiddenState
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.registry import component
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained, build_network
from universality.train.messages import Engine

RECIPE = Recipe(steps=4, lr=0.01, momentum=0.9, batch_size=8)
_ROWS = 24
_NEAR = 1e-3
"""Relative distance of weights that were trained at once and one by one, which round differently."""


def check_training(plugin: Architecture, spec: InputSpec, outputs: int) -> Iterator[Finding]:
    """Short trainings on made-up data: again, observed, and side by side. What the engine found to keep or to
    avoid on the way is noted."""
    kind, runs = spec.kind, list[Trained]()
    members = [_member(plugin, spec, outputs, seed) for seed in (0, 1)]

    def again() -> str:
        runs.extend(_trained([member])[0] for member in members)
        if _distance(runs[0], _trained(members[:1])[0]) > 0:
            return (
                "two trainings differ: it draws from what no seed reaches, such as default_rng() or the time"
            )
        return ""

    repeating = finding(f"{kind}: the same run again gives the same", again)
    if not repeating.wrong:
        drawn = runs[0].facts.get("generators", [])
        note = f"it draws from {' and '.join(drawn)}, which is seeded by the run" if drawn else ""
        repeating = replace(repeating, note=note)
    yield repeating
    if repeating.wrong:
        return
    observing = finding(f"{kind}: observing changes nothing", lambda: _observed(members[0], runs[0]))
    if changed := _changes(members[0]):
        observing = replace(
            observing, note=f"forward changes {', '.join(changed)}, put back after every probe"
        )
    yield observing
    engines: tuple[tuple[Engine, str, float], ...] = (
        ("loop", "one by one", 0.0),
        ("fused", "at once", _NEAR),
    )
    for engine, how, far in engines:
        stacks: list[list[Trained]] = []

        def beside(engine: Engine = engine, far: float = far, stacks: list[list[Trained]] = stacks) -> str:
            stacks.append(_trained(members, engine))
            apart = max(map(_distance, stacks[0], runs))
            return f"weights differ by {apart:.1g} of their size" if apart > far else ""

        answer = finding(f"{kind}: two seeds side by side, gradients {how}, are what they are alone", beside)
        reason = stacks[0][0].facts["engine"]["fallback"] if stacks else ""
        yield replace(answer, note=f"not trained so: {reason}" if reason else "")


def _member(plugin: Architecture, spec: InputSpec, outputs: int, seed: int) -> Member:
    generator = torch.Generator().manual_seed(seed)
    shape = (_ROWS, *spec.shape)
    inputs = (
        torch.randint(spec.vocabulary, shape, generator=generator)
        if spec.kind == "tokens"
        else torch.randn(shape, generator=generator)
    )
    part = Split(inputs, torch.arange(_ROWS) % outputs)
    run = RunSpec(component(plugin), Component("made_up"), RECIPE, seed)
    return Member(run, plugin, Splits(part, part, part, spec, outputs), {})


def _trained(members: Sequence[Member], engine: Engine = "auto") -> list[Trained]:
    return train_stack(members, torch.device("cpu"), engine)


def _changes(member: Member) -> list[str]:
    """What one training step leaves in the network, beside parameters and buffers."""
    net = build_network(member.spec, member.architecture, member.splits).train()
    hidden = HiddenState(net)
    try:
        net(member.splits.train.inputs)
        return [name for name in hidden.changes() if name not in dict(net.named_buffers())]
    finally:
        hidden.restore_outside()


def _observed(member: Member, alone: Trained) -> str:
    probes: Mapping[str, tuple[int, ...]] = {"accuracy": (0, 2), "sharpness": (1, 3)}
    try:
        (run,) = _trained([replace(member, observe=probes)])
    except MeasurementError as error:
        raise NotAskedError(f"no probe can look at it: {error.what}") from error
    return "" if _distance(run, alone) == 0 else "the training ends at other weights with probes than without"


def _distance(a: Trained, b: Trained) -> float:
    """Of all parameters and buffers, relative to their size."""

    def flat(run: Trained) -> Tensor:
        return torch.cat([tensor.flatten().double() for tensor in run.net.state_dict().values()])

    difference = float((flat(a) - flat(b)).norm() / flat(b).norm())
    return difference if a.state == b.state else float("inf")
