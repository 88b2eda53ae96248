"""What a file of a model holds, whatever its format, and how formats are read and written."""

from __future__ import annotations

import errno
import math
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape

Array = NDArray[Any]

# Compressed numbers are rarely smaller than this part of themselves, and are refused then: they would fill the memory.
MOST_EXPANSION = 100
# Arrays of one layer or optimizer: more than any has.
MOST_ARRAYS = 2**16
# Of a text, in bytes: a config with the statistics of a million features.
MOST_TEXT = 2**26
# A name in a list of a file takes this many bytes or more, its address and its letters.
_BYTES_OF_ENTRY = 8

CONFIG, METADATA = "config.json", "metadata.json"
# What files call the checksum of an array or a text, where they have one: the CRC-32 that zip archives have of all of
# theirs. A flipped bit always changes it.
CHECKSUM = "crc32"
# The group of the optimizer.
OPTIMIZER = "optimizer"
# The group of what the optimizer's arrays lack of its state, as they are scaled as Keras scales them. Keras passes it over.
ROUNDED = "engine/rounded"


def vars_of(path: str) -> str:
    """What the names of a group's arrays begin with, in Keras' way."""
    return f"{path}/vars/" if path else "vars/"


class Group(NamedTuple):
    """The arrays of a layer or an optimizer."""

    name: str
    arrays: Mapping[str, Array]
    labels: Sequence[str]
    """What people call each."""
    learning: int = 0
    """How many of them, the first ones, training changes."""


class Slot(NamedTuple):
    """Where a layer is in a file."""

    path: str
    """Such as `layers/dense_1`, or `layers/sequential/layers/dense` within a model."""
    weights: int = 0
    """How many arrays it has."""
    learning: int = 0
    """How many of them, the first ones, training changes."""
    part: str = ""
    """The name of the layer of the outermost model: of its own, or of the model that it is within."""


class Contents(NamedTuple):
    """What is written: arrays in groups by path, such as `layers/dense_1`, and texts by the names of files."""

    groups: Mapping[str, Group]
    texts: Mapping[str, str]


class Stored(NamedTuple):
    """An array in a file."""

    shape: Shape
    read: Callable[[], Array]


class Variables(Mapping[str, Array]):
    """The arrays of one group, read one by one when asked for.

    Args:
        stored: the arrays by name: "0", "1", ...
    """

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        require_few(stored)
        self.stored = stored

    @classmethod
    def of(cls, names: Iterable[str], stored: Callable[[str], Stored]) -> Variables:
        """The arrays of these names; `stored` finds each of them, and is not called if there are too many."""
        listed = list(names)
        require_few(listed)
        return cls({name: stored(name) for name in listed})

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each, without reading it."""
        return {name: stored.shape for name, stored in self.stored.items()}

    def __getitem__(self, name: str) -> Array:
        return self.stored[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


class Reader(ABC):
    """An open file of a model."""

    @abstractmethod
    def text(self, name: str) -> str | None:
        """The text of that name; None if there is none."""

    @abstractmethod
    def group(self, path: str) -> Variables:
        """The arrays of that path; empty if there is no such group."""

    def layers(self, slots: Sequence[Slot]) -> list[Variables]:
        """The arrays of each layer."""
        return [self.group(slot.path) for slot in slots]

    def named(self, slots: Sequence[Slot]) -> Sequence[Variables | None]:
        """The arrays of layers by name; None for those that aren't there, as where files have no names."""
        return [None for _ in slots]

    def optimizer(self) -> Variables:
        """The arrays of the optimizer."""
        return self.group(OPTIMIZER)


