"""The callback `CSVLogger`, which writes the logs of a training to a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine._base.atomic_files import require_folder_of
from engine._base.checks import flag, path_of
from engine.callbacks.base import Callback, Logs

if TYPE_CHECKING:
    import csv
    from typing import TextIO


class CSVLogger(Callback):
    """Writes the logs of every epoch to a CSV file: `epoch`, counted from 0, then one column per name.

    Args:
        filename: path of the file.
        separator: character between values.
        append: whether to append to an existing file instead of replacing it.
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: object = ",", append: bool = False
    ) -> None:
        self.filename = path_of(filename, "filename")
        if not isinstance(separator, str) or len(separator) != 1:
            msg = f"`separator` must be one character, got {separator!r}"
            raise ValueError(msg)
        self.sep = separator
        self.append = flag(append, "append")
        self.keys: list[str] = []
        self._file: TextIO | None = None
        self._writer: csv.DictWriter[str] | None = None

    @property
    def _writes_to(self) -> object:
        return self.filename

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Opens the file."""
        self._close()
        path = Path(self.filename)
        require_folder_of(path)
        self._headed = self.append and path.exists() and path.stat().st_size > 0
        self._file = path.open("a" if self.append else "w", encoding="utf-8", newline="")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes a line, and the header before the first one."""
        import csv

        logs = logs or {}
        if self._writer is None:
            self.keys = sorted(logs)
            if self.keys and not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]  # validation may come in a later epoch
            self._writer = csv.DictWriter(self._file, ["epoch", *self.keys], delimiter=self.sep)  # type: ignore[arg-type] # open since on_train_begin
            if not self._headed:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch} | {key: _cell(logs.get(key, "NA")) for key in self.keys})
        if self._file is not None:
            self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the file."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _cell(value: Any) -> Any:
    """Returns `value` as the file holds it: a list is written in brackets and quotes."""
    if isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", True):
        return f'"[{", ".join(map(str, value))}]"'
    return value
