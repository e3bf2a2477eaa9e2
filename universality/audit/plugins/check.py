"""`universality check NAME`: every plugin of that name, asked the questions of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from universality.audit.plugins.architectures import check_architecture
from universality.audit.plugins.modifiers import check_modifier
from universality.audit.plugins.phenomena import check_phenomenon_plugin
from universality.audit.plugins.probes import check_probe
from universality.audit.plugins.questions import Finding, finding
from universality.audit.plugins.tasks import check_task
from universality.errors import UniversalityError, unknown_name
from universality.plugin import registry
from universality.plugin.factory import is_factory
from universality.plugin.registry import Plugin, component
from universality.plugin.spec import parse_address, split_address


def check_plugin(address: str, data_root: Path) -> dict[str, list[Finding]]:
    """The findings of every plugin called so, by kind; plugins must have been loaded.

    Raises:
        UnknownName: where no plugin has this name.
        BadParameter: where its parameters do not suit it.
    """
    kinds: dict[str, Callable[[Any], Iterator[Finding]]] = {
        "architecture": check_architecture,
        "modifier": check_modifier,
        "task": partial(check_task, data_root=data_root),
        "probe": partial(check_probe, data_root=data_root),
        "phenomenon": partial(check_phenomenon_plugin, data_root=data_root),
    }
    name = parse_address(split_address(address)[0], where=address)[0]
    findings: dict[str, list[Finding]] = {}
    for kind, questions in kinds.items():
        if name in registry.names(kind) or (kind == "architecture" and is_factory(name)):
            plugin = registry.resolve(kind, address)
            first = finding("its address leads back to it", partial(_address, kind, plugin))
            findings[kind] = [first, *questions(plugin)]
    if not findings:
        names = [n for kind in kinds for n in registry.names(kind)]
        raise unknown_name("folder or plugin", name, names)
    return findings


def _address(kind: str, plugin: Plugin) -> str:
    address = str(component(plugin))
    try:
        again = registry.resolve(kind, address)
    except UniversalityError as error:
        return f"{address}: {error.what}"
    return "" if again == plugin else f"{address} is another plugin: its fields are no parameters"