class Format(ABC):
    """A kind of file."""

    suffixes: tuple[str, ...]
    holds = frozenset({"model", "weights"})
    """What may be saved in it."""

    @abstractmethod
    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Write into a file that is open."""

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[Reader]:
        """Open the file for reading."""


class _TooLargeError(MemoryError, ValueError):
    """There was no memory for what a file asks for."""


@contextmanager
def understood(path: object) -> Iterator[None]:
    """Within the block, say of everything that is wrong with the file `path` that it is, as a ValueError.

    OSError stays what it is, unless it is of a place that the file can't have, and so does the ImportError of a missing
    package. A MemoryError is still one, and a ValueError too, since a damaged file may ask for any amount of memory.
    """
    try:
        yield
    except (ImportError, Warning):
        raise
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error
    except MemoryError as error:
        msg = f"{path} can't be read: it needs more memory than there is, or is damaged ({error})"
        raise _TooLargeError(msg) from error
    except Exception as error:
        if isinstance(error, OSError) and (error.errno != errno.EINVAL or error.filename is not None):
            raise
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        msg = f"{path} can't be read, as it is damaged or holds what no model's file does ({reason})"
        raise ValueError(msg) from error


def checksum_of(name: str, content: Array | str) -> int:
    """Returns the CRC-32 of an array's name, dtype, shape and bytes in C order, or of a text's name and bytes."""
    if isinstance(content, str):
        return zlib.crc32(f"{name}\0{content}".encode(errors="surrogatepass"))
    array = np.asarray(content, order="C")
    dtype = "|i1" if array.dtype == bool else array.dtype.str  # HDF5 has no bool, and gives back integers
    start = zlib.crc32(f"{name}\0{dtype}{array.shape}".encode())
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, start)


def require_checksum(name: str, content: Array | str, expected: object) -> None:
    """Raise ValueError unless `expected` is None or the checksum of an array or a text of that name."""
    if expected is not None and not np.array_equal(np.asarray(expected), checksum_of(name, content)):
        msg = (
            f"{name!r} isn't what was saved, as its checksum isn't the one in the file: the file is damaged, or another "
            f"program has changed it, which then must also remove the attribute with {CHECKSUM!r} in its name"
        )
        raise ValueError(msg)


def require_real(dtype: Any, shape: object, name: str) -> Shape:
    """`shape` as a tuple; ValueError unless such an array holds real numbers."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in REAL:
        msg = f"array {name!r} must hold real numbers, got dtype {dtype}"
        raise ValueError(msg)
    if not isinstance(shape, tuple) or any(size < 0 for size in shape):
        msg = f"array {name!r} has no shape, got {shape!r}"
        raise ValueError(msg)
    return shape


def require_plausible(name: str, declared: int, stored: int) -> None:
    """Raise ValueError where something claims to be far larger than what there is of it."""
    if declared > MOST_EXPANSION * max(stored, MOST_EXPANSION):
        msg = f"{name!r} claims to hold {declared} bytes but {stored} are there: refused, as it would fill the memory"
        raise ValueError(msg)


def require_few(arrays: Sized) -> None:
    """Raise ValueError if these are more arrays than a group may hold."""
    if len(arrays) > MOST_ARRAYS:
        msg = f"a group must not hold more than {MOST_ARRAYS} arrays, got {len(arrays)}"
        raise ValueError(msg)


class Claims:
    """Adds up what a file says that it holds, and refuses more than a file of its size can hold.

    Without the sum, a small file could name the same large array a thousand times.

    Args:
        size: of the file, in bytes.
        packed: its size before it was unpacked, if that is another one.
    """

    def __init__(self, size: int, packed: int | None = None) -> None:
        self._size, self._packed = size, size if packed is None else packed
        self._bytes = self._entries = 0

    def add_bytes(self, name: str, count: int) -> None:
        """Add an array of that many bytes.

        Raises:
            ValueError: if all arrays together are too large.
        """
        self._bytes += count
        require_plausible(name, self._bytes, self._packed)

    def add_entries(self, count: int) -> None:
        """Add a list of that many names.

        Raises:
            ValueError: if all lists together are too long.
        """
        self._entries += count
        if self._entries * _BYTES_OF_ENTRY > self._size:
            msg = (
                f"the file lists {self._entries} names or more but has {self._size} bytes: refused, as its parts lead "
                "to each other again and again"
            )
            raise ValueError(msg)


def by_group(names: Iterable[str], ending: str = "") -> dict[str, dict[str, str]]:
    """Names of arrays by the path of their group, as files have it, and by their name in there.

    Args:
        names: such as `layers/dense/vars/0.npy`.
        ending: such as `.npy`; names without it are left out.

    Returns:
        Such as `{"layers/dense/vars": {"0": "layers/dense/vars/0.npy"}}`.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if name.endswith(ending):
            group, _, last = name.rpartition("/")
            groups.setdefault(group, {})[last.removesuffix(ending)] = name
    return groups


def require_file(path: Path) -> None:
    """Raise OSError for a device or the like, which may have no end, and where there is nothing."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a folder says what it is
        msg = f"can't read {str(path)!r}: it is a device or the like: give the path of a file"
        raise OSError(msg)


def text_in(path: Path) -> str:
    """The text in a file.

    Raises:
        ValueError: if it is too long, or no UTF-8.
        OSError: if there is no such file, or it can't be read.
    """
    require_file(path)
    if path.stat().st_size > MOST_TEXT:
        msg = f"{path.name!r} must not be longer than {MOST_TEXT} bytes"
        raise ValueError(msg)
    return path.read_text(encoding="utf-8")


def size_of(file: Path | BytesIO) -> int:
    """The number of bytes in a file."""
    return file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())


def size_in_bytes(dtype: np.dtype[Any], shape: Shape) -> int:
    """The size of such an array."""
    return math.prod(shape) * dtype.itemsize
