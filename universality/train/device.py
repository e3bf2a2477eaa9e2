"""The device that a process trains on, and the settings of torch that results depend on."""

from __future__ import annotations

import contextlib
import ctypes
import os

import torch
from threadpoolctl import threadpool_limits

from universality.errors import DeviceUnavailable, first_line

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


def find_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU. Raises `DeviceUnavailable`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError(f"nothing can be trained on {device.type}")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("this build of torch sees no CUDA device")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceUnavailable(
            "the device cannot be used",
            where=f"--device {name}",
            got=first_line(error),
            do="--device cpu, or auto",
        ) from None
    return device


def gpus(device: torch.device) -> int:
    """How many GPUs workers with this device may use."""
    if device.type != "cuda":
        return 0
    return 1 if device.index is not None else torch.cuda.device_count()


def device_of_slot(device: torch.device, slot: int) -> torch.device:
    """The device of one worker: slots take turns on the GPUs, and share them where there are more slots."""
    if device == torch.device("cuda"):
        return torch.device("cuda", slot % torch.cuda.device_count())
    return device


def configure(threads: int) -> None:
    """One-time settings of a process that trains; all of them are part of the recorded environment.

    Denormal numbers are flushed: a run without weight decay drives gradients there, 2.6 times
    slower and worse with time. On a GPU, tf32 would keep 10 bits of every factor: it is off, and
    nothing turns it on, since a run's id does not know of it. Algorithms are deterministic, without
    torch's filling of new memory, which costs one operation more for every third. Freed memory is
    kept: glibc gives large blocks back to the kernel at every step and takes page faults to get them
    again, a fifth of the time of a small convolutional network (`give_back_memory` ends it between runs).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    torch.set_num_threads(threads)
    # numpy and scipy bring a pool each, as large as the machine: of two workers on two cores both wait for the other's.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)  # for what is not loaded yet
    threadpool_limits(threads, user_api="blas")
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As `use_deterministic_algorithms(True, warn_only=True)`, which imports the compiler to tell it too: 1.6 s, 150 MB.
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def give_back_memory() -> None:
    """Return what is free to the kernel, where the C library is glibc: what one run needed is not held through the next."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
