"""Sizes of layers: checks of their range, and the rounding of scaled widths."""

from __future__ import annotations

from universality.errors import BadParameter


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
