"""Checks what is to be watched, chooses the claims, takes the rows, and records the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from universality.errors import BadParameter
from universality.measures import preserved
from universality.plan.trial import try_network
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.kit.losses import objective
from universality.plugin.kit.unwrapped import unwrapped
from universality.plugin.kit.updates import as_updated
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.randomness import undisturbed
from universality.plugin.schedules import Schedule
from universality.plugin.settings import default_settings
from universality.plugin.spec import Loss, Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.watching.hessian_alone import is_sharpness, without_threshold
from universality.watching.live_recipe import recipe_of, unknown
from universality.watching.rows import input_spec, take_rows
from universality.watching.selection import Selection, select
from universality.watching.session import Subject, Watch, component
from universality.watching.subject import WatchedData, check_network, watched_net

WHERE = "watch"


def prepare(
    net: Any,
    optimizer: Any,
    *,
    data: Any,
    steps: int,
    loss: Loss,
    phenomena: Sequence[str],
    probes: Mapping[str, Schedule],
    validation: Any,
    batch_size: int | None,
    family: str,
    rows: int,
    plugins: Sequence[Path],
) -> Watch:
    """What `universality.watch` returns; its arguments, cost and errors."""
    _check_numbers(steps, rows, batch_size)
    registry.load_plugins(plugins)
    chosen = _chosen(phenomena)
    observe = _schedules(probes, steps)
    if not chosen and not observe:
        raise BadParameter(
            "nothing to watch for",
            where=WHERE,
            expected=f"phenomena: {', '.join(registry.names('phenomenon'))}; or probes: {', '.join(registry.names('probe'))}",
            do='phenomena=["neural_collapse"], or probes={"sharpness": Every(50)}',
        )
    _check_weights(net, optimizer)
    inner, wrappers = unwrapped(net)
    notes = [f"probes take the network inside {wrapper}" for wrapper in wrappers]
    if not net.training:
        notes.append("the network was in evaluation mode when watch was called: is net.train() missing?")
    elif held := [name for name, module in inner.named_modules() if not module.training]:
        notes.append(
            f"{len(held)} modules are held in evaluation mode, such as {held[0]}: the loss of the updates is that of this "
            "mixture, which probes keep"
        )
    _check_alone(inner)
    device = next(inner.parameters()).device
    splits, batch = _splits(data, validation, rows, loss, device, notes)  # under settings of the loader's own
    size = batch if batch_size is None else batch_size
    notes.append(_updates_of(size, told=batch_size is not None))
    with undisturbed(device), default_settings():
        subject = _subject(inner, optimizer, splits, device, loss, notes)
        if validation is None:
            subject = replace(subject, held_out=False)
        recipe = recipe_of(optimizer, steps=steps, loss=loss, batch_size=size)
        selection = _selection(subject, chosen, recipe, family)
        for claim in selection.claims:
            for address, at in claim.observe.items():
                observe[address] = tuple(sorted({*observe.get(address, ()), *at}))
        if not observe:
            raise BadParameter(
                "phenomena of which this training says nothing",
                where=WHERE,
                got="; ".join(f"{claim}: {why}" for claim, why in selection.left_out.items()),
                expected="a claim that a single training can speak to",
                do="take others (universality list), probes={...} for series alone, or universality run",
            )
        if other := _not_descent(recipe, observe):
            notes.append(other)
        if any(map(is_sharpness, observe)) and (reason := without_threshold(optimizer)):
            notes.append(
                f"no stability threshold is known of {reason}: sharpness.value is that of the Hessian alone, without "
                "preconditioner and decay, threshold and ratio are no numbers"
            )
        _try_curvature(subject, recipe, observe)
        return Watch(subject, RunSpec(component(), component(), recipe, seed=0), selection, observe, notes)


def _check_numbers(steps: Any, rows: Any, batch_size: Any) -> None:
    least = {
        "steps": (steps, 1),
        "rows": (rows, 2),
        "batch_size": (0 if batch_size is None else batch_size, 0),
    }
    for name, (value, low) in least.items():
        if type(value) is not int or value < low:
            raise BadParameter(
                f"{name} of a training that is watched",
                where=WHERE,
                got=repr(value),
                expected=f"a whole number >= {low}",
                do="give the number of updates that the loop makes" if name == "steps" else "",
            )


def _chosen(addresses: Any) -> list[Phenomenon]:
    if isinstance(addresses, str) or not all(isinstance(address, str) for address in addresses):
        raise BadParameter(
            "phenomena are a list of addresses",
            where=WHERE,
            got=repr(addresses)[:120],
            do='phenomena=["neural_collapse", "grokking[steps=1000]"]',
        )
    chosen: list[Phenomenon] = [registry.resolve("phenomenon", address) for address in addresses]
    return chosen


def _schedules(probes: Mapping[str, Schedule], steps: int) -> dict[str, tuple[int, ...]]:
    for address, at in probes.items():
        registry.resolve("probe", address)
        if not isinstance(at, Schedule):
            raise BadParameter(
                f"the probe '{address}' has no schedule",
                where=WHERE,
                got=repr(at)[:120],
                expected="Every(20), At(0, 1) or LogSpaced() of universality.plugin",
            )
    return {address: at.steps(steps) for address, at in probes.items()}


def _check_weights(net: Any, optimizer: Any) -> None:
    if not isinstance(net, nn.Module):
        raise BadParameter("no network", where=WHERE, got=type(net).__name__, expected="a torch.nn.Module")
    trained = {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    if not trained:
        raise BadParameter(
            "a network without a parameter to train",
            where=WHERE,
            got=f"{type(net).__name__} with {sum(1 for _ in net.parameters())} parameters, all frozen",
            do="watch the network that is trained, with requires_grad where it is",
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise BadParameter(
            "no optimizer", where=WHERE, got=type(optimizer).__name__, expected="a torch.optim.Optimizer"
        )
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not trained & stepped:
        raise BadParameter(
            "an optimizer of other weights",
            where=WHERE,
            got=f"{len(stepped)} parameters, none of them of the network",
            do="make the optimizer of net.parameters(), after the network was moved or copied",
        )


def _check_alone(net: nn.Module) -> None:
    """A probe on one process must not wait for the others, which would not come."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return
    waits = [
        f"{name or 'the network'} ({type(module).__name__})"
        for name, module in net.named_modules()
        if (isinstance(module, nn.SyncBatchNorm) and (module.training or not net.training))
        or type(module).__name__ == "FullyShardedDataParallel"
    ]
    waits += [
        name for name, parameter in net.named_parameters() if type(parameter.data).__name__ == "DTensor"
    ]
    if waits:
        raise BadParameter(
            "a network that waits for other processes, while probes run on this one alone",
            where=WHERE,
            got=f"{waits[0]}{f' and {len(waits) - 1} more' if len(waits) > 1 else ''}, of {distributed.get_world_size()} processes",
            expected="whole weights on each process, and statistics of its own batch",
            do="train with nn.BatchNorm or DistributedDataParallel; or store weights and ask `universality replay`",
        )


