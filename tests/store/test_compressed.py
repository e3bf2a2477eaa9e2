"""Content comes back as it was, in equal bytes, and what is no such file or holds too much is refused at once."""

import gzip
import tracemalloc
import zlib

import pytest

from universality.store.compressed import HEADER, PIECE, gunzipped, gzipped, pieces
from universality.store.untrusted import UntrustedFile

NOISE = zlib.compress(bytes(range(256)) * 40)
CONTENTS = [b"", b"x", b"abc\n" * 100_000, NOISE * 500, b"\0" * (3 * PIECE + 1)]


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_content_survives_in_the_form_that_gzip_reads(content: bytes) -> None:
    data = gzipped([content[:7], content[7:]])
    assert gunzipped(data, len(content)) == gzip.decompress(data) == content
    assert data == gzipped([content]), "however it was cut"
    assert max(map(len, pieces(data, len(content))), default=0) <= PIECE


DATA = gzipped([NOISE * 50])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is not compressed as universality does it"),
        (b"{}", "is not compressed as universality does it"),
        (gzip.compress(b"x", mtime=1), "is not compressed as universality does it"),
        (DATA[:-1], "ends too early"),
        (DATA[:100], "ends too early"),
        (HEADER, "ends too early"),
        (DATA + b"\0", "stands behind its end"),
        (DATA + DATA, "stands behind its end"),
        (DATA + bytes(200_000), "stands behind its end"),
        (DATA[:-8] + bytes(4) + DATA[-4:], "is damaged: Error -3"),
        (DATA[:-4] + bytes(4), "is damaged: Error -3"),
        (DATA[:50] + bytes([DATA[50] ^ 1]) + DATA[51:], "is damaged"),
        (HEADER + b"\xff" * 100, "is damaged: Error -3"),
    ],
    ids=range(13),
)
def test_other_files_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(UntrustedFile, match=told):
        gunzipped(data, 1 << 30)


def test_content_beyond_what_is_allowed_is_refused_before_it_is_there() -> None:
    assert len(gunzipped(gzipped([bytes(1000)]), 1000)) == 1000
    with pytest.raises(UntrustedFile, match="holds more than 999 bytes"):
        gunzipped(gzipped([bytes(1000)]), 999)
    bomb = gzipped([bytes(1 << 20)] * 60)
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(UntrustedFile, match="holds more than 4,194,304 bytes"):
        gunzipped(bomb, 4 << 20)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
