"""gzip as a result set holds it: equal bytes for equal content, and on reading never more content than was allowed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator

from universality.store.untrusted import UntrustedFile

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
"""Of gzip (RFC 1952) without a name, a time and a machine. `gzip -d` and `zcat` read what follows."""

LEVEL = 9
PIECE = 1 << 20
"""Bytes of content that are there at once."""
_FEED = 1 << 16


def gzipped(parts: Iterable[bytes]) -> bytes:
    """The file whose content is these parts, one after another."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    check = size = 0
    written = [HEADER]
    for part in parts:
        check, size = zlib.crc32(part, check), size + len(part)
        written.append(deflate.compress(part))
    return b"".join([*written, deflate.flush(), struct.pack("<II", check, size & 0xFFFFFFFF)])


def gunzipped(data: bytes, most: int) -> bytes:
    """The content of a file of `gzipped`. Raises `UntrustedFile` as `pieces`."""
    # Joining would hold everything twice; this buffer grows in its place and is handed over.
    content = io.BytesIO()
    for piece in pieces(data, most):
        content.write(piece)
    return content.getvalue()


def pieces(data: bytes, most: int) -> Iterator[bytes]:
    """The content of a file of `gzipped`, at most `PIECE` bytes at a time.

    Raises `UntrustedFile` for more than `most` bytes, as soon as these are there, for other or damaged files, and for
    what stands behind the end.
    """
    if not data.startswith(HEADER):
        raise UntrustedFile("is not compressed as universality does it")
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    size = place = 0
    feed = b""
    while not inflate.eof:
        # What one feed gives may be more than a piece: 64 kilobytes can hold 64 megabytes.
        if not feed:
            feed, place = data[place : place + _FEED], place + _FEED
        ended = not feed
        try:
            piece = inflate.decompress(feed, PIECE)
        except zlib.error as error:
            raise UntrustedFile(f"is damaged: {error}") from None
        feed = inflate.unconsumed_tail
        size += len(piece)
        if size > most:
            raise UntrustedFile(f"holds more than {most:,} bytes")
        if ended and not piece and not inflate.eof:
            raise UntrustedFile("is damaged: it ends too early")
        if piece:
            yield piece
    if inflate.unused_data or place < len(data):
        raise UntrustedFile("is damaged: something stands behind its end")
