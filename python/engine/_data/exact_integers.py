"""Integers beyond those that float32 holds exactly, such as ids and phone numbers, as inputs of models.

The core computes with float32, which holds every integer up to 2**24. A larger one is given to it as a code: a float32 beyond
2**24, which says where the integer is in a table. Layers that read integers, such as `IntegerLookup`, get them back from the
codes. Where a layer computes with an input, there are no codes, and an integer that float32 would round is refused.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL
from engine._core_interface.cpp import DeviceArray, Float32
from engine._data.array_conversion import as_float32, real_array, require_finite
from engine._data.strings import strings_of_numbers
from engine._data.value_table import ValueTable


class Reading(enum.Enum):
    """How the layers of a model read an input."""

    NUMBERS = enum.auto()
    """As float32, to which any numbers are rounded."""
    EXACT = enum.auto()
    """As integers, but some layer computes with them as float32."""
    CODED = enum.auto()
    """As integers only, so that codes can stand for those beyond `LARGEST`."""


LARGEST = 2**24
"""float32 holds every integer up to this."""
# The bits of float32 numbers are in the order of the numbers. Codes begin behind `LARGEST` and end before infinity.
_FIRST_CODE = int(np.float32(LARGEST).view(np.int32)) + 1
_MOST_CODES = int(np.float32(np.inf).view(np.int32)) - _FIRST_CODE
# So many numbers are compared at once, whatever the length of the data, which may be memory-mapped.
_BLOCK = 1 << 20

_table = ValueTable()


def codes_of_integers(value: Any, name: str) -> Float32:
    """Returns float32 numbers of the same shape that stand for integers: themselves up to `LARGEST`, codes beyond.

    Args:
        value: real numbers; those with a fraction lose it, as in Keras.
        name: the name of the argument, for messages.

    Raises:
        ValueError: for a number that isn't finite or is beyond int64.
    """
    array = _host_array(value, name)
    if array.dtype.kind == "f":
        require_finite(as_float32(array.reshape(len(array), -1)), array, name)
        _require_int64(array, name)
    numbers = as_float32(np.trunc(array) if array.dtype.kind == "f" else array)
    large = _beyond(array)
    if not large.any():
        return numbers
    _require_int64(array, name)
    indices = np.array(_table.indices_of(array[large].astype(np.int64).tolist()), np.int64)
    if indices.max() >= _MOST_CODES:
        msg = (
            f"a model can tell at most {_MOST_CODES} different integers beyond {LARGEST} apart in one training or prediction: "
            "apply the layer that reads them before, and give its outputs to the model"
        )
        raise ValueError(msg)
    numbers = np.array(numbers)
    numbers[large] = (indices + _FIRST_CODE).astype(np.int32).view(np.float32)
    return numbers


def with_dtype(numbers: NDArray[Any], dtype: Any, coded: bool = False) -> NDArray[Any]:
    """Returns what the core has as float32 in the dtype of an input: integers, or the strings that numbers stand for.

    Args:
        numbers: of the core.
        dtype: of the input.
        coded: whether codes may be among the numbers.
    """
    new_dtype = np.dtype(dtype)
    if new_dtype.kind == "U":
        return strings_of_numbers(numbers)
    numbers = np.asarray(numbers, np.float32)
    large = _beyond(numbers)
    if not large.any():
        return numbers.astype(new_dtype)
    if not coded:
        return in_dtype(numbers.astype(np.int64), new_dtype)
    integers = np.where(large, 0, numbers).astype(np.int64)
    indices = (numbers[large].view(np.int32).astype(np.int64) - _FIRST_CODE).tolist()
    integers[large] = [_table.value_at(index, 0) for index in indices]
    return in_dtype(integers, new_dtype)


def in_dtype(integers: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Returns integers in the dtype, or unchanged if one is beyond it."""
    limits = np.iinfo(dtype)
    fits = not integers.size or (integers.max() <= limits.max and integers.min() >= limits.min)
    return integers.astype(dtype, copy=False) if fits else integers


class ExactIntegers(NamedTuple):
    """Numbers that float32 doesn't round. `argument` is the name of the array that must hold them, for messages."""

    argument: str

    def check(self, array: NDArray[Any]) -> None:
        """Raises ValueError that names the first row of `array`, (n, ...), with another number."""
        require_exact(array, self.argument)


def require_exact(value: Any, name: str) -> None:
    """Raises ValueError that names the first row with a number beyond `LARGEST` that float32 would round.

    Args:
        value: real numbers (n, ...).
        name: the name of the argument, for messages.
    """
    if hasattr(value, "tocsr"):
        value = value.tocsr()
        entry = _first_rounded(value.data)
        if entry is not None:
            row = int(np.searchsorted(value.indptr, entry, side="right")) - 1
            raise _rounded(name, row, value.data[entry])
        return
    array = _host_array(value, name)
    if array.dtype.itemsize < np.dtype(np.int32).itemsize or array.dtype == np.float32 or not array.size:
        return
    rows = max(1, _BLOCK * len(array) // array.size)
    for begin in range(0, len(array), rows):
        block = array[begin : begin + rows]
        entry = _first_rounded(block.reshape(-1))
        if entry is not None:
            row = entry * len(block) // block.size
            raise _rounded(name, begin + row, block.reshape(-1)[entry])


def _rounded(name: str, row: int, number: Any) -> ValueError:
    return ValueError(
        f"`{name}` must hold integers that float32 holds exactly, as a layer computes with them, but row {row} holds {number}, "
        f"which would become {int(np.float32(number))}: give ids to IntegerLookup, Hashing or HashedCrossing, which read all "
        "integers, or pass numbers of which float32 may drop digits to an Input() with the dtype float32"
    )


def _first_rounded(numbers: NDArray[Any]) -> int | None:
    """Returns the index of the first number beyond `LARGEST` that float32 would round; None without any."""
    if not numbers.size:
        return None
    large = np.flatnonzero(_beyond(numbers))
    exact = numbers[large]
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(np.float32)
        wrong = rounded.astype(exact.dtype) != exact
    if exact.dtype.kind != "f":
        wrong |= rounded > np.iinfo(exact.dtype).max  # rounded up to a number beyond the dtype
    return int(large[wrong.argmax()]) if wrong.any() else None


def _beyond(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns which numbers are beyond those that are surely exact in float32."""
    if numbers.dtype.kind == "b" or numbers.dtype.itemsize < np.dtype(np.int32).itemsize:
        return np.zeros(numbers.shape, bool)
    if numbers.dtype.kind == "u":
        return np.asarray(numbers > LARGEST)
    return np.asarray((numbers > LARGEST) | (numbers < -LARGEST))


def _require_int64(array: NDArray[Any], name: str) -> None:
    limits = np.iinfo(np.int64)
    if array.dtype.kind == "i" or not array.size:
        return
    wrong = array > limits.max if array.dtype.kind == "u" else (array >= 2.0**63) | (array < -(2.0**63))
    if wrong.any():
        row = int(wrong.reshape(len(array), -1).any(axis=1).argmax())
        msg = f"`{name}` must hold integers of 64 bits, but row {row} holds {array[row][wrong[row]].flat[0]}"
        raise ValueError(msg)


def _host_array(value: Any, name: str) -> NDArray[Any]:
    if hasattr(value, "tocsr"):
        value = value.toarray()
    array = real_array(value.numpy() if isinstance(value, DeviceArray) else value, name)
    return array if array.dtype.kind in REAL else np.asarray(array, float)
