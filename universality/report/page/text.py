"""Text that others wrote, made safe to show: names of a results folder are not to be trusted."""

from __future__ import annotations

import json
import math
import re
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def plain(text: object, *, lines: bool = False) -> str:
    r"""`text` in one line, with everything that cannot be seen spelled out.

    Overrides of the writing direction, control characters and lone surrogates become `\u202e`.
    With `lines`, line feeds stay.

    >>> plain("mlp\u202egnp.exe\n2")
    'mlp\\u202egnp.exe 2'
    """
    raw = str(text)
    raw = raw if lines else re.sub(r"\s+", " ", raw)
    if raw.isprintable():
        return raw
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in _HIDDEN and c != "\n" else c for c in raw)


def short(text: str, most: int = 90) -> str:
    """At most `most` characters, the middle left out.

    >>> short("transformer[dim=16]", 11)
    'trans…m=16]'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def breakable(name: str) -> Markup:
    """A name that may be broken before its parameters, after each of them and at underscores.

    >>> str(breakable("mlp[width=2,bias_lr=3]"))
    'mlp<wbr>[width=2,<wbr>bias_<wbr>lr=3]'
    """
    html = str(escape(name)).replace(",", ",<wbr>").replace("[", "<wbr>[").replace("_", "_<wbr>")
    return Markup(html)


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits with a true minus sign; a dash for nothing.

    >>> number(-0.012345), number(123456.0), number(None), number(0.89973, 4)
    ('−0.0123', '1.23e5', '–', '0.8997')
    """
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        text = f"{value:#.{digits}g}".rstrip(".") if abs(value) < 1e3 else f"{value:.0f}"
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text.replace("-", "\N{MINUS SIGN}")


def bracket(low: float | None, high: float | None) -> str:
    """An interval, or nothing.

    >>> bracket(0.5, 2.0)
    '[0.500, 2.00]'
    """
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def bounds(claim: object) -> str:
    """A claim in words, with the signs that people write."""
    return plain(claim).replace("<=", "≤").replace(">=", "≥")


def shell_quoted(word: str) -> str:
    r"""One word of a shell command. What cannot be seen is escaped, as bash and zsh read it.

    >>> shell_quoted("mlp[width=2]"), shell_quoted("a\nb")
    ("'mlp[width=2]'", "$'a\\nb'")
    """
    if not any(unicodedata.category(c) in _HIDDEN for c in word):
        return shlex.quote(word)
    escaped = {"\\": "\\\\", "'": "\\'", "\n": "\\n"}
    return "$'" + "".join(escaped.get(c) or _ansi(c) for c in word) + "'"


def _ansi(c: str) -> str:
    if unicodedata.category(c) not in _HIDDEN:
        return c
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def script_json(value: Any) -> Markup:
    r"""JSON for the inside of a script element: no character in it can end the element or open a tag.

    Numbers that JSON lacks become null.

    >>> str(script_json({"a": "</script>", "b": float("nan")}))
    '{"a":"\\u003c/script\\u003e","b":null}'
    """
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_IN_SCRIPT))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def linked(source: object) -> Markup:
    """A citation whose arXiv numbers are links."""
    pieces = _ARXIV.split(short(plain(source), 400))
    html = Markup()
    for index, piece in enumerate(pieces):
        link = f'<a href="https://arxiv.org/abs/{piece}" rel="noreferrer">arXiv:{piece}</a>'
        html += Markup(link) if index % 2 else escape(piece)
    return html
