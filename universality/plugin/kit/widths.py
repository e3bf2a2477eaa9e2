"""Sizes of layers: checks of their range, the rounding of scaled widths, and which parameter is the width."""

from __future__ import annotations

from dataclasses import fields

from universality.errors import BadParameter
from universality.plugin.architecture import Architecture
from universality.plugin.modifier import unmodified


def require_at_least(minimum: int, *, where: str, **values: int | float) -> None:
    """Raise `BadParameter` for the first of `values` below `minimum`."""
    for name, value in values.items():
        if value < minimum:
            raise BadParameter(
                f"{name} is too small", where=where, got=f"{name}={value}", expected=f"{name} >= {minimum}"
            )


def scaled_width(width: int, factor: int | float, *, multiple: int = 1) -> int:
    """`factor * width` rounded to the nearest positive multiple of `multiple`.

    Attention needs the multiple: heads divide the width.

    >>> scaled_width(64, 0.7, multiple=4)
    44
    >>> scaled_width(8, 0.01)
    1
    """
    if factor <= 0:
        raise BadParameter("a width scales by a positive factor", got=f"{factor:g}", expected="> 0")
    return multiple * max(1, round(width * factor / multiple))


def scaling_axis(architecture: Architecture) -> tuple[str, int]:
    """The first parameter that the scaling axis changes, and its value. Raises `NotImplementedError` without one."""
    own, wider = unmodified(architecture), unmodified(architecture.scaled(2.0))
    for entry in fields(own):  # type: ignore[arg-type]  # architectures are dataclasses
        value = getattr(own, entry.name)
        if value != getattr(wider, entry.name):
            return entry.name, value
    raise NotImplementedError(f"{architecture.name} does not change with its scaling axis")
