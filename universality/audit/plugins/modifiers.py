"""Questions to a modifier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from universality.audit.plugins.architectures import INPUTS, OUTPUTS, check_network, stacks_over
from universality.audit.plugins.questions import Finding, NotAskedError, finding
from universality.plugin import registry
from universality.plugin.architecture import Architecture
from universality.plugin.modifier import Modified, Modifier


def check_modifier(plugin: Modifier) -> Iterator[Finding]:
    """Every architecture that needs no parameter, a quarter as wide, still builds, runs, is tapped and has a Hessian when modified."""
    yield stacks_over(plugin)
    for name in registry.bare_addresses("architecture"):
        architecture = registry.resolve("architecture", name)
        with suppress(NotImplementedError):
            architecture = architecture.scaled(0.25)
        yield finding(f"{name}: keeps its contract when modified", partial(_modified, plugin, architecture))


def _modified(plugin: Modifier, architecture: Architecture) -> str:
    spec = next((s for kind in INPUTS for s in INPUTS[kind] if not architecture.reject(s)), None)
    if spec is None:
        raise NotAskedError("no example of this check suits it")
    if reason := plugin.refuses(architecture, spec, OUTPUTS):
        raise NotAskedError(f"refused: {reason}")
    findings = check_network(Modified(architecture, (plugin,)), spec)
    return next((f"{finding.question}: {finding.wrong}" for finding in findings if finding.wrong), "")