def _updates_of(size: int, *, told: bool) -> str:
    if size:
        return f"updates of {size} rows each{'' if told else ', as the batches of the loader'} (batch_size={size})"
    return (
        "updates of all rows (batch_size=0)"
        if told
        else "updates are taken to be of all rows: batch_size=... says"
    )


def _splits(
    data: Any, validation: Any, rows: int, loss: str, device: torch.device, notes: list[str]
) -> tuple[Splits, int]:
    """The rows, on the CPU, the number of outputs still unknown, and the rows of a batch; sentences on them are added to
    the notes."""
    taken = take_rows(data, rows, device, where=f"{WHERE}, data")
    notes.append(f"training rows: {taken.note}")
    train = held = taken.split
    if validation is None:
        notes.append("validation rows: none, so that what is read of them is no number")
    else:
        other = take_rows(validation, rows, device, where=f"{WHERE}, validation")
        notes.append(f"validation rows: {other.note}")
        held = other.split
    if train.regression and loss != "mse":
        raise BadParameter(
            "a loss of classes for targets that are numbers", where=WHERE, got=f"loss={loss}", do='loss="mse"'
        )
    if train.regression != held.regression or train.inputs.shape[1:] != held.inputs.shape[1:]:
        raise BadParameter(
            "validation rows of another form than training rows",
            where=WHERE,
            got=f"inputs {list(held.inputs.shape)}, targets {held.targets.dtype}",
            expected=f"inputs [rows, {', '.join(map(str, train.inputs.shape[1:]))}], targets {train.targets.dtype}",
        )
    spec = input_spec(train.inputs, where=f"{WHERE}, data")
    size = getattr(data, "batch_size", None)
    return Splits(train, held, held, spec, outputs=0), size if type(size) is int else taken.batch


