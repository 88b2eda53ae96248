"""The format `.safetensors`: a header in JSON, followed by arrays. Many programs read it. Texts are in its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine._base.extras import extra
from engine.saving.contents import (
    CHECKSUM,
    Array,
    Contents,
    Format,
    Reader,
    Stored,
    Variables,
    by_group,
    checksum_of,
    require_checksum,
    vars_of,
)

# The format's names of the dtypes that NumPy has.
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
# The header is padded to a multiple of this, so that arrays of 8-byte numbers are aligned.
_ALIGNMENT = 8
_WANTED_BY = "loading `.safetensors` files"


@contextmanager
def _its_errors_as_ours() -> Iterator[None]:
    """Turns the error of the package, which derives from `Exception` alone, into a ValueError, as of all other formats."""
    try:
        yield
    except extra("safetensors", "files", _WANTED_BY).SafetensorError as error:
        msg = f"this is no file of safetensors, or a part of one: {error}"
        raise ValueError(msg) from error


class SafeTensors(Format):
    """Files of the package safetensors."""

    suffixes = (".safetensors",)

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file: the length of the header in 8 bytes, the header, then the arrays.

        The package safetensors is not used for this. It either writes to a path by itself, without this file's permissions
        and `fsync`, or returns bytes, for which it needs twice the memory of all arrays.
        """
        arrays = {
            f"{vars_of(path)}{key}": np.asarray(array)
            for path, group in contents.groups.items()
            for key, array in group.arrays.items()
        }
        # This order keeps all arrays aligned.
        names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
        header = json.dumps(_header(arrays, names, contents), separators=(",", ":")).encode()
        header += b" " * (-len(header) % _ALIGNMENT)
        file.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            file.write(_little_endian(arrays[name]).reshape(-1).view(np.uint8).data)

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Open the file for reading."""
        package = extra("safetensors", "files", _WANTED_BY)
        with path.open("rb"):  # if this fails, Python's error says more than the package's
            pass
        with _its_errors_as_ours():
            opened = package.safe_open(path, framework="np")
        with opened as file:
            yield SafeTensorsReader(file)


class SafeTensorsReader(Reader):
    """An open file.

    Args:
        file: the file, opened by safetensors.

    Raises:
        ValueError: if the file has a checksum for an array or a text that it lacks.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        names = list(file.keys())
        self._names = by_group(names)
        self._texts = dict(file.metadata() or {})
        self._checksums = json.loads(self._texts.pop(CHECKSUM, "{}"))
        if missing := self._checksums.keys() - {*names, *self._texts}:
            msg = f"there is a checksum of {min(missing)!r}, but nothing of that name: the file is damaged"
            raise ValueError(msg)

    def text(self, name: str) -> str | None:
        """Returns the text of a name; None if there is none."""
        text = self._texts.get(name)
        if text is not None:
            require_checksum(name, text, self._checksums.get(name))
        return text

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""
        names = self._names.get(vars_of(path)[:-1], {})
        return Variables.of(names, lambda name: self._stored(names[name]))

    def _stored(self, name: str) -> Stored:
        with _its_errors_as_ours():
            piece = self._file.get_slice(name)
            dtype, shape = piece.get_dtype(), tuple(piece.get_shape())
        if dtype not in _DTYPES.values():
            msg = f"array {name!r} must hold numbers that NumPy knows, got {dtype}"
            raise ValueError(msg)

        def read() -> Array:
            with _its_errors_as_ours():
                array = np.asarray(self._file.get_tensor(name))
            require_checksum(name, array, self._checksums.get(name))
            return array

        return Stored(shape, read)


def _header(arrays: dict[str, Array], names: list[str], contents: Contents) -> dict[str, Any]:
    """Returns the header: texts, checksums of everything, and dtype, shape and offset of each array in this order."""
    checksums = {name: checksum_of(name, text) for name, text in contents.texts.items()}
    header: dict[str, Any] = {"__metadata__": {}}
    end = 0
    for name in names:
        array = _little_endian(arrays[name])
        if array.dtype.name not in _DTYPES:
            msg = f"array {name!r} has dtype {array.dtype}, but a `.safetensors` file can hold {', '.join(_DTYPES)}"
            raise ValueError(msg)
        begin, end = end, end + array.nbytes
        fields = {"shape": list(array.shape), "data_offsets": [begin, end]}
        header[name] = {"dtype": _DTYPES[array.dtype.name]} | fields
        checksums[name] = checksum_of(name, array)
    header["__metadata__"] = {**contents.texts, CHECKSUM: json.dumps(checksums, separators=(",", ":"))}
    return header


def _little_endian(array: Array) -> Array:
    """Returns the array in C order with little-endian numbers, as the format demands."""
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")
