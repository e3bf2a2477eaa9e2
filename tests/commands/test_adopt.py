"""A suite trained in several sittings, of which only what was published is left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.stored import edit, edit_line
from universality import run
from universality.audit.result_set import audit
from universality.commands.report import report
from universality.commands.run import Finished
from universality.errors import BadParameter, StoreError
from universality.judge.resultset import ResultSet
from universality.output.collect import run_ids
from universality.output.page.earlier import earlier_runs
from universality.plan import forecast
from universality.plan.forecast import Forecast
from universality.sharing.publish import publish_set
from universality.store.cells import CellRecord
from universality.store.layout import Layout
from universality.store.store import Store

TASKS = "digits[subset=60]", "gaussian_mixture[subset=60]"


def suite(folder: Path, tasks: Sequence[str] = TASKS, name: str = "both") -> str:
    path = folder / f"{name}.toml"
    listed = ", ".join(f'"{task}"' for task in tasks)
    path.write_text(
        f'name = "{name}"\ncontrols = false\n[[cross]]\nphenomena = ["function_agreement[steps=20]"]\n'
        f'architectures = ["mlp[width=8,depth=1]"]\ntasks = [{listed}]\nseeds = 3\n'
    )
    return str(path)


def trained(suite: str, results: Path, **more: object) -> ResultSet:
    finished = run(suite=suite, results=results, workers=0, device="cpu", **more)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    assert not finished.failed
    return finished.results


def published(folder: Path, to: Path) -> Path:
    """What a set leaves in git."""
    to.mkdir(parents=True)
    for path in (
        Layout(folder).manifest,
        Layout(folder).plan,
        Layout(folder).measurements,
        folder / "suite.toml",
    ):
        shutil.copy(path, to / path.name)
    return to


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first sitting: one task of two."""
    folder = tmp_path_factory.mktemp("first")
    trained(suite(folder, TASKS[:1], "first"), folder)
    return published(folder / "first", folder / "published" / "first")


def lines(records: Sequence[CellRecord]) -> list[bytes]:
    return [record.line() for record in records]


