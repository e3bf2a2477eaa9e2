"""`universality list`: what is registered, with parameters and sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.plan import suite
from universality.plugin import registry

_KINDS = {
    "architectures": "architecture",
    "tasks": "task",
    "phenomena": "phenomenon",
    "probes": "probe",
}


def show(what: str | None, plugins: Sequence[str]) -> int:
    """Print one kind of thing, or all of them."""
    registry.load_plugins(Path(p) for p in plugins)
    for title in [what] if what else [*_KINDS, "suites"]:
        print(title)
        if title == "suites":
            for name, path in suite.builtin().items():
                print(f"  {name:<26} {suite.load(str(path)).description}")
        else:
            for name in registry.names(_KINDS[title]):
                _describe(registry.plugin_class(_KINDS[title], name))
        print()
    return 0


def _describe(cls: type) -> None:
    text = (cls.__doc__ or "").strip().splitlines()
    print(f"  {cls.name:<26} {text[0] if text else ''}")  # type: ignore[attr-defined]
    params = registry.parameters(cls)
    if params:
        shown = ", ".join(f"{k}={_plain(registry.default(v))}" for k, v in params.items())
        print(f"  {'':<26}   [{shown}]")
    source = getattr(cls, "source", "")
    if source:
        print(f"  {'':<26}   {source}")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | str) else "(required)"