def _subject(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    splits: Splits,
    device: torch.device,
    loss: str,
    notes: list[str],
) -> Subject:
    """What is watched; sentences on its network and its optimizer are added to the notes."""
    of_logits = notes if loss == "cross_entropy" else []
    splits = replace(splits, outputs=check_network(net, splits, device, of_logits, where=WHERE))
    architecture = watched_net(net, splits.inputs, splits.outputs, where=WHERE)
    if architecture.missing is not None:
        missing = architecture.missing
        notes.append(f"no layers are known of this network: {missing.what}; {missing.do}")
    if len(optimizer.param_groups) > 1:
        notes.append(
            f"the optimizer has {len(optimizer.param_groups)} groups of parameters: rate, decay and momentum are read "
            "of the largest"
        )
    if reason := unknown(optimizer):
        notes.append(reason)
    train, held = (_moved(split, device) for split in (splits.train, splits.validation))
    on_device = replace(splits, train=train, validation=held, reference=held)
    return Subject(architecture, optimizer, splits, on_device, device)


def _moved(split: Split, device: torch.device) -> Split:
    return Split(split.inputs.to(device), split.targets.to(device))


def _selection(subject: Subject, chosen: Sequence[Phenomenon], recipe: Recipe, family: str) -> Selection:
    if not chosen:
        return Selection((), {})
    task = WatchedData(splits=subject.data, kind=family)
    signature = task.signature(Path())
    architecture = subject.architecture
    known = architecture.missing is None
    features = architecture.readout(subject.net).in_features if known else 0
    cell = Cell(architecture, task, signature, features, len(architecture.places))
    return select(chosen, cell, recipe, unknown(subject.optimizer))


def _not_descent(recipe: Recipe, observe: Mapping[str, Sequence[int]]) -> str:
    """Where flows, which are those of plain gradient descent, are recorded beside something else."""
    if recipe.optimizer != "sgd" or not any(address.partition("[")[0] == "flows" for address in observe):
        return ""
    told = [f"momentum {recipe.momentum:g}"] if recipe.momentum else []
    told += [f"batches of {recipe.batch_size} rows"] if recipe.batch_size else []
    return (
        f"flows are those of gradient descent on all rows, and this training has {' and '.join(told)}"
        if told
        else ""
    )


def _try_curvature(subject: Subject, recipe: Recipe, observe: Mapping[str, Sequence[int]]) -> None:
    """Where a probe takes second derivatives: that there are some, before hours of training."""
    asking = [address for address in observe if registry.resolve("probe", address).curvature]
    if not asking:
        return
    train = subject.splits.train
    with preserved(subject.net):
        as_updated(subject.net)
        where = f"{WHERE}, for the probe {asking[0]}"
        try_network(subject.net, objective(recipe), train.inputs, train.targets, where=where, curvature=True)
