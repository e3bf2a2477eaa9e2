"""The next character of a text, as classification."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    damaged,
    fetch_command,
    missing,
    read_rows,
    sha256,
    spaced,
)
from universality.plugin.kit.download import download

TINY_SHAKESPEARE = "tinyshakespeare/input.txt"
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@register("char_lm", family="text", source="Karpathy 2015 (tiny shakespeare, char-rnn)")
@dataclass(frozen=True, kw_only=True)
class CharLM(Task):
    """Windows of `context` characters; the class is the character that follows.

    The vocabulary is the sorted distinct characters of the file. Training windows are distinct
    draws from the first 90 % of the text, validation windows are evenly spaced over the last
    10 %, and no character belongs to both. Read by Hugging Face `datasets`.

    Args:
        path: a UTF-8 text, absolute or relative to the data root.
        context: characters in a window.
        rows, validation_rows: numbers of windows.
    """

    tier = "real"
    licence = "public domain"
    digests: ClassVar[Mapping[str, str]] = {TINY_SHAKESPEARE: SHA256}

    path: str = TINY_SHAKESPEARE
    context: int = 32
    rows: int = 20_000
    validation_rows: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.context, self.rows, self.validation_rows) < 1:
            raise BadParameter(
                "windows need characters and rows",
                where="char_lm",
                got=f"context={self.context}, rows={self.rows}, validation_rows={self.validation_rows}",
                expected=">= 1",
            )

    def content(self, root: Path) -> str:
        # Tiny shakespeare is pinned by its own digest.
        return "" if self.path == TINY_SHAKESPEARE else sha256(root / self.path)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        text = self._text(root)
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        alphabet, codes = np.unique(points, return_inverse=True)
        cut = len(codes) * 9 // 10
        train, held = codes[:cut], codes[cut:]
        starts, fits = len(train) - self.context, len(held) - self.context
        if self.rows > starts or fits < 1:
            raise BadParameter(
                "the text is too short",
                where=f"char_lm[path={self.path}]",
                got=f"{len(codes)} characters, rows={self.rows}, context={self.context}",
                expected=f"rows <= {max(starts, 0)} and context < {len(held)}",
            )
        return Splits(
            self._windows(train, rng.choice(starts, self.rows, replace=False)),
            self._windows(held, spaced(fits, self.validation_rows)),
            self._windows(held, spaced(fits, REFERENCE_ROWS)),
            InputSpec("tokens", (self.context,), vocabulary=len(alphabet)),
            len(alphabet),
        )

    def fetch(self, root: Path) -> None:
        """Download tiny shakespeare; any other path must be put there."""
        file = root / self.path
        if file.is_file() and (self.path != TINY_SHAKESPEARE or sha256(file) == SHA256):
            return
        if self.path != TINY_SHAKESPEARE:
            raise missing(file, root=root, do=self._remedy(root))
        remedy = self._remedy(root)
        download(URL, TINY_SHAKESPEARE, root, name="tiny shakespeare", digest=SHA256, do=remedy)

    def _remedy(self, root: Path) -> str:
        if self.path == TINY_SHAKESPEARE:
            return fetch_command(self.name, root)
        return "give char_lm[path=...] a text file: absolute, or relative to --data-root"

    def _text(self, root: Path) -> str:
        file = root / self.path
        if not file.is_file():
            raise missing(file, root=root, do=self._remedy(root))
        if file.stat().st_size == 0:
            raise damaged(file, "an empty file", expected="a text", do=self._remedy(root))
        if self.path == TINY_SHAKESPEARE and (got := sha256(file)) != SHA256:
            raise damaged(file, f"sha256 {got}", expected=f"sha256 {SHA256}", do=self._remedy(root))
        try:
            rows = read_rows("text", file, ["text"], sample_by="document")
        except Exception as error:
            cause = error.__cause__ if isinstance(error.__cause__, UnicodeError) else error
            raise damaged(file, cause, expected="a UTF-8 text", do=self._remedy(root)) from error
        return str(rows["text"][0])

    def _windows(self, codes: NDArray[Any], starts: NDArray[Any]) -> Split:
        windows = np.lib.stride_tricks.sliding_window_view(codes, self.context + 1)[starts]
        rows = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.int64))
        return Split(rows[:, :-1].contiguous(), rows[:, -1].contiguous())
