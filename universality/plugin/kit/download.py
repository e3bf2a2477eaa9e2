"""One file from the network, taken only if it is the one that was asked for."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

from universality.errors import DataUnavailable
from universality.plugin.kit.data import private_folder, sha256


def download(
    url: str,
    path: str,
    root: Path,
    *,
    name: str,
    digest: str,
    do: str,
    digest_of: Callable[[Path], str] = sha256,
) -> None:
    """Bring what lies at `url` to `path` under `root`, where it appears by one rename.

    Raises `DataUnavailable` without a network, and where `digest_of` the file is not `digest`.
    """
    with private_folder(root, "download") as folder:
        private = folder / Path(path).name
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                private.write_bytes(response.read())
        except OSError as error:
            raise DataUnavailable(
                f"{name} could not be downloaded",
                where=url,
                got=str(error),
                expected=f"a network, or {path} under the data root {root}",
                do=do,
            ) from error
        if (got := digest_of(private)) != digest:
            raise DataUnavailable(
                f"the download is not {name}",
                where=url,
                got=f"sha256 {got}",
                expected=f"sha256 {digest}",
                do=do,
            )
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        private.replace(root / path)
