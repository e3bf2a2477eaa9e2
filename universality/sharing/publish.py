"""A result set in the small form in which it is published: everything that its verdicts follow from, and no runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from universality.audit.findings import Audit
from universality.audit.result_set import audit
from universality.audit.sources import own_sources
from universality.errors import StoreError
from universality.judge.resultset import ResultSet
from universality.output.build import rebuild
from universality.plan.plan_json import PlanRecord
from universality.plan.suite import read_suite
from universality.plugin.loading import Home, plugin_folder
from universality.plugin.sources import files_of, source_at
from universality.store.files import encode_record, storing, write_durably
from universality.store.layout import Layout, is_published
from universality.store.measurements import encoded
from universality.store.store import Store
from universality.text import short

MAX_WITH_PNG, MAX_WITH_SVG = 2 << 20, 2 << 20
"""Bytes of a set beyond which figures are published as SVG alone, and beyond which those of more than `LARGE` are left to the
page, which has them all."""
LARGE = 32 << 10
LISTED = 10
"""Problems that an error names."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was written, and what deserves a look.

    Args:
        folder: the published set; its name is that of its suite.
        files: relative to it, sorted.
        size: bytes of all of them.
        notes: of `universality check`.
        url: its address on the hub, with the commit; empty where nothing was uploaded.
    """

    folder: Path
    files: tuple[str, ...]
    size: int
    notes: tuple[str, ...]
    url: str = ""


def publish_set(root: Path, out: Path, plugins: Sequence[Path] = ()) -> Published:
    """Check the result set in `root` and write its published form to `out/NAME`, in one step.

    Plan and measurements are written anew from what was read of them; tables, figures and the page from these. The same
    set gives the same bytes. A published set of that name is replaced; a folder that holds runs is not.

    Args:
        plugins: where the sources are of plugins that do not belong to the package; those the set carries are found.

    Raises:
        StoreError: where the set does not hold together, a source is missing or was edited, or `out/NAME` is no
            published set. Then nothing is written.
    """
    root = Path(root)
    found = _passed(audit(root, plugins))
    results = ResultSet.load(root)
    sources = sources_of(results.plan, [*map(plugin_folder, plugins), Layout(root).plugins])
    place = Path(out) / root.resolve().name
    _check_place(place, root)
    with _staged(place) as folder:
        _fill(folder, results, sources)
        rebuild(Store.open(root), folder)
        _drop_heavy_figures(folder)
        _passed(audit(folder))
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
    notes = tuple(note for note in found.notes if not note.startswith("report/"))
    return Published(place, tuple(sorted(files)), sum(files.values()), notes)


def sources_of(plan: PlanRecord, folders: Sequence[Path]) -> dict[str, bytes]:
    """The files of all plugins of a plan that do not belong to the package, by their names in their folders.

    Raises:
        StoreError: for one that is in no folder, that was edited, or two of one name.
    """
    files: dict[str, bytes] = {}
    for about in own_sources(plan):
        here = [each for each in folders if each.is_dir() and source_at(about, [each]) is not None]
        same = next((each for each in here if source_at(about, [each]) == about), None)
        if same is None:
            raise StoreError(
                "the source of a plugin that made this set "
                + ("is another one now" if here else "is not at hand"),
                where=about.file,
                got="another SHA-256 than that in the plan" if here else "no such file",
                expected="the file that made the runs, and all that it imports of its folder",
                do="run the suite again with the edited plugin" if here else "name its folder with --plugins",
            )
        for path in files_of(Home(same / about.file, same), Path.read_bytes):
            name, data = path.relative_to(same).as_posix(), path.read_bytes()
            if not is_published(f"plugins/{name}"):
                raise StoreError(
                    "a file of a plugin cannot be published",
                    where=str(path),
                    expected="a .py file, at most three folders deep, of letters, digits, _ and -",
                    do="rename or move it, and run the suite again",
                )
            if files.setdefault(name, data) != data:
                raise StoreError(
                    "two plugins have files of one name", where=name, do="rename one, and run the suite again"
                )
    return files


def _passed(found: Audit) -> Audit:
    if found.problems:
        lines = [short(str(fault), 300) for fault in list(found.problems)[:LISTED]]
        more = len(found.problems) - len(lines)
        raise StoreError(
            "a result set does not hold together, and was not published",
            where=str(found.root),
            got="\n".join([*lines, *([f"and {more} more"] if more else [])]),
            do="`universality report` writes tables anew; `universality check` lists everything",
        )
    return found


def _check_place(place: Path, root: Path) -> None:
    """Raises `StoreError` where something lies at `place` that is not to be replaced."""
    if not (place.exists() or place.is_symlink()):
        return
    what = ""
    if place.is_symlink() or not place.is_dir():
        what = "no folder"
    elif place.resolve() == root.resolve():
        what = "the set itself"
    elif foreign := sorted(
        n for p in _files(place) if not is_published(n := p.relative_to(place).as_posix())
    ):
        what = short(foreign[0], 120)
    if what:
        raise StoreError(
            "a published set would replace something else",
            where=str(place),
            got=what,
            expected="nothing, or a published set, which has no runs",
            do="choose another --out",
        )


@contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A new folder that takes the place of `place` when the block has ended well, and else leaves nothing."""
    with storing(place.parent):
        new = not place.parent.exists()
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".publishing-", dir=place.parent))
    try:
        folder = work / place.name
        folder.mkdir()
        yield folder
        with storing(place):
            if place.exists():
                os.rename(place, work / "earlier")
            os.rename(folder, place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if new and not any(place.parent.iterdir()):
            place.parent.rmdir()


def _fill(folder: Path, results: ResultSet, sources: dict[str, bytes]) -> None:
    """Everything but what is made of it; figures of trajectories that are not here any more are taken as they are."""
    to, of = Layout(folder), results.layout
    files = {
        to.manifest: encode_record(results.manifest),
        to.suite: read_suite(of.suite).toml().encode(),
        to.plan: results.plan.file(),
        to.measurements: encoded(record.line() for record in results.records),
        **{to.plugins / name: data for name, data in sources.items()},
    }
    drawn = (path for path in _files(of.report) if path.suffix in (".svg", ".png") or path == of.page)
    with storing(folder):
        files |= {to.report / path.name: path.read_bytes() for path in drawn}
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)


def _drop_heavy_figures(folder: Path) -> None:
    for suffix, most, large in ((".png", MAX_WITH_PNG, 0), (".svg", MAX_WITH_SVG, LARGE)):
        sizes = {path: path.stat().st_size for path in _files(folder)}
        if sum(sizes.values()) > most:
            for path, size in sizes.items():
                if path.suffix == suffix and size > large:
                    path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
