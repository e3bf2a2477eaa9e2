"""Publishing a result set: the same bytes every time, sources of plugins with it, and nothing of a set with a fault."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stored import edit
from universality import run
from universality.audit.result_set import audit
from universality.commands import main as cli
from universality.commands.publish import publish
from universality.commands.run import Finished
from universality.errors import StoreError
from universality.judge.resultset import ResultSet
from universality.output.page.text import unpacked
from universality.plugin import registry
from universality.sharing.publish import Published
from universality.store.files import decode_json
from universality.store.layout import is_published

NET = '''
from dataclasses import dataclass

from universality.plugin import Architecture, register

from .blocks.layers import two_layers


@register("published_net", family="toy", accepts={"vector", "image"})
@dataclass(frozen=True, kw_only=True)
class Net(Architecture):
    """Two layers."""

    def build(self, inputs, outputs):
        return two_layers(inputs.size, outputs)

    def taps(self, net):
        return {"hidden": net[1]}

    def readout(self, net):
        return net[2]
'''
LAYERS = """
from torch import nn


def two_layers(inputs, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 4), nn.Linear(4, outputs))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A set of a plugin that imports a file beside it, trained here, and the folder of the plugin."""
    known, modules = dict(registry._plugins["architecture"]), set(sys.modules)
    folder = tmp_path_factory.mktemp("made")
    plugins = folder / "plugins"
    (plugins / "blocks").mkdir(parents=True)
    (plugins / "net.py").write_text(NET)
    (plugins / "blocks" / "layers.py").write_text(LAYERS)
    (plugins / "unrelated.py").write_text("secret = 1\n")
    suite = folder / "own.toml"
    suite.write_text(
        'name = "own"\ncontrols = false\n[[cross]]\nphenomena = ["function_agreement[steps=20]"]\n'
        'architectures = ["published_net"]\ntasks = ["digits[subset=60]"]\nseeds = 3\n'
    )
    finished = run(suite=str(suite), results=folder, workers=0, device="cpu", plugins=[plugins])
    assert isinstance(finished, Finished)
    assert not finished.failed
    yield folder / "own", plugins
    registry._plugins["architecture"] = known
    for name in set(sys.modules) - modules:
        if name.startswith("universality_plugins."):
            del sys.modules[name]


@pytest.fixture
def copy(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    root, plugins = (Path(shutil.copytree(each, tmp_path / each.name)) for each in made)
    return root, plugins


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_is_published_without_its_runs_and_with_the_sources_that_made_it(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    root, plugins = made
    before = content(root)
    published = publish(root, out=tmp_path / "sets", plugins=[plugins])
    assert published.folder == tmp_path / "sets" / "own"
    files = content(published.folder)
    assert tuple(sorted(files)) == published.files
    assert all(map(is_published, files))
    assert {
        *("evidence.csv", "manifest.json", "measurements.jsonl.gz", "plan.json.gz", "suite.toml", "universality.csv"),
        *("report/index.html", "report/universality.md", "report/heatmap.svg"),
        *("plugins/net.py", "plugins/blocks/layers.py"),
    } <= set(files)  # fmt: skip
    assert "plugins/unrelated.py" not in files
    assert files["plugins/net.py"] == NET.encode()
    assert published.size == sum(map(len, files.values()))
    assert content(root) == before
    assert [each.name for each in (tmp_path / "sets").iterdir()] == ["own"]
    assert ResultSet.load(published.folder).rows == ResultSet.load(root).rows
    # It holds together where nothing but the package is at hand, and carries what made it.
    found = audit(published.folder)
    assert not found.problems
    assert found.counts["sources"] == 2
    assert not any("--plugins" in note for note in found.notes)


def test_the_same_set_gives_the_same_bytes_also_of_what_was_published(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    root, plugins = made
    one, two = (publish(root, out=tmp_path / each, plugins=[plugins]).folder for each in ("one", "two"))
    assert content(one) == content(two)
    publish(root, out=tmp_path / "one", plugins=[plugins])  # replaces the first
    again = publish(one, out=tmp_path / "again").folder  # its sources are in it
    assert content(again) == content(one) == content(two)
    # Also in another process, where sets have another order.
    (packed,) = re.findall(r'id="run-data">(.*?)</script>', (one / "report" / "index.html").read_text())
    runs = decode_json(unpacked(packed))
    assert list(runs) == sorted(runs)
    assert len(runs) == 3


def relabelled(root: Path) -> None:
    table = root / "evidence.csv"
    table.write_text(
        table.read_text().replace(",present,", ",absent,").replace(",inconclusive,", ",present,")
    )


def renamed(root: Path) -> None:
    edit(root / "plan.json.gz", lambda raw: raw.update(suite="another"))


def linked(root: Path) -> None:
    (root / "report" / "more.svg").symlink_to("/etc/passwd")


def scripted(root: Path) -> None:
    (root / "report" / "more.svg").write_text("<svg><script>alert(1)</script></svg>")


def foreign(root: Path) -> None:
    (root / "weights.pkl").write_bytes(b"\x80\x04.")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (relabelled, "evidence.csv"),
        (renamed, "another"),
        (linked, "link"),
        (scripted, "could run code"),
        (foreign, "weights.pkl"),
    ],
)
def test_nothing_is_published_of_a_set_with_a_fault(
    copy: tuple[Path, Path], tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    root, plugins = copy
    harm(root)
    with pytest.raises(StoreError) as refusal:
        publish(root, out=tmp_path / "sets", plugins=[plugins])
    assert "does not hold together, and was not published" in str(refusal.value)
    assert said in refusal.value.got
    assert not (tmp_path / "sets").exists()


def test_a_plugin_whose_source_is_gone_or_edited_is_refused(copy: tuple[Path, Path], tmp_path: Path) -> None:
    root, plugins = copy
    with pytest.raises(StoreError, match="not at hand") as refusal:
        publish(root, out=tmp_path / "sets")
    assert "--plugins" in refusal.value.do
    layers = plugins / "blocks" / "layers.py"
    layers.write_text(layers.read_text().replace("4", "5"))
    with pytest.raises(StoreError, match="another one now") as refusal:
        publish(root, out=tmp_path / "sets", plugins=[plugins])
    assert refusal.value.where == "net.py"
    assert not (tmp_path / "sets").exists()


def test_runs_and_foreign_folders_are_never_replaced(copy: tuple[Path, Path], tmp_path: Path) -> None:
    root, plugins = copy
    for place, what in ((root.parent, "the set itself"), (tmp_path / "sets", "notes.txt")):
        if place != root.parent:
            (place / "own").mkdir(parents=True)
            (place / "own" / "notes.txt").write_text("mine")
        with pytest.raises(StoreError, match="would replace something else") as refusal:
            publish(root, out=place, plugins=[plugins])
        assert refusal.value.got == what
    assert (tmp_path / "sets" / "own" / "notes.txt").read_text() == "mine"
    assert list((root / "runs").iterdir())


def other_code(folder: Path) -> None:
    (folder / "plugins" / "net.py").write_text(NET + "\n# edited\n")


def another(folder: Path) -> None:
    (folder / "plugins" / "more.py").write_text("x = 1\n")


def lost(folder: Path) -> None:
    (folder / "plugins" / "net.py").unlink()


def binary(folder: Path) -> None:
    (folder / "plugins" / "net.pkl").write_bytes(b"\x80\x04.")


def nested(folder: Path) -> None:
    (folder / "plugins" / "net.py").write_text("x = " + "-" * 100_000 + "1\n")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (other_code, "is not the source that made this set"),
        (another, "is a source that no plugin of this set uses"),
        (lost, "is missing; the plan names it"),
        (binary, "is no source of Python"),
        (nested, "net.py"),
    ],
)
def test_a_stranger_s_sources_are_those_of_the_plan(
    made: tuple[Path, Path], tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    folder = publish(made[0], out=tmp_path, plugins=[made[1]]).folder
    harm(folder)
    problems = [str(fault) for fault in audit(folder).problems]
    assert any(said in problem for problem in problems), problems


def test_the_command_names_what_it_wrote(
    made: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, plugins = made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(root.parent)
    assert cli.main(["publish", "own", "--plugins", str(plugins)]) == 0
    told = capsys.readouterr().out
    assert "published/own: " in told
    assert (tmp_path / "published" / "own" / "manifest.json").exists()
    assert cli.main(["publish", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_pictures_are_left_out_of_a_large_set(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pictures(published: Published) -> bool:
        return any(name.endswith(".png") for name in published.files)

    root, plugins = made
    assert pictures(publish(root, out=tmp_path / "small", plugins=[plugins]))
    monkeypatch.setattr("universality.sharing.publish.MAX_WITH_PNG", 1000)
    large = publish(root, out=tmp_path / "large", plugins=[plugins])
    assert not pictures(large)
    drawn = [name for name in large.files if name.endswith(".svg")]
    assert drawn
    monkeypatch.setattr("universality.sharing.publish.MAX_WITH_SVG", 1000)
    monkeypatch.setattr("universality.sharing.publish.LARGE", 4000)
    larger = publish(root, out=tmp_path / "larger", plugins=[plugins])
    kept = [name for name in larger.files if name.endswith(".svg")]
    assert set(kept) < set(drawn)
    assert all((larger.folder / name).stat().st_size <= 4000 for name in kept)
    assert decode_json((large.folder / "manifest.json").read_bytes())["schema_version"] == 2
