"""Numbers of a theory: frozen before a cell is run, refused after, and scored by what came out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from scipy.stats import norm

from tests.stored import edit
from universality import leaderboard, report, run
from universality.commands import main as cli
from universality.commands.predict import predict, show
from universality.commands.publish import publish
from universality.commands.run import Finished
from universality.errors import BadParameter, StoreError, UnknownName
from universality.judge.predictions import interval_score
from universality.judge.resultset import ResultSet
from universality.output import predictions as output
from universality.sharing import predict as predicting
from universality.sharing.predict import Locked
from universality.store.files import decode_json, encode_json, encode_record

HEAD = 'theory = "{}"\nauthor = "A. Theorist"\nsource = "arXiv:0000.00000"\nsuite = "toys.toml"\n'
SUITE = (
    'name = "toys"\n[[cross]]\nphenomena = ["toy_early"]\narchitectures = ["toy_net", "toy_other"]\n'
    'tasks = ["toy_points", "toy_points[kind=image]"]\nseeds = 3\n'
)
HIT: dict[str, Any] = {
    "phenomenon": "toy_early", "claim": "one", "network": "toy_net", "task": "toy_points",
    "value": 1.25, "low": 0.5, "high": 2.5, "level": 0.9,
}  # fmt: skip
MISS = HIT | {"network": "toy_other", "value": 4, "low": 2, "high": 5}
BEFORE, AFTER = "2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


def write(folder: Path, *tables: dict[str, Any], theory: str = "constant", more: str = "") -> Path:
    """The file of a theory, beside its suite."""
    (folder / "toys.toml").write_text(SUITE)
    path = folder / f"{theory}.toml"
    lines = [HEAD.format(theory) + more]
    for table in tables:
        values = (
            f"{k} = {v}" if k in ("value", "low", "high", "level") else f"{k} = {json.dumps(v)}"
            for k, v in table.items()
        )
        lines += ["[[prediction]]", *values]
    path.write_text("\n".join(lines) + "\n")
    return path


def locked(folder: Path, *tables: dict[str, Any], theory: str = "constant", **more: Any) -> Locked:
    """Where nothing was measured before."""
    path = write(folder, *tables, theory=theory)
    return predict(path, results=folder / "results", data_root=folder, **{"none_known": True} | more)


def measured(folder: Path, toys: Path, name: str = "toys", suite: str = SUITE) -> ResultSet:
    (folder / "toys.toml").write_text(suite)
    finished = run(
        suite=str(folder / "toys.toml"), name=name, results=folder / "results", workers=0, device="cpu", plugins=[toys],
        data_root=folder,
    )  # fmt: skip
    assert isinstance(finished, Finished)
    return finished.results


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The clock of the machine that locks."""
    return lambda time: monkeypatch.setattr(predicting, "now", lambda: time)