def test_only_what_no_set_has_measured_is_trained(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(suite(tmp_path), tmp_path / "whole")
    capsys.readouterr()
    second = trained(suite(tmp_path), tmp_path, adopt=[first])
    said = capsys.readouterr().err
    assert "1 cells and controls are taken over, and 3 runs not needed" in said
    assert "3 runs, 0 stored, 3 to train" in said
    assert len(Store.open(tmp_path / "both").run_ids()) == 3
    assert lines(second.records) == lines(whole.records)
    assert second.rows == whole.rows
    (sitting,) = second.plan.earlier
    assert sitting.cells == ResultSet.load(first).plan.cells
    assert second.plan.run_seconds > sitting.run_seconds > 0
    assert not audit(tmp_path / "both").problems
    # The same command, without the option too, goes on from there; so does a report.
    assert "3 stored, 0 to train" in (trained(suite(tmp_path), tmp_path), capsys.readouterr().err)[1]
    assert report(tmp_path / "both").results.plan.earlier == (sitting,)


def test_a_set_goes_on_in_its_own_folder(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(suite(tmp_path), tmp_path / "made", adopt=[first])
    folder = published(tmp_path / "made" / "both", tmp_path / "both")
    before = ResultSet.load(folder)
    forecast = run(suite=suite(tmp_path), results=tmp_path, adopt=[folder], dry_run=True)
    assert isinstance(forecast, Forecast)
    assert "0 distinct runs" in list(forecast.lines())[-1]
    after = trained(suite(tmp_path), tmp_path, adopt=[folder])
    assert "0 runs, 0 stored, 0 to train" in capsys.readouterr().err
    assert lines(after.records) == lines(before.records)
    one, two = after.plan.earlier
    assert {*one.cells, *two.cells} == set(after.plan.cells)
    assert after.plan.run_seconds == pytest.approx(before.plan.run_seconds, abs=0.2)
    trained(suite(tmp_path), tmp_path, adopt=[folder])
    assert ResultSet.load(folder).plan.earlier == (one, two)
    # A wider suite of the same name trains what is new.
    wider = suite(tmp_path, (*TASKS, "gaussian_mixture[subset=50]"))
    assert len(trained(wider, tmp_path).records) == len(after.records) * 3 // 2
    assert "3 runs, 0 stored, 3 to train" in capsys.readouterr().err


def test_trajectories_of_an_adopted_page_are_shown_on_the_new_one(tmp_path: Path, first: Path) -> None:
    adopted = Path(shutil.copytree(first, tmp_path / "adopted"))
    page = Layout(first.parents[1] / "first").page
    Layout(adopted).report.mkdir()
    shutil.copy(page, Layout(adopted).page)
    results = trained(suite(tmp_path), tmp_path, adopt=[adopted])
    ids = run_ids(results.records)
    own = set(Store.open(tmp_path / "both").run_ids())
    shown = earlier_runs(results.layout.page, ids)
    before = earlier_runs(page, ids)
    assert len(before) == len(own) == 3
    assert shown.keys() == ids == before.keys() | own
    assert {run: shown[run] for run in before} == before
    # The set that was adopted may be gone; a report, and what is published, go on showing them.
    shutil.rmtree(adopted)
    assert earlier_runs(report(tmp_path / "both").results.layout.page, ids) == shown
    out = publish_set(tmp_path / "both", tmp_path / "published").folder
    assert earlier_runs(Layout(out).page, ids) == shown


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"groups": "failed"},
        {"groups": "missing"},
        {"claim": "wider"},
    ],
)
def test_what_may_come_out_otherwise_is_not_taken_over(
    tmp_path: Path, first: Path, change: dict[str, object]
) -> None:
    """Another version of the claim, another bound, or a run that failed."""
    root = Path(shutil.copytree(first, tmp_path / "first"))
    results = ResultSet.load(root)
    record = results.records[0]
    if "version" in change:
        record = msgspec.structs.replace(record, version=record.version + 1)
    elif "claim" in change:
        record = msgspec.structs.replace(
            record, claim=msgspec.structs.replace(record.claim, low=(record.claim.low or 0.0) + 0.01)
        )
    else:
        lost = msgspec.structs.replace(record.groups[0], state=change["groups"], outcome=None)
        record = msgspec.structs.replace(record, groups=(lost, *record.groups[1:]))

    def changed(raw: dict[str, object]) -> None:
        raw.clear()
        raw.update(msgspec.json.decode(record.line()))

    edit_line(root, 0, changed)
    edit(root / "plan.json.gz", lambda raw: raw.update(cells=[record.id, *raw["cells"][1:]], ended={}))
    forecast = run(suite=suite(tmp_path), results=tmp_path, adopt=[root], dry_run=True)
    assert isinstance(forecast, Forecast)
    assert "6 distinct runs" in list(forecast.lines())[-1]


def test_a_set_that_cannot_be_used_is_refused_before_training(tmp_path: Path, first: Path) -> None:
    root = Path(shutil.copytree(first, tmp_path / "damaged"))
    with open(root / "measurements.jsonl.gz", "r+b") as file:
        file.truncate(200)
    for dry_run in (False, True):
        with pytest.raises(StoreError, match=r"measurements\.jsonl"):
            run(suite=suite(tmp_path), results=tmp_path, adopt=[root], workers=0, dry_run=dry_run)
    with pytest.raises(StoreError, match="nowhere"):
        run(suite=suite(tmp_path), results=tmp_path, adopt=[tmp_path / "nowhere"], workers=0)
    assert not (tmp_path / "both").exists()


def test_trained_anew_means_all(tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(suite(tmp_path), tmp_path, adopt=[first])
    with pytest.raises(BadParameter, match="--on-existing force --adopt"):
        run(suite=suite(tmp_path), results=tmp_path, on_existing="force", adopt=[first], workers=0)
    capsys.readouterr()
    anew = trained(suite(tmp_path), tmp_path, on_existing="force")
    assert "6 runs, 0 stored, 6 to train" in capsys.readouterr().err
    assert not anew.plan.earlier
    assert not Layout(tmp_path / "both").adopted.exists()


def test_what_would_take_more_than_a_week_is_refused_before_training_and_foreseen_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "LONGEST", 1e-9)
    wanted = {"suite": suite(tmp_path), "results": tmp_path, "workers": 0, "device": "cpu"}
    foreseen = run(**wanted, dry_run=True)  # type: ignore[arg-type]
    assert isinstance(foreseen, Forecast)
    assert any(line.startswith("More than a week") for line in foreseen.lines())
    with pytest.raises(BadParameter, match="more than a week"):
        run(**wanted)  # type: ignore[arg-type]
    assert not list(Layout(tmp_path / "both").runs.iterdir())
