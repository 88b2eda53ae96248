"""`.safetensors`: arrays after a header in JSON, which many programs read; texts are in its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine._extras import extra
from engine.saving.contents import Array, Contents, Format, Reader, Stored, Variables, vars_of

# What NumPy has names for.
_DTYPES = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"}


def _package(module: str) -> Any:
    return extra(module, "files", "the format of `.safetensors`, other than that of `.npz`,")


class SafeTensors(Format):
    """Files of the package safetensors."""

    suffixes = (".safetensors",)

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Write into a file that is open, and has a `name`."""
        arrays = {
            f"{vars_of(place)}{key}": np.asarray(array, order="C")
            for place, group in contents.groups.items()
            for key, array in group.arrays.items()
        }
        _package("safetensors.numpy").save_file(arrays, file.name, dict(contents.texts))

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Open the file for reading."""
        with _package("safetensors").safe_open(path, framework="np") as file:
            yield SafeTensorsReader(file)


class SafeTensorsReader(Reader):
    """An open file.

    Args:
        file: of safetensors.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = list(file.keys())

    def text(self, name: str) -> str | None:
        """The text of that name; None if there is none."""
        return (self._file.metadata() or {}).get(name)

    def group(self, path: str) -> Variables:
        """The arrays of that path; empty if there is no such group."""
        start = vars_of(path)
        keys = [name[len(start) :] for name in self._names if name.startswith(start)]
        return Variables({key: self._stored(start + key) for key in keys if "/" not in key})

    def _stored(self, name: str) -> Stored:
        piece = self._file.get_slice(name)
        if piece.get_dtype() not in _DTYPES:
            msg = f"array {name!r} must hold numbers that NumPy knows, got {piece.get_dtype()}"
            raise ValueError(msg)

        def read() -> Array:
            return np.asarray(self._file.get_tensor(name))

        return Stored(tuple(piece.get_shape()), read)
