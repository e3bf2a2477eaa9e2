"""A result set in TensorBoard and trackio, read back by these."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import universality
from universality.errors import BadParameter, StoreError, UniversalityError
from universality.judge.resultset import ResultSet
from universality.output.exporting import VERDICTS
from universality.store.store import Store

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def finished(toys: Path, tmp_path: Path) -> Path:
    universality.run(
        architectures=["toy_net"],
        tasks=["toy_points"],
        phenomena=["toy_early"],
        seeds=2,
        name="mine",
        results=tmp_path,
        device="cpu",
        workers=0,
        plugins=[toys],
    )
    return tmp_path / "mine"


def stored(folder: Path) -> dict[str, Any]:
    store = Store.open(folder)
    return {run.spec.id: run for run_id in store.run_ids() for run in store.recordings(run_id)}


def test_tensorboard_has_every_series_and_the_verdicts(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (line,) = universality.export(finished, to="tensorboard", out=tmp_path / "events")
        runs = stored(finished)
        assert line == f"{len(runs)} runs and the verdicts: tensorboard --logdir {tmp_path / 'events'}"
        assert {path.name for path in (tmp_path / "events").iterdir()} == {*runs, VERDICTS}
        for run_id, run in runs.items():
            events = EventAccumulator(str(tmp_path / "events" / run_id)).Reload()
            loss = run.series("train_loss")
            scalars = events.Scalars("train_loss")
            np.testing.assert_array_equal([each.step for each in scalars], loss.steps)
            np.testing.assert_allclose([each.value for each in scalars], loss.values, rtol=1e-6)
        events = EventAccumulator(str(tmp_path / "events" / VERDICTS)).Reload()
        (tag,) = events.Tags()["tensors"]
        (told,) = events.Tensors(tag)
    text = told.tensor_proto.string_val[0].decode()
    verdicts = ResultSet.load(finished).verdicts
    assert text.count("toy\\_net") >= len(verdicts)
    assert all(each.verdict in text for each in verdicts)
    with pytest.raises(StoreError, match="a folder that is not empty"):
        universality.export(finished, out=tmp_path / "events")


def test_trackio_has_every_series_and_the_verdicts(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "projects"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trackio = pytest.importorskip("trackio")
        if Path(trackio.utils.TRACKIO_DIR) != tmp_path / "projects":
            pytest.skip("trackio was imported before, and writes to the user's own projects")
        (line,) = universality.export(finished, to="trackio")
        assert line == f"{len(stored(finished))} runs and the verdicts: trackio show --project mine"
        assert capsys.readouterr().out == ""
        logged = trackio.sqlite_storage.SQLiteStorage
        assert {run.name for run in trackio.Api().runs("mine")} == {*stored(finished), VERDICTS}
        for run_id, run in stored(finished).items():
            loss = run.series("train_loss")
            rows = [row for row in logged.get_logs("mine", run_id) if "train_loss" in row]
            np.testing.assert_array_equal([row["step"] for row in rows], loss.steps)
            np.testing.assert_allclose([row["train_loss"] for row in rows], loss.values)
        with pytest.raises(StoreError, match="a trackio project of this name is there already"):
            universality.export(finished, to="trackio")


def test_a_published_set_has_verdicts_alone(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    shutil.copytree(RESULTS / "quick-cpu", tmp_path / "quick")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (line,) = universality.export(tmp_path / "quick")
    assert line == f"0 runs and the verdicts: tensorboard --logdir {tmp_path / 'quick.tensorboard'}"
    assert [path.name for path in (tmp_path / "quick.tensorboard").iterdir()] == [VERDICTS]


@pytest.mark.parametrize(
    ("to", "absent"), [("tensorboard", "torch.utils.tensorboard.writer"), ("trackio", "trackio")]
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Any, absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UniversalityError, match=rf"pip install 'universality\[{to}\]'"):
        universality.export(
            RESULTS / "quick-cpu", to=to, out=tmp_path / "out" if to == "tensorboard" else None
        )
    with pytest.raises(BadParameter, match="trackio keeps its projects itself"):
        universality.export(RESULTS / "quick-cpu", to="trackio", out=tmp_path)
