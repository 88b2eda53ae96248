"""Strings as data: what users pass as strings becomes Python's strings, and within models numbers stand for them.

`value_table` holds the numbers, and a layer that reads strings gets the strings back from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._core_interface.cpp import Float32
from engine._data.value_table import ValueTable

# float32 holds every integer up to this.
_MOST_STRINGS = 2**24


class Strings(NamedTuple):
    """An array of strings, without the memory that an array of NumPy would need for the longest one in each place."""

    values: list[Any]
    """The strings, str or bytes, in C order."""
    shape: Shape


def strings_in(value: Any, name: str = "inputs") -> Strings:
    """Returns the strings in `value`.

    Args:
        value: a string, nested lists of strings, an array of strings or of objects, or a column of a frame.
        name: the name of the argument, for messages.

    Raises:
        TypeError: if it holds something else than strings.
        ValueError: if lists within it differ in length.
    """
    if isinstance(value, Strings):
        return value
    if isinstance(value, (str, bytes)):
        return Strings([value], ())
    if isinstance(value, (list, tuple)):
        strings = _in_lists(value, name)
    else:
        array: NDArray[Any] = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
        strings = Strings(array.reshape(-1).tolist(), array.shape)
    kinds = {*map(type, strings.values)}
    if not kinds <= {str, bytes, np.str_, np.bytes_}:
        index = next(
            index for index, entry in enumerate(strings.values) if not isinstance(entry, (str, bytes))
        )
        wrong = strings.values[index]
        msg = (
            f"`{name}` must hold strings, but entry {index} is {wrong!r:.60}, of type {type(wrong).__name__}: turn numbers "
            "into strings by .astype(str), and give missing values a string, such as by .fillna('')"
        )
        raise TypeError(msg)
    return strings


def _in_lists(value: Sequence[Any], name: str) -> Strings:
    if not any(isinstance(item, (list, tuple, np.ndarray)) for item in value):
        return Strings(list(value), (len(value),))
    parts = [strings_in(item, name) for item in value]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        msg = f"`{name}` must be lists that are equally long at every level, got parts of the shapes {sorted(shapes)}"
        raise ValueError(msg)
    return Strings([*chain.from_iterable(part.values for part in parts)], (len(parts), *parts[0].shape))


def contains_strings(value: Any) -> bool:
    """Returns whether `value` is a string, or the first entry of an array, a column or nested lists is one."""
    while isinstance(value, (list, tuple)) and len(value):
        value = value[0]
    if isinstance(value, (str, bytes, Strings)):
        return True
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return False
    kind = getattr(dtype, "kind", "O")
    if kind != "O":
        return kind in "UST"
    flat = np.asarray(value).reshape(-1)
    return bool(flat.size) and isinstance(flat[0], (str, bytes))


_table = ValueTable()


class _Numbers(np.ndarray[Any, np.dtype[np.float32]]):
    """Numbers that stand for strings."""


def numbers_of_strings(value: Any, name: str) -> Float32:
    """Returns the numbers that stand for strings, float32 of the same shape.

    Args:
        value: as for `strings_in`, or a result of this function.
        name: the name of the argument, for messages.
    """
    if isinstance(value, _Numbers):
        return value
    strings = strings_in(value, name)
    indices = _table.indices_of(strings.values)
    if len(indices) and max(indices) >= _MOST_STRINGS:
        msg = (
            f"a model can tell at most {_MOST_STRINGS} different strings apart in one training or prediction: apply "
            "the layer that reads strings before, and give its outputs to the model"
        )
        raise ValueError(msg)
    return np.array(indices, np.float32).reshape(strings.shape).view(_Numbers)


def strings_of_numbers(numbers: NDArray[Any]) -> NDArray[np.object_]:
    """Returns the strings that numbers stand for, an array of objects of the same shape."""
    strings = np.empty(numbers.size, object)
    strings[:] = [_table.value_at(index, "") for index in numbers.astype(np.int64).reshape(-1).tolist()]
    return strings.reshape(numbers.shape)
