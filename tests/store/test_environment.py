"""What is noted of the machine."""

from __future__ import annotations

import sys

import pytest

from universality.store.environment import forget_peak_memory, peak_memory_bytes
from universality.train.device import give_back_memory


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_what_was_held_before_is_forgotten() -> None:
    held = bytearray(b"1") * 400_000_000
    peak = peak_memory_bytes()
    assert peak is not None
    assert peak >= len(held)
    del held
    assert peak_memory_bytes() == peak
    give_back_memory()
    forget_peak_memory()
    later = peak_memory_bytes()
    assert later is not None
    assert later <= peak - 350_000_000
