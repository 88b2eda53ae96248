"""The format `.npz`: NumPy's archive of arrays, `layers/dense/vars/0` and so on, and texts. It needs only NumPy."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from engine.saving import _zip
from engine.saving.contents import (
    Array,
    Contents,
    Format,
    Reader,
    Stored,
    Variables,
    by_group,
    require_real,
    size_in_bytes,
    vars_of,
)

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Npz(Format):
    """The format `.npz`."""

    suffixes = (".npz",)

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file."""
        with _zip.new(file) as archive:
            for name, text in contents.texts.items():
                with _zip.new_member(archive, name) as member:
                    member.write(text.encode())
            for path, group in contents.groups.items():
                for key, array in group.arrays.items():
                    with _zip.new_member(archive, f"{vars_of(path)}{key}.npy") as member:
                        npy.write_array(member, np.asanyarray(array), allow_pickle=False)

    @contextmanager
    def open(self, path: Path) -> Iterator[NpzReader]:
        """Opens the file for reading."""
        with _zip.opened(path) as archive:
            yield NpzReader(archive)


class NpzReader(Reader):
    """An open archive.

    Args:
        archive: the zip file.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = by_group(archive.namelist(), ".npy")

    @property
    def groups(self) -> set[str]:
        """The paths of all groups with arrays."""
        return {name.removesuffix("/vars") for name in self._names}

    def text(self, name: str) -> str | None:
        """Returns the text of a name; None if there is none."""
        return _zip.text_member(self._archive, name)

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""
        names = self._names.get(vars_of(path)[:-1], {})
        return Variables.of(names, lambda name: self._stored(self._archive.getinfo(names[name])))

    def _stored(self, info: zipfile.ZipInfo) -> Stored:
        with _zip.member(self._archive, info) as file:
            version = npy.read_magic(file)
            if version not in _HEADERS:
                msg = f"{info.filename!r} is of version {version} of NumPy's format, which isn't known here"
                raise ValueError(msg)
            try:
                shape, transposed, dtype = _HEADERS[version](file)
            except Warning as warning:
                msg = f"{info.filename!r} has a header that nobody writes any more: {warning}"
                raise ValueError(msg) from warning
            offset = file.tell()
        shape = require_real(dtype, shape, info.filename)
        if size_in_bytes(dtype, shape) + offset != info.file_size:
            msg = (
                f"array {info.filename!r} says that its shape is {shape} and its dtype {dtype}, but has "
                f"{info.file_size - offset} bytes"
            )
            raise ValueError(msg)

        def read() -> Array:
            flat = np.frombuffer(_zip.bytes_of(self._archive, info), dtype, offset=offset)
            return flat.reshape(shape[::-1]).T if transposed else flat.reshape(shape)

        return Stored(shape, read)
