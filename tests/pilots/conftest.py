"""Phenomena of the literature, as somebody would bring them: a folder of plugins, loaded as `--plugins` is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from universality.plugin import registry

HERE = Path(__file__).parent
PLUGINS = HERE / "plugins"

collect_ignore = ["plugins"]  # imported by pytest they would be registered a second time


@pytest.fixture(scope="module")
def pilots() -> Iterator[Path]:
    """The folder, whose plugins are gone afterwards."""
    known = {kind: dict(plugins) for kind, plugins in registry._plugins.items()}
    modules = set(sys.modules)
    registry.load_plugins([PLUGINS])
    yield PLUGINS
    registry._plugins.update(known)
    for name in set(sys.modules) - modules:
        if name.startswith("universality_plugins."):
            del sys.modules[name]
