"""Text that others wrote, made safe to show: names of a results folder are not to be trusted."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from markupsafe import Markup, escape

from universality.text import brief, code_point, finite, is_invisible

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_IN_SCRIPT = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def breakable(name: str) -> Markup:
    """A name that may be broken before its parameters and its modifiers, after each parameter and at underscores.

    >>> str(breakable("mlp[width=2,bias_lr=3]"))
    'mlp<wbr>[width=2,<wbr>bias_<wbr>lr=3]'
    """
    html = str(escape(name)).replace(",", ",<wbr>").replace("[", "<wbr>[").replace("_", "_<wbr>")
    return Markup(html.replace("+", "<wbr>+"))


def shell_quoted(word: str) -> str:
    r"""One word of a shell command. What cannot be seen is escaped, as bash and zsh read it.

    >>> shell_quoted("mlp[width=2]"), shell_quoted("a\nb")
    ("'mlp[width=2]'", "$'a\\nb'")
    """
    if not any(map(is_invisible, word)):
        return shlex.quote(word)
    special = {"\\": "\\\\", "'": "\\'", "\n": "\\n"}
    return "$'" + "".join(special.get(c) or (code_point(c) if is_invisible(c) else c) for c in word) + "'"


def script_json(value: Any) -> Markup:
    r"""JSON for the inside of a script element: no character in it can end the element or open a tag.

    Numbers that JSON lacks become null.

    >>> str(script_json({"a": "</script>", "b": float("nan")}))
    '{"a":"\\u003c/script\\u003e","b":null}'
    """
    try:
        text = _json(value)
    except ValueError:
        text = _json(finite(value))
    for character, escape_of in _IN_SCRIPT.items():  # of a page of megabytes, faster than `translate`
        text = text.replace(character, escape_of)
    return Markup(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def linked(source: object) -> Markup:
    """A citation whose arXiv numbers are links."""
    pieces = _ARXIV.split(brief(source, 400))
    html = Markup()
    for index, piece in enumerate(pieces):
        link = f'<a href="https://arxiv.org/abs/{piece}" rel="noreferrer">arXiv:{piece}</a>'
        html += Markup(link) if index % 2 else escape(piece)
    return html
