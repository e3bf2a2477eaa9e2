"""`universality list`: what is registered, with parameters and sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from universality.commands.cli import several

What = Literal["architectures", "modifiers", "tasks", "phenomena", "probes", "suites"]
_KINDS = {
    "architectures": "architecture",
    "modifiers": "modifier",
    "tasks": "task",
    "phenomena": "phenomenon",
    "probes": "probe",
}
_FACTORY = "Any function or class of your own that takes `outputs`, and `inputs`, and makes a network"


def listing(
    what: What | None = None, *, plugins: Sequence[Path] = (), write: Path | None = None
) -> list[str]:
    """What is registered, with parameters and sources: one kind of thing, or all of them.

    Args:
        what: one kind of thing
        write: write a page of each built-in phenomenon into this folder

    Returns:
        Lines of text.

    Examples:
        universality list phenomena
    """
    from universality.plan import suite
    from universality.plugin import registry

    registry.load_plugins(map(Path, several(plugins)))
    lines: list[str] = []
    if write is not None:
        from universality.output import handbook

        return [f"written: {path}" for path in handbook.write(Path(write))]
    for title in [what] if what else [*_KINDS, "suites"]:
        lines.append(title)
        if title == "suites":
            lines += [
                f"  {name:<26} {suite.load(str(path)).description}" for name, path in suite.builtin().items()
            ]
        else:
            for name in registry.names(_KINDS[title]):
                lines += _described(registry.plugin_class(_KINDS[title], name))
        if title == "architectures":
            lines.append(f"  {'MODULE:FACTORY':<26} {_FACTORY}")
        lines.append("")
    return lines


def _described(cls: type) -> Iterator[str]:
    from universality.plugin import registry

    text = (cls.__doc__ or "").strip().splitlines()
    yield f"  {cls.name:<26} {text[0] if text else ''}"  # type: ignore[attr-defined]
    if parameters := registry.parameters(cls):
        defaults = ", ".join(f"{k}={_plain(registry.default(v))}" for k, v in parameters.items())
        yield f"  {'':<26}   [{defaults}]"
    if source := getattr(cls, "source", ""):
        yield f"  {'':<26}   {source}"
    if facts := [getattr(cls, key) for key in ("tier", "licence") if getattr(cls, key, "")]:
        yield f"  {'':<26}   {', '.join(facts)}"
    for path, digest in getattr(cls, "digests", {}).items():
        yield f"  {'':<26}   {path}: sha256 {digest[:12]}..."
    if dispute := getattr(cls, "dispute", ""):
        yield f"  {'':<26}   disputed: {dispute}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | str) else "(required)"
