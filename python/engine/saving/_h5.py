"""`.weights.h5`: Keras' file of weights, in HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from posixpath import join
from typing import IO, Any

import numpy as np

from engine._extras import extra
from engine.saving.contents import (
    Array,
    Contents,
    Format,
    Reader,
    Stored,
    Variables,
    require_plausible,
    require_real,
    size_in_bytes,
    vars_of,
)

WANTED_BY = "the format of `.keras` and `.h5`, other than that of `.npz`,"


def h5py() -> Any:
    """The package of that name, which writes."""
    return extra("h5py", "files", WANTED_BY)


# Of HDF5's layouts of an array the others are puzzles of other arrays and files; and the address of what isn't there.
_CONTIGUOUS, _CHUNKED, _NOWHERE = 1, 2, 2**64 - 1


class WeightsH5(Format):
    """Keras' files of weights."""

    suffixes = (".weights.h5",)
    holds = frozenset({"weights"})

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Write into a file that is open, and has a `name`."""
        with h5py().File(file.name, "w") as handle:
            write_groups(handle, contents)

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Open the file for reading."""
        with opened(path) as file:
            yield H5Reader(file)


def write_groups(file: Any, contents: Contents) -> None:
    """Write all arrays into an open file."""
    for path, group in contents.groups.items():
        made = file.create_group(vars_of(path)[:-1])
        made.attrs["name"] = group.name
        for key, array in group.arrays.items():
            made[key] = array


def opened(file: Any) -> Any:
    """The HDF5 file of that path, or in an open file, for reading.

    By pyfive, which is written in Python: the library of HDF5, which h5py uses, ends the process at some damaged files.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it is none.
    """
    if isinstance(file, Path) and not file.exists():
        msg = f"no such file: {file}"
        raise FileNotFoundError(msg)
    found = extra("pyfive", "files", WANTED_BY).File(str(file) if isinstance(file, Path) else file)
    found.size_in_bytes = file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())
    return found


class H5Reader(Reader):
    """An open file of HDF5.

    Args:
        file: of pyfive.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def text(self, name: str) -> str | None:
        """None: there is nothing but weights."""
        del name
        return None

    def group(self, path: str) -> Variables:
        """The arrays of that path; empty if there is no such group."""
        return arrays_in(descend(self._file, vars_of(path)[:-1].split("/")))


def arrays_in(group: Any) -> Variables:
    """The arrays in a group, or none."""
    names = [] if group is None else list(group)
    return Variables({name: stored(group, name) for name in names})


def descend(group: Any, path: Sequence[str]) -> Any:
    """The group within `group` at the end of a path; None if there is none."""
    for name in path:
        group = child(group, name, "Group")
        if group is None:
            return None
    return group


def child(group: Any, name: str, kind: str) -> Any:
    """What is called `name` in a group; None if there is nothing.

    Raises:
        ValueError: for a link into another place or file, or something of another kind.
    """
    if name not in list(group):
        return None
    found = group[name]
    if found is None or found.name != join(group.name, name):
        msg = f"{name!r} is a link to another place or file: refused"
        raise ValueError(msg)
    if type(found).__name__ != kind:
        msg = f"{name!r} must be a {kind.lower()}, got {found!r}"
        raise ValueError(msg)
    return found


def stored(group: Any, name: str) -> Stored:
    """The array of that name in a group."""
    dataset = child(group, name, "Dataset")
    if dataset is None:
        msg = f"there is no array {name!r}"
        raise ValueError(msg)
    shape = require_real(dataset.dtype, dataset.shape, name)
    size = size_in_bytes(dataset.dtype, shape)
    layout = dataset.id.layout_class
    if layout > _CHUNKED or (layout == _CONTIGUOUS and size and dataset.id.data_offset == _NOWHERE):
        msg = f"the numbers of {name!r} are in another file, or nowhere: refused"
        raise ValueError(msg)
    require_plausible(name, size, group.file.size_in_bytes)

    def read() -> Array:
        return np.asarray(dataset[()])

    return Stored(shape, read)