def test_a_theory_is_scored_by_what_was_run_after_its_lock(
    tmp_path: Path, toys: Path, at: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at(BEFORE)
    file = locked(tmp_path, HIT, MISS)
    assert file.path == tmp_path / "results" / "predictions" / "constant.json"
    results = measured(tmp_path, toys)
    (theory,) = report(tmp_path / "results" / "toys").theories
    hit, miss = theory.scored
    assert (hit.seen, hit.hit, hit.score) == (1.0, True, 2.0)
    assert (miss.seen, miss.hit) == (1.0, False)
    assert miss.score == pytest.approx(3 + 2 / 0.1)
    told = (tmp_path / "results" / "toys" / "report" / "predictions.md").read_text()
    sha256 = file.file.sha256[:16]
    assert "| constant | toy\\_early:one | 2 | 1 | 1.80 | 12.5 |" in told
    assert f"locked 2020-01-01 | {sha256} |" in told
    assert "predictions-title" in results.layout.page.read_text()
    board = leaderboard([tmp_path / "results"], out=tmp_path / "board")
    assert board.theories == (theory,)
    form = json.loads((tmp_path / "board" / "leaderboard.json").read_text())
    assert form["theories"][0]["scored"][0]["score"] == 2.0
    assert "Locked predictions" in (tmp_path / "board" / "leaderboard.html").read_text()
    capsys.readouterr()
    assert cli.main(["report", str(results.layout.root)]) == 0
    out = capsys.readouterr().out
    assert "Locked predictions" in out
    assert sha256 in out
    # A published set, without its runs, says when they ended.
    published = publish(tmp_path / "results" / "toys", out=tmp_path / "sets", plugins=[toys]).folder
    assert not (published / "report" / "predictions.md").exists()
    shutil.copytree(tmp_path / "results" / "predictions", tmp_path / "sets" / "predictions")
    assert [each.seen for each in leaderboard([published]).theories[0].scored] == [1.0, 1.0]


def test_runs_that_ended_before_the_lock_are_not_scored(
    tmp_path: Path, toys: Path, at: Callable[[str], None]
) -> None:
    at(AFTER)
    locked(tmp_path, HIT)
    measured(tmp_path, toys)
    (theory,) = report(tmp_path / "results" / "toys").theories
    assert "not after the lock" in theory.scored[0].why
    assert not theory.claims
    (section,) = [s for s in output.sections([theory]) if s.lines]
    assert section.title == "Predictions that were not scored"


def test_a_measurement_without_times_is_not_scored(
    tmp_path: Path, toys: Path, at: Callable[[str], None]
) -> None:
    at(BEFORE)
    locked(tmp_path, HIT)
    root = measured(tmp_path, toys).layout.root
    edit(root / "plan.json.gz", lambda raw: raw.pop("ended"))
    (theory,) = leaderboard([root]).theories
    assert theory.scored[0].why == "it is not known when its runs ended"


def numbers(raw: dict[str, Any]) -> None:
    raw["predictions"][0]["high"] = 9.5


def dated(raw: dict[str, Any]) -> None:
    raw["locked"] = "2019-01-01T00:00:00+00:00"


def upside_down(raw: dict[str, Any]) -> None:
    raw["predictions"][0]["low"] = 9.5


@pytest.mark.parametrize(
    ("change", "why"),
    [(numbers, "changed after it was locked"), (dated, "changed after"), (upside_down, "upside down")],
)
def test_a_file_that_was_changed_after_the_lock_scores_nothing(
    tmp_path: Path, toys: Path, at: Callable[[str], None], change: Callable[[dict[str, Any]], None], why: str
) -> None:
    at(BEFORE)
    path = locked(tmp_path, HIT).path
    measured(tmp_path, toys)
    raw = decode_json(path.read_bytes())
    change(raw)
    path.write_bytes(encode_json(raw))
    board = leaderboard([tmp_path / "results"])
    (theory,) = board.theories
    assert why in theory.refused
    assert not theory.scored
    assert why in output.markdown(board.theories)


def test_a_file_that_was_sealed_again_is_scored_under_another_sha256(
    tmp_path: Path, toys: Path, at: Callable[[str], None]
) -> None:
    """No file can show by itself when it was written: what shows it is the hash that was announced."""
    at(AFTER)
    announced = locked(tmp_path, HIT)
    measured(tmp_path, toys)
    (first,) = announced.file.predictions
    better = structs.replace(first, low=0.9, high=1.3)
    forged = structs.replace(announced.file, locked=BEFORE, predictions=(better,)).sealed()
    announced.path.write_bytes(encode_record(forged))
    (theory,) = leaderboard([tmp_path / "results"]).theories
    assert [each.hit for each in theory.scored] == [True]
    told = output.markdown([theory])
    assert forged.sha256[:16] in told
    assert announced.file.sha256[:16] not in told


def test_what_another_suite_measured_is_not_scored(
    tmp_path: Path, toys: Path, at: Callable[[str], None]
) -> None:
    """Its seeds may be chosen after a look; under which name a suite ran does not matter."""
    at(BEFORE)
    file = locked(tmp_path, HIT).file
    more = SUITE.replace("seeds = 3", "seeds = 4")
    other = measured(tmp_path, toys, "more", suite=more)
    (theory,) = leaderboard([other.layout.root]).theories
    (why,) = (each.why for each in theory.scored)
    assert why.startswith("measured by another suite than toys")
    assert file.suite_sha256[:16] in why
    same = measured(tmp_path, toys, "same")
    (theory,) = leaderboard([other.layout.root, same.layout.root]).theories
    assert [(each.label, each.seen) for each in theory.scored] == [("same", 1.0)]
    same.layout.suite.unlink()
    (theory,) = leaderboard([same.layout.root]).theories
    assert theory.scored[0].why.startswith("it is not known by which suite")


def test_what_was_measured_or_trained_before_cannot_be_predicted(tmp_path: Path, toys: Path) -> None:
    root = measured(tmp_path, toys).layout.root
    with pytest.raises(BadParameter, match="trained before"):
        locked(tmp_path, HIT)
    sets = publish(root, out=tmp_path / "sets", plugins=[toys]).folder.parent
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(BadParameter, match="measured before") as refusal:
        locked(tmp_path, HIT, known=[sets])
    assert "toys: toy_early:one, toy_net, toy_points" in refusal.value.where
    assert not (tmp_path / "results").exists()
    assert locked(tmp_path, HIT).path.exists()


def test_where_no_set_was_searched_nothing_is_locked(
    tmp_path: Path, toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadParameter, match="no result set was searched") as refusal:
        locked(tmp_path, HIT, none_known=False)
    assert "--known" in refusal.value.do
    assert "--none-known" in refusal.value.do
    assert not (tmp_path / "results").exists()
    other = {"phenomena": ["toy_early"], "architectures": ["toy_net[width=3]"], "tasks": ["toy_points"]}
    for where, name in (("results", "one"), ("elsewhere", "two"), ("elsewhere", "three")):
        run(
            **other, seeds=1, name=name, results=tmp_path / where, workers=0, plugins=[toys], data_root=tmp_path  # type: ignore[arg-type]
        )  # fmt: skip
    # What cannot be read is not searched.
    (tmp_path / "elsewhere" / "three" / "plan.json.gz").write_bytes(b"")
    done = locked(tmp_path, HIT, none_known=False, known=[tmp_path / "elsewhere"])
    assert done.searched == 2
    assert len(done.notes) == 1
    capsys.readouterr()
    show(done)
    assert "searched 2 result set(s)" in capsys.readouterr().out
    broken = tmp_path / "elsewhere" / "three"
    with pytest.raises(BadParameter, match="no result set was searched") as refusal:
        predict(write(tmp_path, HIT), results=tmp_path / "new", data_root=tmp_path, known=[broken])
    assert "cannot be used" in refusal.value.got


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": 2.0}, "does not hold its value"),
        ({"high": 1.0}, "does not hold its value"),
        ({"low": 2.5, "high": 0.5}, "upside down"),
        ({"low": 1.25, "high": 1.25}, "upside down or empty"),
        ({"value": "nan"}, "not finite"),
        ({"high": "inf"}, "not finite"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 0}, "between 0 and 1"),
        ({"network": "toy_net[width=7]"}, "does not ask for this cell"),
        ({"network": "toy_nett"}, "toy_net"),
        ({"task": "toy_points[kind=image]"}, "does not apply"),
        ({"phenomenon": "toy_late"}, "does not ask for this cell"),
    ],
)
def test_a_number_or_cell_that_is_none_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        locked(tmp_path, MISS, HIT | change)
    assert said in str(refusal.value)
    assert "prediction 2" in refusal.value.where
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("toys")
def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="no file of predictions") as refusal:
        predict(write(tmp_path, HIT, more="colour = 3\n"), results=tmp_path / "results")
    assert "colour" in refusal.value.got
    with pytest.raises(BadParameter, match="no file of predictions"):
        predict(tmp_path / "nowhere.toml", results=tmp_path / "results")
    with pytest.raises(BadParameter, match="twice"):
        locked(tmp_path, HIT, HIT | {"value": 1.3})
    with pytest.raises(UnknownName, match="claim of toy_early"):
        locked(tmp_path, HIT | {"claim": "three"})
    with pytest.raises(StoreError, match="file name"):
        predict(write_named(tmp_path, "../up"), results=tmp_path / "results")


def write_named(folder: Path, theory: str) -> Path:
    path = write(folder, HIT)
    path.write_text(path.read_text().replace('"constant"', json.dumps(theory)))
    return path


@pytest.mark.usefixtures("toys")
def test_a_lock_is_never_replaced(tmp_path: Path) -> None:
    path = locked(tmp_path, HIT).path
    before = path.read_bytes()
    with pytest.raises(StoreError, match="locked already"):
        locked(tmp_path, HIT | {"value": 1.3})
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["constant.json"]


def test_the_interval_score_is_least_where_the_quantiles_are() -> None:
    """Of a normal distribution, by its mean over a grid of quantiles."""
    seen = norm.ppf((np.arange(20_000) + 0.5) / 20_000)

    def mean(low: float, high: float) -> float:
        return float(np.mean([interval_score(low, high, 0.8, x) for x in seen[::20]]))

    best = norm.ppf(0.9)
    right = mean(-best, best)
    assert right == pytest.approx(2 * norm.pdf(best) / 0.1, rel=0.01)  # closed form
    assert all(right < mean(-best * a, best * b) for a, b in ((0.8, 0.8), (1.2, 1.2), (1, 1.3), (0.7, 1)))
