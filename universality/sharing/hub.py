"""Published sets as datasets of the Hugging Face hub: `hf:owner/name`, or `hf:owner/name@revision`.

What a hub names and sends is a stranger's: only files that a published set has, by name, are fetched, within bounds, and
are read like those of any other folder. Nothing is executed, and nothing is written outside the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from universality.errors import BadParameter, StoreError, UniversalityError, described
from universality.output.phrases import answer_lines
from universality.plan.plan_json import PlanRecord
from universality.store.files import storing
from universality.store.layout import Layout, is_published, safe_name
from universality.store.untrusted import MAX_BYTES, UntrustedFile, read_bytes
from universality.text import escaped, short

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from universality.judge.resultset import ResultSet

SCHEME = "hf:"
MAX_SET, MAX_FILES = 256 << 20, 2000
"""Bytes and files of a set that is fetched."""
CARD = "README.md"

_ADDRESS = re.compile(
    r"hf:(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,200}))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Address(NamedTuple):
    """A dataset of the hub; `revision` is a branch, a tag or a commit, empty for the newest."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}{'@' if self.revision else ''}{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises `BadParameter` for anything that is no address."""
        match = _ADDRESS.fullmatch(text)
        if match is None or ".." in text or "--" in match["repo"]:
            raise BadParameter(
                "this is no address on the hub",
                got=text,
                expected="hf:owner/name or hf:owner/name@revision, of letters, digits, . _ and -",
            )
        return cls(match["repo"], match["revision"] or "")


def local(place: str | Path, *, own: bool = False) -> Path:
    """The folder of a result set: `place` itself, or where the set at its address on the hub was fetched to.

    Args:
        own: a copy to be written in; what was fetched stays as it is.

    Raises:
        BadParameter: for an address that is none.
        StoreError: where the hub does not give it.
    """
    if not str(place).startswith(SCHEME):
        return Path(place)
    fetched = _fetch(Address.parse(str(place)))
    if not own:
        return fetched
    copy = fetched.parent.with_name(f"{fetched.parent.name}-report") / fetched.name
    with storing(copy):
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Beside it, and moved in one step: a copy that was interrupted is none.
            work = Path(tempfile.mkdtemp(prefix=".copying-", dir=copy.parent))
            try:
                shutil.copytree(fetched, work / copy.name)
                (work / copy.name).rename(copy)
            except OSError:
                if not copy.exists():  # else another process was first
                    raise
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return copy


def cache() -> Path:
    """$UNIVERSALITY_HUB, else ~/.cache/universality/hub."""
    return Path(os.environ.get("UNIVERSALITY_HUB") or Path.home() / ".cache" / "universality" / "hub")


def _fetch(address: Address) -> Path:
    """A set lies in the cache under its commit, which never changes: one that is named by it is not asked for again."""
    place = cache() / address.repo
    if _COMMIT.fullmatch(address.revision) and (known := _known(place / address.revision)):
        return known
    api = _api()
    with _asking(str(address)):
        info = api.dataset_info(address.repo, revision=address.revision or None, files_metadata=True)
    commit, siblings = str(info.sha), info.siblings or []
    sizes = {each.rfilename: each.size or 0 for each in siblings if is_published(each.rfilename)}
    if not _COMMIT.fullmatch(commit):
        raise StoreError(
            "the hub names no commit",
            where=str(address),
            got=short(commit, 100),
            do="try again; is HF_ENDPOINT that of a hub?",
        )
    if known := _known(place / commit):
        return known
    if lacking := {"manifest.json", "plan.json.gz", "measurements.jsonl.gz"} - sizes.keys():
        raise StoreError(
            "no published result set is there",
            where=str(address),
            got=f"{len(siblings)} files, without {', '.join(sorted(lacking))}",
            expected="what `universality publish --to` uploads",
        )
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_SET or max(sizes.values()) > MAX_BYTES:
        raise StoreError(
            "this result set is too large to be fetched",
            where=str(address),
            got=f"{len(sizes):,} files of {sum(sizes.values()):,} bytes",
            expected=f"at most {MAX_FILES:,} files and {MAX_SET:,} bytes, none above {MAX_BYTES:,}",
        )
    with storing(place):
        place.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetching-", dir=place))
    try:
        with _asking(str(address)):
            api.snapshot_download(
                address.repo,
                repo_type="dataset",
                revision=commit,
                local_dir=work / "sent",
                allow_patterns=list(sizes),
            )
        return _kept(address, work, sorted(sizes), place / commit)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _kept(address: Address, work: Path, names: list[str], place: Path) -> Path:
    """Plain files of known names alone, in a folder that is called as the set is, moved to `place` in one step."""
    kept = work / "kept"
    with storing(place):
        for name in names:
            try:
                data = read_bytes(work / "sent" / name)
            except UntrustedFile as problem:
                raise StoreError(
                    "a file cannot be used", where=f"{address}: {name}", got=str(problem)
                ) from None
            path = kept / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        suite = address.repo.partition("/")[2].replace(".", "-")
        with suppress(UntrustedFile, UniversalityError):
            suite = safe_name(PlanRecord.read(Layout(kept / "set").plan).suite)
        (kept / "set").rename(kept / suite)
        with suppress(OSError):  # another process was first
            kept.rename(place)
    found = _known(place)
    assert found is not None
    return found


