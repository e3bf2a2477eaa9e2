"""Spectra against the formula that the task states, and archives that cannot be taken."""

from __future__ import annotations

import importlib
import io
import math
import os
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from universality.errors import BadParameter, DataUnavailable
from universality.plugin import registry
from universality.plugin.task import Splits

registry.load_plugins()
spoken = importlib.import_module("universality_plugins.tasks.spoken_digits")
REAL = Path(os.environ.get("UNIVERSALITY_DATA", "/nowhere"))


def task(address: str = "spoken_digits") -> Any:
    return registry.resolve("task", address)


def load(address: str, root: Path) -> Splits:
    splits: Splits = task(address).load(np.random.default_rng(0), root)
    return splits


def wav(sound: np.ndarray) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as opened:
        opened.setparams((1, 2, 8000, 0, "NONE", ""))
        opened.writeframes(sound.astype("<i2").tobytes())
    return out.getvalue()


def archive(file: Path, *, folder: str = "recordings/") -> Path:
    """Ten takes of two digits by one speaker, the length of the first of each too long."""
    file.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(f"{folder}README.md", "spoken")
        for digit in (3, 1):
            for take in range(10):
                sound = rng.integers(-9000, 9000, 300 if take else 2000) * (digit + take)
                opened.writestr(f"{folder}{digit}_theo_{take}.wav", wav(np.clip(sound, -(2**15), 2**15 - 1)))
    return file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (path,) = task().digests
    file = archive(tmp_path / path)
    digest = spoken.recordings_digest(spoken.recordings(file))
    monkeypatch.setattr(type(task()), "digests", {path: digest})
    return tmp_path


def test_a_spectrum_is_that_of_the_formula() -> None:
    """Term by term, in double precision."""
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 256 + 2 * 128)).astype(np.int16)
    spectra = spoken.log_mel(sound, 5)
    assert spectra.shape == (2, 3, 5)
    x = sound[1, 128 : 128 + 256] / 2**15
    n, k = np.arange(256), np.arange(129)[:, None]
    w = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    power = np.abs((w * x * np.exp(-2j * np.pi * k * n / 256)).sum(1)) ** 2
    top = 2595 * math.log10(1 + 4000 / 700)
    edges = [700 * (10 ** (i * top / 6 / 2595) - 1) for i in range(7)]
    for b in range(5):
        low, middle, high = edges[b : b + 3]
        f = 4000 * np.arange(129) / 128
        triangle = np.where(f < middle, (f - low) / (middle - low), (high - f) / (high - middle)).clip(0)
        assert float(spectra[1, 1, b]) == pytest.approx(math.log(1e-3 + triangle @ power), abs=1e-4)


def test_a_tone_is_loudest_in_its_band_and_none_is_empty() -> None:
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(512) / 8000)
    spectra = spoken.log_mel(tone[None].astype(np.int16), 32)[0, 1]
    centres = [700 * (10 ** ((b + 1) * spoken.mel(4000) / 33 / 2595) - 1) for b in range(32)]
    assert int(spectra.argmax()) == int(np.abs(np.array(centres) - 1000).argmin())
    assert (spoken.mel_filters(80).sum(1) > 0).all()
    with pytest.raises(BadParameter, match="more bands than the transform tells apart"):
        task("spoken_digits[bands=81]")


def test_takes_from_five_on_are_trained_on_and_bands_standardised_by_them(root: Path) -> None:
    splits = load("spoken_digits[steps=4,bands=6]", root)
    assert splits.inputs.shape == (4, 6)
    assert splits.train.targets.tolist() == splits.validation.targets.tolist() == [1] * 5 + [3] * 5
    flat = splits.train.inputs.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(flat.std(0, correction=0), torch.ones(6), atol=1e-6, rtol=0)
    sounds = spoken.recordings(root / "fsdd" / "fsdd.zip")
    assert list(sounds) == sorted(sounds)
    held = spoken.samples({"a": sounds["3_theo_0.wav"], "b": sounds["3_theo_1.wav"]}, 640)
    assert np.count_nonzero(held[0]) > 600  # cut
    assert not held[1, 300:].any()  # followed by zeros
    levels = spoken.log_mel(spoken.samples(sounds, 640), 6)
    kept = torch.tensor([int(name[7]) >= 5 for name in sounds])
    mean, std = levels[kept].mean((0, 1)), levels[kept].flatten(0, 1).std(0, correction=0)
    torch.testing.assert_close(splits.validation.inputs, (levels[~kept] - mean) / std, atol=1e-4, rtol=0)


def test_an_archive_with_a_folder_around_it_is_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = archive(root / "served.zip", folder="free-spoken-digit-dataset/recordings/")
    monkeypatch.setattr(spoken, "URL", served.as_uri())
    task().fetch(root / "other")
    trains = (load("spoken_digits[steps=3]", folder).train.inputs for folder in (root / "other", root))
    assert torch.equal(*trains)
    monkeypatch.setattr(type(task()), "digests", {"fsdd/fsdd.zip": "0" * 64})
    with pytest.raises(DataUnavailable, match="the download is not the free spoken digit dataset"):
        task().fetch(root / "third")


def test_recordings_that_are_absent_or_damaged_are_named(root: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"no fsdd/fsdd\.zip"):
        load("spoken_digits", root / "other")
    file = root / "fsdd" / "fsdd.zip"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:]):
        file.write_bytes(content)
        with pytest.raises(DataUnavailable, match="cannot be read") as caught:
            load("spoken_digits", root)
        assert str(file) in str(caught.value)
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("recordings/3_theo_0.wav", wav(np.zeros(9)))
    with pytest.raises(DataUnavailable, match="cannot be read") as caught:
        load("spoken_digits", root)
    assert "1 wav files of sha256" in str(caught.value)


@pytest.mark.skipif(not (REAL / "fsdd").is_dir(), reason="no fsdd")
def test_the_official_recordings_have_their_counts() -> None:
    splits = load("spoken_digits[steps=8,bands=8]", REAL)
    assert splits.train.targets.bincount().tolist() == [270] * 10
    assert splits.validation.targets.bincount().tolist() == [30] * 10
