"""The format `.weights.h5`: Keras' file of weights, in HDF5. The other formats in HDF5 use its functions.

Files are written by h5py and read by pyfive. Reading is guarded against damaged and malicious files: it is limited in
bytes, and refuses links, other files, and arrays that unpack to far more than their size.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path
from posixpath import join
from typing import IO, Any

import numpy as np

from engine._base.checks import REAL
from engine._base.extras import extra
from engine.saving.contents import (
    CHECKSUM,
    OPTIMIZER,
    ROUNDED,
    Array,
    Contents,
    Format,
    Reader,
    SizeBudget,
    Stored,
    Variables,
    checksum_of,
    require_checksum,
    require_file,
    require_real,
    size_in_bytes,
    size_of,
    vars_of,
    where_missing,
)

# The ending of the names of attributes that hold the number of arrays in a group.
COUNT = "arrays"
# The advice if these packages are missing.
INSTEAD = "save to `.npz`, which needs NumPy alone"
# HDF5's layouts of an array. Larger numbers are layouts whose data are in other arrays or files. The last constant is the
# address of data that were never written.
_CONTIGUOUS, _CHUNKED, _NOWHERE = 1, 2, 2**64 - 1
# HDF5's number of the gzip filter, and the size of a checksum that another filter may add to a chunk.
_GZIP, _CHECKSUM = 1, 4
# A file of n bytes may be read up to _READINGS * n + _FEW_BYTES bytes: packed arrays twice, and what leads to them.
_READINGS, _FEW_BYTES = 8, 2**16
# A read of fewer bytes counts as so many, since it takes the same time.
_BYTES_OF_CALL = 64


class WeightsH5(Format):
    """The format `.weights.h5`."""

    suffixes = (".weights.h5",)
    holds = frozenset({"weights"})

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file."""
        write_weights(file, contents)

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Opens the file for reading."""
        with opened(path) as root:
            yield H5Reader(root)


@contextmanager
def new_h5(file: IO[bytes]) -> Iterator[Any]:
    """Yields a file of h5py in memory, whose bytes are written to `file` at the end of the block.

    The library of HDF5 doesn't write to the disk itself, since it ends the process if that fails, as on a full disk.
    """
    package = extra("h5py", "files", "saving `.keras` and `.h5` files", INSTEAD)
    content = BytesIO()
    with package.File(content, "w") as handle:
        yield handle
    file.write(content.getbuffer())


def write_weights(file: IO[bytes], contents: Contents, attributes: Mapping[str, str] | None = None) -> None:
    """Writes all arrays to an open file, as Keras does.

    Args:
        file: an empty file.
        contents: the arrays of the model.
        attributes: attributes for the root group.
    """
    with new_h5(file) as handle:
        handle.attrs.update(attributes or {})
        for path, group in contents.groups.items():
            subgroup = handle.create_group(vars_of(path)[:-1])
            subgroup.attrs["name"] = group.name
            for key, array in group.arrays.items():
                write_array(subgroup, key, array)
        for path in (OPTIMIZER, ROUNDED):
            if path in contents.groups:
                write_count(handle, path, len(contents.groups[path].arrays))


def write_count(file: Any, path: str, count: int) -> None:
    """Writes the number of arrays in a group to an attribute of the file.

    Loading accepts that arrays of the optimizer are missing. This number tells whether they were saved.
    """
    file.attrs[f"{path}_{COUNT}"] = np.uint32(count)


def require_count(root: H5Group, path: str, arrays: Variables) -> Variables:
    """Returns the arrays of a group; raises ValueError if their number is not the one that `write_count` wrote."""
    expected = root.attributes.get(f"{path}_{COUNT}")
    if expected is not None and not np.array_equal(expected, len(arrays)):
        msg = (
            f"there must be {expected} arrays in {path!r}, found {len(arrays)}: the file is damaged, or another program "
            f"has removed some, which then must also remove the attribute '{path}_{COUNT}' of the file"
        )
        raise ValueError(msg)
    return arrays


def write_array(group: Any, name: str, array: Array) -> None:
    """Writes an array and its checksum to a group."""
    dataset = group.create_dataset(name, data=array)
    if np.asarray(array).dtype.kind in REAL:  # reading refuses all other arrays
        dataset.attrs[CHECKSUM] = np.uint32(checksum_of(dataset.name, array))


@contextmanager
def opened(file: Path | BytesIO, packed: int | None = None) -> Iterator[H5Group]:
    """Opens an HDF5 file for reading and yields its root group.

    It is read by pyfive, which is written in Python, since the library of HDF5 ends the process at some damaged files.

    Args:
        file: the path of the file, or its bytes in memory.
        packed: the size of the file before it was unpacked, if it was.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is no HDF5 file.
        ValueError: if the end of the file is missing.
    """
    if isinstance(file, Path) and not file.exists():
        msg = f"no such file: {file}: {where_missing(file)}"
        raise FileNotFoundError(msg)
    if isinstance(file, Path):
        require_file(file)
    reader = extra("pyfive", "files", "loading `.keras` and `.h5` files").File
    size = size_of(file)
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
        bounded = _BoundedFile(stream, size)
        with reader(bounded) as root:
            _require_end(stream, size)
            yield H5Group(root, bounded, SizeBudget(size, packed))


def _require_end(stream: IO[bytes], size: int) -> None:
    """Raises ValueError if a file of `size` bytes ends before the address that its first block names as the end.

    The block begins with a signature, a version and the size of addresses ("Superblock" in the specification of HDF5).
    The end is the third address in every version.
    """
    stream.seek(0)
    block = stream.read(64)
    if not block.startswith(b"\x89HDF\r\n\x1a\n"):  # after a block of the user's, which is rare
        return
    # Of each version: where the size of addresses is, and where the first address is.
    size_at, first_at = {0: (13, 24), 1: (13, 28)}.get(block[8], (9, 12))
    width = block[size_at]
    offset = first_at + 2 * width
    end = int.from_bytes(block[offset : offset + width], "little")
    if size < end:
        msg = f"the file has {size} bytes of {end}: its end is missing"
        raise ValueError(msg)


class _BytesRead(bytes):
    """Bytes of a file, whose slices count as further bytes that were read.

    A name in a group ends at the next zero byte. In a file without zeros, a thousand names could be parts of one long text
    and need a thousand times its memory.
    """

    file: _BoundedFile

    def __getitem__(self, key: Any) -> Any:
        chunk = super().__getitem__(key)
        if isinstance(key, slice):
            self.file.count(len(chunk))
        return chunk


class _BoundedFile:
    """An open file of which a limited number of bytes can be read, where parts count each time that they are read.

    The addresses in a damaged file may lead to each other in an endless loop.

    Args:
        stream: the file.
        size: its number of bytes.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.stream, self._size = stream, size
        self._left = _READINGS * size + _FEW_BYTES

    def read(self, count: int = -1) -> bytes:
        """Reads `count` bytes, or all that are left.

        Raises:
            ValueError: if too many have been read.
        """
        data = self.stream.read(min(count, self._size))  # Python would allocate `count` bytes at once
        self.count(max(len(data), _BYTES_OF_CALL))
        chunk = _BytesRead(data)
        chunk.file = self
        return chunk

    def count(self, count: int) -> None:
        """Counts so many bytes as read.

        Raises:
            ValueError: if too many have been read.
        """
        self._left -= count
        if self._left < 0:
            msg = f"the parts of the file lead to each other again and again, as reading them took {_READINGS} times its size"
            raise ValueError(msg)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position for reading."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Returns the position for reading."""
        return self.stream.tell()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self.stream.closed


