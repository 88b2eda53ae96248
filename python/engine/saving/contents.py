"""The contents of a model's file independent of its format: groups of arrays and texts, and the interface of formats.

It also has the checks of all formats against damaged and malicious files: checksums, and limits of what a file may ask for.
"""

from __future__ import annotations

import errno
import math
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape, WrongTypeError, nearest
from engine._base.tracebacks import line_of_users_code

Array = NDArray[Any]

# Compressed arrays that unpack to more than so many times their size are refused: they are probably meant to fill the
# memory, as weights can rarely be compressed so well.
MOST_EXPANSION = 100
# The largest number of arrays in a group, more than any layer or optimizer has.
MOST_ARRAYS = 2**16
# The largest size of a text in bytes, enough for a config with the statistics of a million features.
MOST_TEXT = 2**26
# The least number of bytes that a name in a list takes in a file: its address and its letters.
_BYTES_OF_ENTRY = 8

CONFIG, METADATA = "config.json", "metadata.json"
# The folder of further files of layers in Keras' archives.
ASSETS = "assets"
# The key of the checksums of arrays and texts, which are CRC-32 as in zip archives: a single flipped bit always changes it.
CHECKSUM = "crc32"
# The group of the optimizer.
OPTIMIZER = "optimizer"
# Files hold the optimizer's arrays in Keras' scaling, which rounds them. This group holds what is needed to restore the
# exact state. Keras ignores it.
ROUNDED = "engine/rounded"


def vars_of(path: str) -> str:
    """Returns the prefix of the names of a group's arrays, as in Keras: `layers/dense/vars/`."""
    return f"{path}/vars/" if path else "vars/"


class Group(NamedTuple):
    """The arrays of a layer or an optimizer."""

    name: str
    arrays: Mapping[str, Array]
    labels: Sequence[str]
    """A readable name for each array, such as "kernel"."""
    trainable: int = 0
    """The number of trainable arrays, which are the first ones."""


class SavedLayer(NamedTuple):
    """The position of a layer in a file."""

    path: str
    """Such as `layers/dense_1`, or `layers/sequential/layers/dense` in a model within the model."""
    weights: int = 0
    """The number of the layer's arrays."""
    trainable: int = 0
    """The number of trainable arrays, which are the first ones."""
    part: str = ""
    """The name of the layer if it belongs to the outermost model, else of that model's layer that contains it."""


class Contents(NamedTuple):
    """What is written to a file: groups of arrays by path, such as `layers/dense_1`, and texts by name."""

    groups: Mapping[str, Group]
    texts: Mapping[str, str]


class Stored(NamedTuple):
    """An array in a file, which is read later."""

    shape: Shape
    read: Callable[[], Array]


class Variables(Mapping[str, Array]):
    """The arrays of one group. Each is read from the file when it is looked up.

    Args:
        stored: the arrays by name: "0", "1" and so on.
    """

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        require_few(stored)
        self.stored = stored

    @classmethod
    def of(cls, names: Iterable[str], stored: Callable[[str], Stored]) -> Variables:
        """Returns the arrays of these names, which `stored` finds. It raises before that if there are too many names."""
        listed = list(names)
        require_few(listed)
        return cls({name: stored(name) for name in listed})

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each array, without reading it."""
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
        """Returns the text of a name; None if there is none."""

    @abstractmethod
    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""

    def layers(self, slots: Sequence[SavedLayer]) -> list[Variables]:
        """Returns the arrays of each layer."""
        return [self.group(slot.path) for slot in slots]

    def named(self, slots: Sequence[SavedLayer]) -> Sequence[Variables | None]:
        """Returns the arrays of each layer, found by its name; None if the file has no layer of that name, or no names."""
        return [None for _ in slots]

    def optimizer(self) -> Variables:
        """Returns the arrays of the optimizer."""
        return self.group(OPTIMIZER)


class ContentsReader(Reader):
    """Takes the place of an open file, and reads contents that are in memory.

    Args:
        contents: the contents.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def text(self, name: str) -> str | None:
        """Returns the text of a name; None if there is none."""
        return self._contents.texts.get(name)

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""
        group = self._contents.groups.get(path)
        arrays = {} if group is None else group.arrays
        return Variables(
            {name: Stored(array.shape, partial(np.asarray, array)) for name, array in arrays.items()}
        )


