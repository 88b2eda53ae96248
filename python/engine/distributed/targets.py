"""Files and folders that appear once they are whole, and replace nothing unless the user has said so."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

_SUFFIX = ".parquet"
# Rows that are written at a time, since files of small groups of rows are read slowly.
_ROWS_OF_GROUP = 1 << 17


class Target:
    """Where a result is written. A context manager whose value is the path of something beside it, which takes its place at the end.

    If the block raises, what it has written is removed, and what was at the path is as it was.

    Args:
        path: of a file that ends in ".parquet"; any other is the path of a folder.
        overwrite: whether a file may be replaced.

    Raises:
        FileExistsError: if something is at the path that may not be replaced. Folders with anything in them never are.
        FileNotFoundError: if the folder in which the path lies doesn't exist.
    """

    def __init__(self, path: Any, overwrite: bool) -> None:
        self.path = Path(path)
        self.is_folder = self.path.suffix != _SUFFIX
        if not self.path.parent.is_dir():
            msg = f"there is no folder {self.path.parent} to write {self.path.name} into"
            raise FileNotFoundError(msg)
        if self.path.exists():
            self._require_replaceable(overwrite)
        self._beside = self.path.with_name(f".{self.path.name}-{uuid.uuid4().hex}")

    def __enter__(self) -> Path:
        if self.is_folder:
            self._beside.mkdir()
        return self._beside

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            if self.is_folder:
                with suppress(FileNotFoundError):
                    self.path.rmdir()  # which is empty
            self._beside.replace(self.path)
        elif self.is_folder:
            shutil.rmtree(self._beside, ignore_errors=True)
        else:
            self._beside.unlink(missing_ok=True)

    def _require_replaceable(self, overwrite: bool) -> None:
        if self.is_folder:
            if not self.path.is_dir():
                msg = f"{self.path} is a file: end `to` in '{_SUFFIX}' for one file, or name a new folder"
                raise FileExistsError(msg)
            if any(self.path.iterdir()):
                msg = f"the folder {self.path} isn't empty: name a new one, or empty it"
                raise FileExistsError(msg)
        elif self.path.is_dir():
            msg = f"{self.path} is a folder, so that no file can be written there: name another path"
            raise FileExistsError(msg)
        elif not overwrite:
            msg = f"{self.path} exists: name another path, or pass overwrite=True to replace it"
            raise FileExistsError(msg)


def written(path: Path, schema: Any, tables: Iterable[Any]) -> None:
    """Writes tables of a schema into one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema) as writer:
        group = [schema.empty_table()]
        for table in tables:
            group.append(table)
            if sum(map(len, group)) >= _ROWS_OF_GROUP:
                writer.write_table(pa.concat_tables(group))
                group = [schema.empty_table()]
        writer.write_table(pa.concat_tables(group))
