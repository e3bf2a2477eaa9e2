"""Sets on a hub, of which a stand-in answers on 127.0.0.1 (`HF_ENDPOINT`) to the library itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sharing.fake_hub import TOKEN, FakeHub, serving
from tests.stored import edit
from universality import check, compare, leaderboard, publish, report
from universality.commands import main as cli
from universality.errors import BadParameter, StoreError
from universality.judge.adopted import Adopted
from universality.sharing import hub as sharing
from universality.sharing.hub import Address, local
from universality.store.layout import Layout

QUICK = Path(__file__).resolve().parents[2] / "results" / "quick-cpu"
PUBLISHED = (
    "suite.toml",
    "manifest.json",
    "plan.json.gz",
    "measurements.jsonl.gz",
    "evidence.csv",
    "universality.csv",
)


def small() -> dict[str, bytes]:
    """A published set without its figures."""
    files = {name: (QUICK / name).read_bytes() for name in PUBLISHED}
    return files | {"report/universality.md": (QUICK / "report" / "universality.md").read_bytes()}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UNIVERSALITY_HUB", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_STORED_TOKENS_PATH", str(tmp_path / "no-tokens"))
    with serving() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def set_(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "quick-cpu"
    for name, data in small().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_goes_up_in_one_commit_and_comes_back_as_it_was(
    hub: FakeHub,
    set_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # As it was uploaded before: a figure that is no more goes, what the owner wrote stays.
    hub.put("me/mine", {"report/old.svg": b"<svg/>", "NOTES.md": b"mine"})
    monkeypatch.setattr("universality.output.build.write_figures", lambda *of: [])
    assert cli.main(["publish", str(set_), "--out", str(tmp_path / "sets"), "--to", "hf:me/mine"]) == 0
    folder = tmp_path / "sets" / "quick-cpu"
    commit, files = hub.newest("me/mine")
    assert f"uploaded: hf:me/mine@{commit}" in capsys.readouterr().out
    assert len(hub.repos["me/mine"]) == 2
    assert sum(path.endswith("/commit/main") for _, path in hub.asked) == 1
    assert {name: data for name, data in files.items() if name not in ("README.md", "NOTES.md")} == content(
        folder
    )
    assert files["NOTES.md"] == b"mine"
    assert b"universality compare hf:me/mine" in files["README.md"]
    back = local("hf:me/mine")
    assert back.name == "quick-cpu"
    assert content(back) == content(folder)
    assert not check(["hf:me/mine"]).wrong
    # The same again: what was fetched by its commit is not asked for once more.
    asked = len(hub.asked)
    assert local(f"hf:me/mine@{commit}") == back
    assert len(hub.asked) == asked


def test_commands_read_addresses_and_folders_alike(hub: FakeHub, set_: Path) -> None:
    first = hub.put("lab/quick.v1", small())
    assert not compare("hf:lab/quick.v1", QUICK).differs  # type: ignore[arg-type]
    board = leaderboard(["hf:lab/quick.v1"])  # type: ignore[list-item]
    assert [s.label for s in board.sets] == ["quick-cpu"]
    assert Adopted.of(Layout(set_), [local("hf:lab/quick.v1@main")]).sets[0].plan.suite == "quick-cpu"
    assert local(f"hf:lab/quick.v1@{first}") == local("hf:lab/quick.v1")


def test_a_report_is_written_in_a_copy(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("lab/quick", small())
    before = content(local("hf:lab/quick"))
    monkeypatch.setattr("universality.output.build.write_figures", lambda *of: [])
    summary = report("hf:lab/quick")  # type: ignore[arg-type]
    assert summary.results.layout.page.exists()
    assert content(local("hf:lab/quick")) == before


def test_a_copy_that_was_interrupted_is_none(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("lab/quick", small())
    whole, copied = shutil.copytree, []

    def interrupted(source: Path, target: Path) -> None:
        def one(a: str, b: str) -> None:
            if copied:
                raise KeyboardInterrupt
            copied.append(shutil.copy2(a, b))

        whole(source, target, copy_function=one)

    monkeypatch.setattr("universality.sharing.hub.shutil.copytree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        local("hf:lab/quick", own=True)
    monkeypatch.setattr("universality.sharing.hub.shutil.copytree", whole)
    assert len(copied) == 1
    own = local("hf:lab/quick", own=True)
    assert content(own) == content(local("hf:lab/quick"))
    assert [path.name for path in own.parent.iterdir()] == [own.name]


def test_a_copy_that_another_process_made_first_is_taken(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("lab/quick", small())
    whole = shutil.copytree

    def beside(source: Path, target: Path) -> None:
        monkeypatch.setattr("universality.sharing.hub.shutil.copytree", whole)
        for place in (target, target.parent.parent / target.name):
            whole(source, place)

    monkeypatch.setattr("universality.sharing.hub.shutil.copytree", beside)
    assert content(local("hf:lab/quick", own=True)) == content(local("hf:lab/quick"))


def test_a_stranger_s_files_stay_in_the_cache_and_only_known_ones_are_fetched(
    hub: FakeHub, tmp_path: Path
) -> None:
    strange = {
        "../evil.txt": b"x",
        "report/../../evil.svg": b"<svg/>",
        "/tmp/evil.py": b"x",
        "weights.pkl": b"\x80\x04.",
        "plugins/a.pkl": b"\x80\x04.",
        ".git/config": b"x",
    }
    hub.put("eve/set", small() | strange)
    folder = local("hf:eve/set")
    assert set(content(folder)) == set(small())
    fetched = {
        path.partition("/resolve/")[2].partition("/")[2] for _, path in hub.asked if "/resolve/" in path
    }
    assert fetched == set(small())
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
    assert folder.is_relative_to(tmp_path / "cache")


def test_a_stranger_s_set_is_checked(hub: FakeHub, set_: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(set_ / "plan.json.gz", lambda raw: raw.update(suite="../../up"))
    hub.put("eve/set", content(set_))
    folder = local("hf:eve/set")
    assert folder.name == "set"
    assert check(["hf:eve/set"]).wrong
    (set_ / "measurements.jsonl.gz").write_bytes(b"\x80\x04.")
    hub.put("eve/set", content(set_))
    assert cli.main(["compare", "hf:eve/set", str(QUICK)]) == 2
    assert "a result set cannot be used" in capsys.readouterr().err


def test_what_is_no_set_or_too_large_is_not_fetched(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("some/data", {"train.parquet": b"x" * 10})
    with pytest.raises(StoreError, match="no published result set is there"):
        local("hf:some/data")
    hub.put("lab/quick", small())
    monkeypatch.setattr(sharing, "MAX_SET", 10_000)
    with pytest.raises(StoreError, match="too large"):
        local("hf:lab/quick")
    assert not any("/resolve/" in path for _, path in hub.asked)


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:name",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/..",
        "hf:a/b@",
        "hf:a/b@../c",
        "hf:a b/c",
        "hf:a/b--c",
        "hf:a/b\n",
    ],
)
def test_what_is_no_address_is_refused(hub: FakeHub, set_: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(BadParameter, match="no address on the hub"):
        local(text)
    with pytest.raises(BadParameter, match="no address on the hub"):
        publish(set_, out=tmp_path / "sets", to=text)
    assert not hub.asked
    assert not (tmp_path / "sets").exists()


def test_without_a_token_nothing_is_asked_or_written(hub: FakeHub, set_: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no token of the hub is known, and nothing was uploaded") as refusal:
        publish(set_, out=tmp_path / "sets", to="hf:me/mine")
    assert "HF_TOKEN" in refusal.value.do
    with pytest.raises(BadParameter, match="a revision of its own"):
        publish(set_, out=tmp_path / "sets", to="hf:me/mine@main")
    assert not hub.asked
    assert not (tmp_path / "sets").exists()


def test_a_set_that_fails_its_check_is_not_uploaded(
    hub: FakeHub, set_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (set_ / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(StoreError, match="does not hold together"):
        publish(set_, out=tmp_path / "sets", to="hf:me/mine")
    assert not hub.asked


@pytest.mark.parametrize(
    ("token", "refused", "said"),
    [
        ("hf_another", {}, "or not this token, and nothing was uploaded"),
        (TOKEN, {"/api/repos/create": 403}, "does not allow that, and nothing was uploaded"),
        (TOKEN, {"/commit/": 403}, "does not allow that, and nothing was uploaded"),
        (TOKEN, {"/commit/": 422}, "refuses, and nothing was uploaded"),
    ],
)
def test_a_refused_upload_leaves_nothing_there(
    hub: FakeHub,
    set_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    refused: dict[str, int],
    said: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refuse.update(refused)
    address = sharing.check_upload("hf:me/mine")
    with pytest.raises(StoreError) as refusal:
        sharing.upload(set_, tuple(sorted(small())), address, "card")
    assert said in refusal.value.what
    assert all(files == {".gitattributes": b""} for files in hub.repos.get("me/mine", {}).values())


def test_a_hub_that_is_not_there_and_names_it_does_not_know_are_told(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoreError, match="knows no such dataset"):
        local("hf:no/body")
    hub.put("lab/quick", small())
    with pytest.raises(StoreError, match="no such revision"):
        local("hf:lab/quick@v9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert cli.main(["leaderboard", "hf:lab/quick"]) == 2
    assert "the hub cannot be reached, and nothing was fetched" in capsys.readouterr().err


def test_addresses_are_read_and_written_alike() -> None:
    assert str(Address.parse("hf:a/b@v1.0")) == "hf:a/b@v1.0"
    assert Address.parse("hf:a/b") == Address("a/b", "")
    assert local(Path("results")) == Path("results")