class Format(ABC):
    """A format of files."""

    suffixes: tuple[str, ...]
    holds = frozenset({"model", "weights"})
    """What can be saved in this format."""

    @abstractmethod
    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file."""

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[Reader]:
        """Opens the file for reading."""


class _TooLargeError(MemoryError, ValueError):
    """A file needs more memory than there is."""


@contextmanager
def understood(path: object) -> Iterator[None]:
    """Turns all errors of the block, which reads the file `path`, into a ValueError that names the file.

    An ImportError of a missing package stays as it is. So does an OSError, unless it is about an impossible position in the
    file. A MemoryError becomes an error of both classes, since a damaged file may ask for any amount of memory.
    """
    try:
        yield
    except (ImportError, Warning):
        raise
    except ValueError as error:
        msg = f"{path}: {error}"
        raise (WrongTypeError if isinstance(error, TypeError) else ValueError)(msg) from error
    except MemoryError as error:
        msg = f"{path} can't be read: it needs more memory than there is, or is damaged ({error})"
        raise _TooLargeError(msg) from error
    except Exception as error:
        if isinstance(error, OSError) and (error.errno != errno.EINVAL or error.filename is not None):
            raise
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        line = line_of_users_code(error)
        if line is not None:
            msg = (
                f"{path} can't be read: {line} raised {reason}. What was an object in a config is a dict until from_config() "
                "makes it again by keras.saving.deserialize_keras_object()"
            )
            raise WrongTypeError(msg) from error
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
    """Raises ValueError unless `expected` is None or the checksum of this array or text of this name."""
    if expected is not None and not np.array_equal(np.asarray(expected), checksum_of(name, content)):
        msg = (
            f"{name!r} isn't what was saved, as its checksum isn't the one in the file: the file is damaged, or another "
            f"program has changed it, which then must also remove the attribute with {CHECKSUM!r} in its name"
        )
        raise ValueError(msg)


def require_real(dtype: Any, shape: object, name: str) -> Shape:
    """Returns `shape` as a tuple; raises ValueError if it is no shape, or if the dtype is not one of real numbers."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in REAL:
        msg = f"array {name!r} must hold real numbers, got dtype {dtype}"
        raise ValueError(msg)
    if not isinstance(shape, tuple) or any(size < 0 for size in shape):
        msg = f"array {name!r} has no shape, got {shape!r}"
        raise ValueError(msg)
    return shape


def require_plausible(name: str, declared: int, stored: int) -> None:
    """Raises ValueError if `declared`, the size in bytes that the file claims, is far larger than the `stored` bytes."""
    if declared > MOST_EXPANSION * max(stored, MOST_EXPANSION):
        msg = f"{name!r} claims to hold {declared} bytes but {stored} are there: refused, as it would fill the memory"
        raise ValueError(msg)


def require_few(arrays: Sized) -> None:
    """Raises ValueError if these are more arrays than a group may hold."""
    if len(arrays) > MOST_ARRAYS:
        msg = f"a group must not hold more than {MOST_ARRAYS} arrays, got {len(arrays)}"
        raise ValueError(msg)


class SizeBudget:
    """Adds up the sizes of everything that a file claims to hold, and raises if it is more than its size allows.

    Without these sums a small file could list the same large array a thousand times.

    Args:
        size: the size of the file in bytes.
        packed: its size before it was unpacked, if it was.
    """

    def __init__(self, size: int, packed: int | None = None) -> None:
        self._size, self._packed = size, size if packed is None else packed
        self._bytes = self._entries = 0

    def add_bytes(self, name: str, count: int) -> None:
        """Adds an array of `count` bytes.

        Raises:
            ValueError: if all arrays together are too large.
        """
        self._bytes += count
        require_plausible(name, self._bytes, self._packed)

    def add_entries(self, count: int) -> None:
        """Adds a list of `count` names.

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
    """Sorts the full names of arrays by their groups.

    Args:
        names: the full names, such as `layers/dense/vars/0.npy`.
        ending: the ending of these names, such as `.npy`. Names without it are left out.

    Returns:
        For each group the full names by the names in the group: `{"layers/dense/vars": {"0": "layers/dense/vars/0.npy"}}`.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if name.endswith(ending):
            group, _, last = name.rpartition("/")
            groups.setdefault(group, {})[last.removesuffix(ending)] = name
    return groups


def require_file(path: Path) -> None:
    """Raises OSError if `path` is missing, or is a device or the like, which may be endless."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # for a folder, Python's own error is good enough
        msg = f"can't read {str(path)!r}: it is a device or the like: give the path of a file"
        raise OSError(msg)


def where_missing(path: Path) -> str:
    """Returns for a message why there is no file `path`: the folder that is missing, or that has no such file but one of a near name."""
    folder = path.resolve().parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}"
    return f"the folder {str(folder)!r} has no such file{nearest(path.name, (each.name for each in folder.iterdir())).rstrip('.')}"


def text_in(path: Path) -> str:
    """Returns the text in a file.

    Raises:
        ValueError: if the text is too long, or not UTF-8.
        OSError: if the file is missing or can't be read.
    """
    require_file(path)
    size = path.stat().st_size
    if size > MOST_TEXT:
        msg = f"{path.name!r} must not be longer than {MOST_TEXT} bytes"
        raise ValueError(msg)
    with path.open("rb") as file:
        # Not to the end, as some files of the system are endless, though their size is 0.
        return file.read(size).decode()


def size_of(file: Path | BytesIO) -> int:
    """Returns the number of bytes in a file."""
    return file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())


def size_in_bytes(dtype: np.dtype[Any], shape: Shape) -> int:
    """Returns the size of an array in bytes."""
    return math.prod(shape) * dtype.itemsize
