"""The IDX file format of uint8 arrays: a big-endian header, then the values in C order.

Header: two zero bytes, the type code (8 = uint8), the rank, then one uint32 per dimension.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The four files of MNIST and of data sets in the same form.
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_UINT8 = 0x08
_PREFIX = 4  # bytes before the dimensions
# gzip packs images to about a tenth of their size, and sorted labels to far less. A file that unpacks to more than the first
# number of bytes is refused if that is also more than the second number times its size.
_SMALL, _MOST_EXPANSION = 2**26, 100


def header(shape: tuple[int, ...]) -> bytes:
    """Returns the IDX header of a uint8 array of this shape."""
    return struct.pack(f">HBB{len(shape)}I", 0, _UINT8, len(shape), *shape)


def size(shape: tuple[int, ...]) -> int:
    """Returns the size in bytes of the IDX file of a uint8 array of this shape."""
    return _PREFIX + 4 * len(shape) + math.prod(shape)


def parse(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the array in an IDX file.

    Args:
        data: (bytes,) uint8, the whole file.

    Returns:
        uint8 array: a view of `data`, writable where `data` is.

    Raises:
        ValueError: `data` isn't the IDX file of a uint8 array.
    """
    if data.size < _PREFIX or data[0] != 0 or data[1] != 0:
        msg = (
            f"`data` isn't an IDX file: expected it to start with 00 00, got {data[:2].tobytes().hex(' ')!r}"
        )
        raise ValueError(msg)
    if data[2] != _UINT8:
        msg = f"`data` holds IDX values of type 0x{data[2]:02x}; only 0x{_UINT8:02x} (uint8) can be read"
        raise ValueError(msg)
    rank = int(data[3])
    begin = _PREFIX + 4 * rank
    if data.size < begin:
        msg = f"`data` ends inside its IDX header: expected {begin} bytes or more, got {data.size}"
        raise ValueError(msg)
    shape = struct.unpack(f">{rank}I", data[_PREFIX:begin].tobytes())
    if data.size != size(shape):
        msg = f"`data` has {data.size} bytes; its IDX header says shape {shape}, which needs {size(shape)}"
        raise ValueError(msg)
    return data[begin:].reshape(shape)


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Returns the bytes of the file `name`, or of `name.gz` unpacked, in a new array.

    Raises:
        FileNotFoundError: there is neither.
        OSError: the file can't be read, or isn't what gzip writes.
        ValueError: it unpacks to more than its IDX header says, or would fill the memory.
    """
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.exists():
        return np.fromfile(plain, np.uint8)
    if not packed.exists():
        msg = f"{folder} has neither {name} nor {name}.gz: put one of them there"
        raise FileNotFoundError(msg)
    return unpack(packed.read_bytes(), str(packed))


def unpack(data: bytes, name: str, limit: int | None = None) -> NDArray[np.uint8]:
    """Unpacks `data`, which gzip packed, into a new array: an IDX file, or the beginning of something else.

    No more is unpacked than the IDX header in it says that there is.

    Args:
        data: the packed bytes.
        name: the name of the file, for messages.
        limit: bytes that it may have when it is unpacked; None for as many as such data can have.

    Raises:
        OSError: `data` isn't what gzip writes.
        ValueError: `data` unpacks to more than `limit` bytes, or to more than its IDX header says.
    """
    import gzip
    import zlib
    from io import BytesIO

    if limit is None:
        limit = max(_SMALL, _MOST_EXPANSION * len(data))
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as stream:
            start = stream.read(_PREFIX)
            if len(start) < _PREFIX or not start.startswith(bytes([0, 0, _UINT8])):
                return np.frombuffer(bytearray(start), np.uint8)
            start += stream.read(4 * start[3])
            if len(start) < _PREFIX + 4 * start[3]:
                return np.frombuffer(bytearray(start), np.uint8)
            shape = struct.unpack(f">{start[3]}I", start[_PREFIX:])
            expected_bytes = size(shape)
            if expected_bytes > limit:
                msg = (
                    f"{name} says that it unpacks to an array of shape {shape}, {expected_bytes} bytes, but has {len(data)} bytes: "
                    f"refused, as more than {limit} would fill the memory. Unpack it yourself if it is genuine"
                )
                raise ValueError(msg)
            content = bytearray(start)
            content += stream.read(expected_bytes + 1 - len(start))
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{name} is no gzip file, or damaged: {error}"
        raise OSError(msg) from error
    if len(content) > expected_bytes:
        msg = f"{name} unpacks to more than the {expected_bytes} bytes of the shape {shape} in its IDX header"
        raise ValueError(msg)
    return np.frombuffer(content, np.uint8)
