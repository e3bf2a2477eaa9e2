"""Provenance: what software and hardware a number came from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import universality
from universality.plugin.loading import builtin_folder

LIBRARIES = ("numpy", "scipy", "torch")
"""With which is computed."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_PACKAGE_CHECKOUT = Path(__file__).resolve().parent.parent.parent


def environment(device: str | None = None) -> dict[str, Any]:
    """Version, commit, Python, torch (only where it was imported already), platform and device.

    Never imports torch, so that commands that only read stay fast.
    """
    torch: Any = sys.modules.get("torch")
    numpy: Any = sys.modules.get("numpy")
    return {
        "universality": universality.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch and str(torch.__version__),
        "threads": torch and torch.get_num_threads(),
        # Whether products or convolutions on a GPU may round their factors to 10 bits.
        "tf32": torch and _tf32(torch),
        "deterministic": torch and torch.are_deterministic_algorithms_enabled(),
        "numpy": numpy and str(numpy.__version__),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": cores(),
        "device": device,
        "accelerator": torch and _accelerator(torch, device),
    }


def _tf32(torch: Any) -> bool:
    # The flags of old raise where products of convolutions and of recurrent layers differ, as within a measure.
    cudnn = torch.backends.cudnn
    return "tf32" in (each.fp32_precision for each in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn))


@cache
def commit(checkout: Path = _PACKAGE_CHECKOUT) -> str | None:
    """The commit of the checkout that this package lies in, `+changes` where tracked files differ.

    None for an installed package, and where git is missing or refuses.
    """
    if not (checkout / ".git").exists():
        return None
    head = _git(checkout, "rev-parse", "--verify", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    if head is None or changes is None:
        return None
    return head + ("+changes" if changes else "")


def _git(checkout: Path, *arguments: str) -> str | None:
    # Without the optional lock, looking never blocks a person who commits at the same time.
    command = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


@cache
def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def source_digest() -> str:
    """SHA-256 of every module of this package and of its built-in plugins, in a checkout as where it is installed."""
    package, builtin = (
        Path(universality.__file__).resolve().parent,
        map(builtin_folder, ("architectures", "tasks")),
    )
    sha256 = hashlib.sha256()
    for folder in (package, *builtin):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).as_posix()
            if folder != package or not name.startswith("builtin/"):
                sha256.update(f"{name}\n".encode() + path.read_bytes())
    return sha256.hexdigest()


@cache
def code_digest() -> str:
    """Of `source_digest` and the versions of `LIBRARIES`."""
    versions = "".join(f"{name} {version(name)}\n" for name in LIBRARIES)
    return hashlib.sha256(f"{source_digest()}\n{versions}".encode()).hexdigest()


def cores() -> int:
    """Cores that this process may use, which in containers is fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory of this machine, or what a container of it may use; None where the system does not tell."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or one without a limit
        memory = min(memory, int(_CGROUP.read_text()))
    return memory


def forget_peak_memory() -> None:
    """Let `peak_memory_bytes` begin anew, where the system can (Linux): what a process held for another run is not this one's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held since `forget_peak_memory`, or since it began; None where the system does
    not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _accelerator(torch: Any, device: str | None) -> str | None:
    if device is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(device))
