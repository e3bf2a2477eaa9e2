"""What tables share that lie in files: the official ones, or what scikit-learn fetched in their place."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from universality.errors import DataUnavailable
from universality.plugin.kit.data import damaged, fetch_command, private_folder, sha256, verified
from universality.plugin.task import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class FetchedTable(Task):
    """A table of the files in `digests`, which win, or of the csv file `fetched`.

    The two may differ in rows: the digest of what was fetched is part of a run's id.
    """

    columns: ClassVar[tuple[str, ...]]
    titled: ClassVar[bool]
    """Whether the official files begin with the names of their columns."""
    fetched: ClassVar[str]

    @abstractmethod
    def download(self, folder: Path) -> pd.DataFrame:
        """The columns as scikit-learn brings them; `folder` is thrown away."""

    def content(self, root: Path) -> str:
        return sha256(root / self.fetched) if self._is_fetched(root) else ""

    def fetch(self, root: Path) -> None:
        """Fetch by scikit-learn, where neither an official file nor an earlier fetch is there."""
        if self._is_official(root) or self._is_fetched(root):
            return
        with private_folder(root, "download") as folder:
            try:
                table = self.download(folder)
            except Exception as error:  # of the network, of a checksum, of the site: each its own kind
                raise DataUnavailable(
                    f"{self.name} could not be downloaded",
                    where=f"scikit-learn, data root {root}",
                    got=f"{type(error).__name__}: {error}",
                    expected=f"a network, or {', '.join(self.digests)} under the data root",
                    do=fetch_command(self.name, root),
                ) from error
            table[list(self.columns)].to_csv(folder / "table.csv", index=False)
            (root / self.fetched).parent.mkdir(parents=True, exist_ok=True)
            (folder / "table.csv").replace(root / self.fetched)

    def tables(self, root: Path) -> list[pd.DataFrame]:
        """The official files, verified, or the one that was fetched; `?` and nothing are missing values.

        Raises `DataUnavailable`.
        """
        if self._is_fetched(root):
            return [self._table(root / self.fetched, titled=True)]
        files = verified(root, self.digests, do=fetch_command(self.name, root))
        return [self._table(file, titled=self.titled) for file in files]

    def _is_official(self, root: Path) -> bool:
        return any((root / path).exists() for path in self.digests)

    def _is_fetched(self, root: Path) -> bool:
        return not self._is_official(root) and (root / self.fetched).is_file()

    def _table(self, file: Path, *, titled: bool) -> pd.DataFrame:
        import pandas as pd

        names = list(self.columns)
        try:
            table = pd.read_csv(
                file,
                header=0 if titled else None,
                names=None if titled else names,
                skipinitialspace=True,
                na_values="?",
            )
            return table[names]
        except (ValueError, KeyError) as error:
            expected, do = f"a csv with the columns {', '.join(names)}", "delete it, then fetch it again"
            raise damaged(file, error, expected=expected, do=do) from error