def _known(place: Path) -> Path | None:
    """The set of a commit in the cache."""
    return next((path for path in place.iterdir() if path.is_dir()), None) if place.is_dir() else None


def check_upload(to: str) -> Address:
    """What must be known before a set is made ready. Raises `BadParameter` for an address that is none, or names a
    revision, and `StoreError` where no token is known."""
    address = Address.parse(to)
    if address.revision:
        raise BadParameter(
            "an upload makes a revision of its own", got=to, expected=f"{SCHEME}{address.repo}"
        )
    from huggingface_hub import get_token

    if get_token() is None:
        raise StoreError(
            "no token of the hub is known, and nothing was uploaded",
            where=str(address),
            do="`hf auth login`, or set HF_TOKEN to a token that may write (huggingface.co/settings/tokens)",
        )
    return address


def upload(folder: Path, files: tuple[str, ...], address: Address, card: str) -> str:
    """Upload a published set as a dataset, in one commit; returns its address.

    Of a set that was there before, files that this one has no more are deleted in the same commit; other files stay. The
    card is written where there is none.

    Raises:
        StoreError: where the hub refuses; a dataset that was just made is left empty then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = _api()
    with _asking(str(address), "nothing was uploaded"):
        api.create_repo(address.repo, repo_type="dataset", exist_ok=True)
        info = api.dataset_info(address.repo)
        before = {each.rfilename for each in info.siblings or []}
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, folder / name) for name in files
        ]
        changes += [CommitOperationDelete(name) for name in sorted(before - set(files)) if is_published(name)]
        if CARD not in before:
            changes.append(CommitOperationAdd(CARD, card.encode()))
        commit = api.create_commit(
            address.repo,
            changes,
            commit_message=f"Result set {folder.name}",
            repo_type="dataset",
            parent_commit=info.sha,
        )
    return str(Address(address.repo, str(commit.oid)))


def card_of(results: ResultSet, address: Address) -> str:
    """The page of a dataset: what is known, and how it is read."""
    known = [f"- {escaped(line, 1000)}" for line in answer_lines(results)]
    return "\n".join([
        "---", "tags:", "- universality", "---", "", f"# {escaped(results.plan.suite)}", "",
        "A result set of universality, which measures which behaviours of deep learning are universal.", "",
        *known, "",
        f"    universality check {SCHEME}{address.repo}",
        f"    universality compare {SCHEME}{address.repo} results/mine",
        f"    universality leaderboard {SCHEME}{address.repo} results/mine", "",
    ])  # fmt: skip


def _api() -> HfApi:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="universality")


@contextmanager
def _asking(address: str, lost: str = "nothing was fetched") -> Iterator[None]:
    """What a call of the library raises becomes an error that says what to do. Only calls of it stand within."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except Exception as error:  # its network errors are those of whichever HTTP library it is built on
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, GatedRepoError) or status == 403:
            what, do = "the hub does not allow that", "use a token that may, of an owner that you belong to"
        elif isinstance(error, RevisionNotFoundError):
            what, do = "the hub has no such revision", "leave it out for the newest"
        elif isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            what, do = (
                "the hub knows no such dataset, or not this token",
                "check the name; `hf auth login` for a private one",
            )
        elif isinstance(error, HFValidationError):
            what, do = "the hub takes no such name", "check the name"
        elif isinstance(error, OfflineModeIsEnabled):
            what, do = (
                "the hub is switched off",
                "unset HF_HUB_OFFLINE, or name a commit that was fetched before",
            )
        elif isinstance(error, HfHubHTTPError):
            what, do = "the hub refuses", "try again later"
        else:
            what, do = "the hub cannot be reached", "check the network, and HF_ENDPOINT; try again later"
        raise StoreError(
            f"{what}, and {lost}", where=address, got=short(described(error), 300), do=do
        ) from error
