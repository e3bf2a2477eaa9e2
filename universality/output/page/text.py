"""Text that others wrote, made safe to show: names of a results folder are not to be trusted."""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import Any

from markupsafe import Markup, escape

from universality.store.compressed import gunzipped, gzipped
from universality.store.untrusted import MAX_BYTES, UntrustedFile, too_large
from universality.text import brief, code_point, finite, is_invisible

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_GIVEN = re.compile(r"(?<=\w)=")
"""Between a parameter and its value; that of >= is none."""


def breakable(name: str) -> Markup:
    """A name that may be broken before its parameters and its modifiers, after each parameter and each =, and at underscores.

    >>> str(breakable("mlp[width=2,bias_lr=3]"))
    'mlp<wbr>[width=<wbr>2,<wbr>bias_<wbr>lr=<wbr>3]'
    """
    html = str(escape(name)).replace(",", ",<wbr>").replace("[", "<wbr>[").replace("_", "_<wbr>")
    html = _GIVEN.sub("=<wbr>", html)
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


def packed(value: Any) -> Markup:
    """JSON for the inside of a script element, compressed, in letters that no browser takes for markup.

    Numbers that JSON lacks become null.

    >>> unpacked(packed({"a": "</script>", "b": float("nan")}))
    b'{"a":"</script>","b":null}'
    """
    try:
        text = _json(value)
    except ValueError:
        text = _json(finite(value))
    return Markup(base64.b64encode(gzipped([text.encode()])).decode())


def unpacked(text: str) -> bytes:
    """The JSON of `packed`, whoever wrote it. Raises `UntrustedFile`, for more than is read of a file too."""
    try:
        data = gunzipped(base64.b64decode(text, validate=True), MAX_BYTES)
    except ValueError as error:
        raise UntrustedFile(f"is not packed as universality does it: {error}") from None
    if reason := too_large(data):
        raise UntrustedFile(reason)
    return data


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def linked(source: object, most: int = 400) -> Markup:
    """A citation of at most so many characters, whose arXiv numbers are links."""
    pieces = _ARXIV.split(brief(source, most))
    html = Markup()
    for index, piece in enumerate(pieces):
        link = f'<a href="https://arxiv.org/abs/{piece}" rel="noreferrer">arXiv:{piece}</a>'
        html += Markup(link) if index % 2 else escape(piece)
    return html
