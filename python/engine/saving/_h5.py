"""`.weights.h5`: Keras' file of weights, in HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from posixpath import join
from typing import IO, Any

import numpy as np

from engine._checks import REAL
from engine._extras import extra
from engine.saving.contents import (
    CHECKSUM,
    OPTIMIZER,
    ROUNDED,
    Array,
    Contents,
    Format,
    Reader,
    Stored,
    Variables,
    checksum_of,
    require_checksum,
    require_plausible,
    require_real,
    size_in_bytes,
    vars_of,
)

# What ends the names of attributes with the number of arrays in a group.
COUNT = "arrays"
# What does without these packages.
INSTEAD = "save to `.npz`, which needs NumPy alone"
# Of HDF5's layouts of an array the others are puzzles of other arrays and files; and the address of what isn't there.
_CONTIGUOUS, _CHUNKED, _NOWHERE = 1, 2, 2**64 - 1


class WeightsH5(Format):
    """Keras' files of weights."""

    suffixes = (".weights.h5",)
    holds = frozenset({"weights"})

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Write into a file that is open."""
        write_weights(file, contents)

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Open the file for reading."""
        with opened(path) as file:
            yield H5Reader(file)


@contextmanager
def new_h5(file: IO[bytes]) -> Iterator[Any]:
    """Yields a file of h5py, whose bytes are written into `file` at the end of the block.

    It is in memory: where the library of HDF5 itself can't write to a file, on a full disk for one, it ends the process.
    """
    package = extra("h5py", "files", "saving `.keras` and `.h5` files", INSTEAD)
    content = BytesIO()
    with package.File(content, "w") as handle:
        yield handle
    file.write(content.getbuffer())


def write_weights(file: IO[bytes], contents: Contents, attributes: Mapping[str, str] | None = None) -> None:
    """Write all arrays into an open file, as Keras' files of weights have them.

    Args:
        file: is empty.
        contents: of the model.
        attributes: of the whole file.
    """
    with new_h5(file) as handle:
        handle.attrs.update(attributes or {})
        for path, group in contents.groups.items():
            made = handle.create_group(vars_of(path)[:-1])
            made.attrs["name"] = group.name
            for key, array in group.arrays.items():
                write_array(made, key, array)
        for path in (OPTIMIZER, ROUNDED):
            if path in contents.groups:
                write_count(handle, path, len(contents.groups[path].arrays))


def write_count(file: Any, path: str, count: int) -> None:
    """Write into an attribute of a file how many arrays a group has, as loading does without those of some groups."""
    file.attrs[f"{path}_{COUNT}"] = np.uint32(count)


def require_count(file: Any, path: str, arrays: Variables) -> Variables:
    """The arrays of a group; ValueError if they aren't as many as `write_count` was given."""
    expected = file.attrs.get(f"{path}_{COUNT}")
    if expected is not None and not np.array_equal(expected, len(arrays)):
        msg = (
            f"there must be {expected} arrays in {path!r}, found {len(arrays)}: the file is damaged, or another program "
            f"has removed some, which then must also remove the attribute '{path}_{COUNT}' of the file"
        )
        raise ValueError(msg)
    return arrays


def write_array(group: Any, name: str, array: Array) -> None:
    """Write an array and its checksum into a group."""
    dataset = group.create_dataset(name, data=array)
    if np.asarray(array).dtype.kind in REAL:  # no other is read
        dataset.attrs[CHECKSUM] = np.uint32(checksum_of(dataset.name, array))


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
    found = extra("pyfive", "files", "loading `.keras` and `.h5` files").File(
        str(file) if isinstance(file, Path) else file
    )
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
        return require_count(self._file, path, arrays_in(descend(self._file, vars_of(path)[:-1].split("/"))))


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


def text_attribute(group: Any, name: str) -> str | None:
    """The text in an attribute of a group or a file; None if there is none of that name."""
    value = group.attrs.get(name)
    return value if value is None or isinstance(value, str) else bytes(value).decode()


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
        array = np.asarray(dataset[()])
        require_checksum(dataset.name, array, dataset.attrs.get(CHECKSUM))
        return array

    return Stored(shape, read)
