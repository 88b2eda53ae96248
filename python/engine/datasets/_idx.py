"""The IDX file format of uint8 arrays: a big-endian header, then the values in C order.

Header: two zero bytes, the type code (8 = uint8), the rank, then one uint32 per dimension.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UINT8 = 0x08
_PREFIX = 4  # bytes before the dimensions


def header(shape: tuple[int, ...]) -> bytes:
    """The IDX header of a uint8 array of this shape."""
    return struct.pack(f">HBB{len(shape)}I", 0, _UINT8, len(shape), *shape)


def size(shape: tuple[int, ...]) -> int:
    """Bytes in the IDX file of a uint8 array of this shape."""
    return _PREFIX + 4 * len(shape) + math.prod(shape)


def parse(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The array in an IDX file.

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
