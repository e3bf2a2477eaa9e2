"""Spoken digits as log-mel spectrograms: which digit is said?"""

from __future__ import annotations

import hashlib
import io
import wave
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.plugin import BadParameter, InputSpec, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    damaged,
    fetch_command,
    missing,
    split,
    standardised_columns,
)
from universality.plugin.kit.download import download

FILE = "fsdd/fsdd.zip"
SHA256 = "45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e"
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"

RATE, WINDOW, HOP = 8000, 256, 128
"""Samples a second, of a window (32 ms) and from one to the next."""
TEST_TAKES = range(5)
FLOOR = 1e-3
"""Power below which all is silence; half of what is not zero lies above 0.006, a hundredth above 30."""
BLOCK = 250
"""Recordings whose spectra are held at once, 17 MB."""


@register("spoken_digits", family="audio", source="Jackson et al. 2018 (free spoken digit dataset)")
@dataclass(frozen=True, kw_only=True)
class SpokenDigits(Task):
    """3,000 recordings of ten digits by six speakers, 8 kHz, as `steps` spectra of `bands` numbers, 16 ms apart.

    L_tb = ln(FLOOR + sum_k F_bk |sum_n w_n x_{128 t + n} exp(-2 pi i k n / 256)|^2) of samples x in [-1, 1), with
    Hann's window w of 256 samples. F_b is a triangle of height 1 between m_b and m_{b+2} with its top at m_{b+1}, the m
    evenly spaced over 0 to 4 kHz in mel(f) = 2595 log10(1 + f / 700) (O'Shaughnessy 1987). Recordings end in zeros
    or are cut, 1.04 s at 64 steps. Each band is standardised over the training rows. Takes 0 to 4 of each digit and speaker
    (300) are validation and reference. `digests` has the SHA-256 of the wav files and their names, sorted by name.

    Args:
        steps: L has this many t.
        bands: and this many b, at most 80: of 87 one would lie between two frequencies of the transform.
    """

    tier = "real"
    licence = "CC BY-SA 4.0"
    digests: ClassVar[Mapping[str, str]] = {FILE: SHA256}

    steps: int = 64
    bands: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="spoken_digits", steps=self.steps, bands=self.bands)
        if self.bands > 80:
            raise BadParameter(
                "more bands than the transform tells apart",
                where="spoken_digits",
                got=f"bands={self.bands}",
                expected="<= 80",
            )

    def fetch(self, root: Path) -> None:
        if (root / FILE).is_file():
            self._recordings(root)
            return
        (digest,) = self.digests.values()
        download(
            URL,
            FILE,
            root,
            name="the free spoken digit dataset",
            digest=digest,
            digest_of=lambda file: recordings_digest(recordings(file)),
            do=fetch_command(self.name, root),
        )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        sounds = self._recordings(root)
        # Digit, speaker and take: 7_jackson_32.wav
        parts = [name.removesuffix(".wav").split("_") for name in sounds]
        digits, takes = (np.array([int(part[place]) for part in parts]) for place in (0, 2))
        held = np.isin(takes, TEST_TAKES)
        spectra = log_mel(samples(sounds, (self.steps - 1) * HOP + WINDOW), self.bands).numpy()
        numbers = [spectra[rows].reshape(-1, self.bands) for rows in (~held, held)]
        train, test = (x.reshape(-1, self.steps, self.bands) for x in standardised_columns(*numbers))
        validation = split(test, digits[held])
        return Splits(
            split(train, digits[~held]),
            validation,
            validation.take(torch.arange(min(len(validation), REFERENCE_ROWS))),
            InputSpec("sequence", (self.steps, self.bands)),
            10,
        )

    def _recordings(self, root: Path) -> dict[str, bytes]:
        file, (expected,), do = root / FILE, self.digests.values(), fetch_command(self.name, root)
        if not file.is_file():
            raise missing(file, root=root, do=do)
        try:
            found = recordings(file)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise damaged(file, error, expected="a zip of wav files", do=f"delete it, then {do}") from error
        if (got := recordings_digest(found)) != expected:
            got = f"{len(found)} wav files of sha256 {got}"
            raise damaged(file, got, expected=f"sha256 {expected}", do=f"delete it, then {do}")
        return found


def recordings(file: Path) -> dict[str, bytes]:
    """The wav files of a zip by their names without folders, sorted."""
    with zipfile.ZipFile(file) as archive:
        names = {Path(name).name: name for name in archive.namelist() if name.endswith(".wav")}
        return {name: archive.read(names[name]) for name in sorted(names)}


def recordings_digest(sounds: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sounds.items():
        digest.update(name.encode() + content)
    return digest.hexdigest()


def samples(sounds: Mapping[str, bytes], length: int) -> NDArray[np.int16]:
    """Samples `[rows, length]`, cut or followed by zeros."""
    out = np.zeros((len(sounds), length), dtype=np.int16)
    for row, content in zip(out, sounds.values(), strict=True):
        with wave.open(io.BytesIO(content)) as opened:
            sound = np.frombuffer(opened.readframes(length), dtype="<i2")
        row[: len(sound)] = sound
    return out


def mel_filters(bands: int) -> Tensor:
    """F, float64 `[bands, WINDOW / 2 + 1]`."""
    edges = 700 * (10 ** (torch.linspace(0, mel(RATE / 2), bands + 2, dtype=torch.float64) / 2595) - 1)
    f = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    low, top, high = (edges[i : bands + i, None] for i in range(3))
    return torch.minimum((f - low) / (top - low), (high - f) / (high - top)).clamp(min=0)


def mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


def log_mel(sound: NDArray[np.int16], bands: int) -> Tensor:
    """L, float32 `[rows, steps, bands]` of samples `[rows, (steps - 1) HOP + WINDOW]`."""
    filters, window = mel_filters(bands).float(), torch.hann_window(WINDOW)
    out = []
    for block in torch.split(torch.from_numpy(sound), BLOCK):
        spectrum = torch.stft(block / 2**15, WINDOW, HOP, window=window, center=False, return_complex=True)
        out.append((FLOOR + filters @ spectrum.abs().square()).log().mT)
    return torch.cat(out)
