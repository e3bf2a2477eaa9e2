"""Which characters figures can draw on this machine, and with which fonts."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

FIRST = "DejaVu Sans"
"""Comes with matplotlib: texts that it can draw look alike everywhere."""

FURTHER = (
    "Noto Sans",
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "NanumGothic",
    "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Ethiopic",
    "Arial Unicode MS", "Unifont",
)  # fmt: skip
"""Asked, in this order, for what the first lacks, where they are installed."""


@cache
def families() -> list[str]:
    """The fonts that figures name, the first that has a character draws it."""
    installed = {font.name for font in fontManager.ttflist}
    return [FIRST, *(name for name in FURTHER if name in installed)]


@cache
def drawable() -> frozenset[int]:
    """Numbers of the characters that one of the `families` has, whether regular or bold."""
    return frozenset().union(
        *(
            _characters(FontProperties(family=name)) & _characters(FontProperties(family=name, weight="bold"))
            for name in families()
        )
    )


@cache
def advance(letter: str, bold: bool = False) -> float:
    """How wide a letter is, in sizes of the text: of `FIRST`; one, as of a Chinese letter, where another font draws it.

    >>> round(advance("i"), 2), round(advance("m"), 2), round(advance("m", bold=True), 2)
    (0.28, 0.97, 1.04)
    """
    font = get_font(findfont(FontProperties(family=FIRST, weight="bold" if bold else "normal")))
    if ord(letter) not in font.get_charmap():
        return 1.0
    font.set_size(100, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100


def _characters(properties: FontProperties) -> frozenset[int]:
    return frozenset(get_font(findfont(properties)).get_charmap())
