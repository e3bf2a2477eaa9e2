"""Results of an earlier schema are refused with a message that says what to do, and are left as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from universality.audit.result_set import audit
from universality.errors import StoreError
from universality.judge.resultset import ResultSet
from universality.plan.plan_json import PlanRecord
from universality.store.cells import CellRecord
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile

SCHEMA_1 = Path(__file__).parent / "schema-1"
"""Three measurements of quick-cpu as version 1 stored them."""

WHAT = "has schema version 1, this reads 2"
DO = "read it with the version of universality that wrote it, or run its suite into a new folder (--name)"
WHAT_TO_DO = f"{WHAT}: {DO}"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMA_1, tmp_path / "schema-1"))


def contents(root: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def test_the_fixture_is_small() -> None:
    assert sum(len(data) for data in contents(SCHEMA_1).values() if data is not None) < 60_000


@pytest.mark.parametrize("writable", [False, True])
def test_a_store_of_an_earlier_schema_is_not_opened(earlier: Path, writable: bool) -> None:
    before = contents(earlier)
    with pytest.raises(StoreError) as caught:
        Store.open(earlier, writable=writable)
    assert str(caught.value) == (
        "a result set of another version\n"
        f"  where: {earlier / 'manifest.json'}\n"
        f"  got:   {WHAT}\n"
        f"  do:    {DO}"
    )
    assert contents(earlier) == before


def test_nothing_is_made_in_a_store_of_an_earlier_schema(earlier: Path) -> None:
    before = contents(earlier)
    with pytest.raises(StoreError, match="a result set of another version") as caught:
        Store.create(earlier)
    assert caught.value.do == DO
    assert contents(earlier) == before


def test_a_result_set_of_an_earlier_schema_is_not_loaded(earlier: Path) -> None:
    with pytest.raises(StoreError, match="a result set of another version") as caught:
        ResultSet.load(earlier)
    assert (caught.value.got, caught.value.do) == (f"manifest.json {WHAT}", DO)
    assert caught.value.where == str(earlier)


def test_checking_a_result_set_of_an_earlier_schema_names_one_problem(earlier: Path) -> None:
    before = contents(earlier)
    assert [str(problem) for problem in audit(earlier).problems] == [f"manifest.json: {WHAT_TO_DO}"]
    assert contents(earlier) == before


def test_files_of_an_earlier_schema_are_refused_beside_a_manifest_of_this_one(earlier: Path) -> None:
    for path in (earlier / "measurements").iterdir():
        with pytest.raises(UntrustedFile, match="is damaged: "):
            CellRecord.read(path.read_bytes())
    with pytest.raises(UntrustedFile, match=r"is missing; plan\.json is of an earlier version"):
        PlanRecord.read(earlier / "plan.json.gz")
