"""`.weights.h5`: Keras' file of weights, in HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine._extras import extra
from engine.saving._contents import (
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


def h5py() -> Any:
    """The package of that name."""
    return extra("h5py", "files", "the format of `.keras` and `.h5`, other than that of `.npz`,")


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
    """The HDF5 file of that path, or in an open file.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it is none.
    """
    if isinstance(file, Path) and not file.exists():
        msg = f"no such file: {file}"
        raise FileNotFoundError(msg)
    return h5py().File(file, "r")


class H5Reader(Reader):
    """An open file of HDF5.

    Args:
        file: of h5py.
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
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py().HardLink):
        msg = f"{name!r} is a link to another place or file ({type(link).__name__}): refused"
        raise ValueError(msg)
    found = group[name]
    if not isinstance(found, getattr(h5py(), kind)):
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
    if dataset.external or dataset.is_virtual:
        msg = f"the numbers of {name!r} are in another file: refused"
        raise ValueError(msg)
    require_plausible(name, size_in_bytes(dataset.dtype, shape), dataset.id.get_storage_size())

    def read() -> Array:
        return np.asarray(dataset[()])

    return Stored(shape, read)
