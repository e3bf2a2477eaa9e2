"""Checkpoints: runs in the middle of their training, one file each, `tmp/<run_id>.checkpoint`.

A file of safetensors, replaced in one step. One tensor is the header, JSON in UTF-8, one the SHA-256 of header and all
other tensors. A checkpoint saves work and nothing else: what is damaged, of other code or of another request is left
unread, and the run trained from its start. Nothing that is read can execute code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import safetensors

from universality.plugin.spec import RunSpec
from universality.store.files import encode_record
from universality.store.untrusted import UntrustedFile, check_plain, converted, parse

HEADER, SHA256 = "header", "sha256"
"""Names of tensors of bytes."""

MAX_BYTES = 4 << 30
"""Of a checkpoint; a larger one is neither written nor read."""

FORGOTTEN_AFTER = 30 * 86_400.0
"""Seconds after which a checkpoint that nobody has taken up counts as left behind."""


class CheckpointHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint is of.

    Args:
        code: digest of what the rest of the training follows from beside the spec.
        observed: editions of probes and the steps that were planned for them.
        step, draws, run: see `universality.train.engine.snapshot.Snapshot`.
    """

    version: Literal[1] = 1
    code: str
    spec: RunSpec
    observed: Mapping[str, tuple[int, ...]]
    step: int
    draws: bool
    run: Any

    def encode(self) -> bytes:
        return encode_record(self)

    @classmethod
    def decode(cls, data: bytes) -> CheckpointHeader:
        """Raises `UntrustedFile`."""
        return converted(parse(data), cls)


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without a look at the rest. Raises `UntrustedFile`."""
    check_plain(path, MAX_BYTES)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.get_slice(HEADER)
            if header.get_dtype() != "U8" or len(header.get_shape()) != 1:
                raise UntrustedFile("has no header")
            data: bytes = np.asarray(header[:]).tobytes()
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UntrustedFile(f"is no checkpoint: {error}") from None
    return CheckpointHeader.decode(data)