class H5Group:
    """A group of an HDF5 file. Each of its members is opened once, on first use.

    Args:
        group: the group in pyfive.
        file: the file of the group.
        budget: adds up what the file claims to hold.
    """

    def __init__(self, group: Any, file: _BoundedFile, budget: SizeBudget) -> None:
        self._group, self._file, self._budget = group, file, budget
        self._members: dict[str, H5Group | Stored | None] = dict.fromkeys(group)
        budget.add_entries(len(self._members))

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the group by name."""
        attributes: Mapping[str, Any] = self._group.attrs
        return attributes

    def text(self, attribute: str) -> str | None:
        """Returns the text in an attribute; None if there is none of that name."""
        value = self.attributes.get(attribute)
        return value if value is None or isinstance(value, str) else bytes(value).decode()

    def names_in(self, attribute: str) -> list[str]:
        """Returns the names that an attribute lists."""
        names = np.atleast_1d(self.attributes[attribute]).tolist()
        self._budget.add_entries(len(names))
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    def at(self, path: Sequence[str]) -> H5Group | None:
        """Returns the group at a path; None if there is none.

        Raises:
            ValueError: if a member on the path is a link, or no group.
        """
        group = self
        for name in path:
            if name not in group._members:
                return None
            member = group._members[name]
            if not isinstance(member, H5Group):
                member = H5Group(group._opened(name, "Group"), self._file, self._budget)
                group._members[name] = member
            group = member
        return group

    def arrays(self) -> Variables:
        """Returns all members of the group, which must be arrays."""
        return Variables.of(self._members, self.array)

    def array(self, name: str) -> Stored:
        """Returns the array of a name.

        Raises:
            ValueError: if there is none, if it is stored elsewhere, or if it doesn't hold real numbers.
        """
        if name not in self._members:
            msg = f"there is no array {name!r}"
            raise ValueError(msg)
        member = self._members[name]
        if not isinstance(member, Stored):
            member = self._stored(name, self._opened(name, "Dataset"))
            self._members[name] = member
        return member

    def _opened(self, name: str, kind: str) -> Any:
        """Returns the member of a name in pyfive; `kind` is the class that it must have."""
        member = self._group[name]
        if member is None or member.name != join(self._group.name, name):
            msg = f"{name!r:.200} is a link to another place or file: refused"
            raise ValueError(msg)
        if type(member).__name__ != kind:
            msg = f"{name!r:.200} must be a {kind.lower()}, got {member!r:.200}"
            raise ValueError(msg)
        return member

    def _stored(self, name: str, dataset: Any) -> Stored:
        shape = require_real(dataset.dtype, dataset.shape, name)
        size, layout = size_in_bytes(dataset.dtype, shape), dataset.id.layout_class
        if layout > _CHUNKED or (layout == _CONTIGUOUS and size and dataset.id.data_offset == _NOWHERE):
            msg = f"the numbers of {name!r} are in another file, or nowhere: refused"
            raise ValueError(msg)
        chunks = dataset.chunks if layout == _CHUNKED else None
        if chunks is not None:
            counts = [-(-length // step) for length, step in zip(shape, chunks, strict=True)]
            size = math.prod(counts) * size_in_bytes(dataset.dtype, chunks)
        self._budget.add_bytes(name, size)

        def read() -> Array:
            array = read_unchecked()
            require_checksum(dataset.name, array, dataset.attrs.get(CHECKSUM))
            return array

        def read_unchecked() -> Array:
            if layout == _CONTIGUOUS and size:
                # Read here and not by pyfive, which mixes up rows of some large arrays in files in memory, if it can't
                # halve their length.
                self._file.stream.seek(dataset.id.data_offset + dataset.file.userblock_size)
                return np.frombuffer(self._file.stream.read(size), dataset.dtype).reshape(shape)
            if chunks is not None:
                _require_small_chunks(name, dataset)
            return np.asarray(dataset[()])

        return Stored(shape, read)


def _require_small_chunks(name: str, dataset: Any) -> None:
    """Raises ValueError if a chunk unpacks to more than its part of the array, before memory is allocated for it."""
    filters = [entry["filter_id"] for entry in dataset.id.filter_pipeline or ()]
    if _GZIP not in filters:
        return
    if filters.count(_GZIP) > 1:
        msg = f"the numbers of {name!r} are packed more than once: refused"
        raise ValueError(msg)
    size_limit = size_in_bytes(dataset.dtype, dataset.chunks) + _CHECKSUM
    for number in range(dataset.id.get_num_chunks()):
        _, data = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(number).chunk_offset)
        unpacker = zlib.decompressobj()
        with suppress(zlib.error):  # the chunk is not packed, or is damaged, which reading it will show
            if len(unpacker.decompress(data, size_limit + 1)) > size_limit:
                msg = f"a chunk of {name!r} unpacks to more than the {size_limit} bytes that it may have: refused"
                raise ValueError(msg)


class H5Reader(Reader):
    """An open file.

    Args:
        root: its root group.
    """

    def __init__(self, root: H5Group) -> None:
        self._root = root

    def text(self, name: str) -> str | None:
        """Returns None: these files hold only weights."""
        del name
        return None

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""
        group = self._root.at(vars_of(path)[:-1].split("/"))
        return require_count(self._root, path, Variables({}) if group is None else group.arrays())
