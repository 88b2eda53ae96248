"""Which dtype an operation computes in and returns: Keras' rules, by which integers never become float64."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine._base.checks import NUMBERS, dtype_of, name_of_dtype

Array = NDArray[Any]
# What operations return: an array, or a scalar of NumPy instead of an array without axes.
Result = Any
# The axes that an operation combines; None is all.
Axis = int | Sequence[int] | None

_SIZES = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
_OF_PYTHON: dict[type, type[np.generic]] = {
    bool: np.bool_,
    int: np.int32,
    float: np.float32,
    complex: np.complex64,
}


# The dtypes of numbers of Python that don't decide which one their result has.
_OF_NUMBERS: dict[type, np.dtype[Any]] = {int: np.dtype(np.int32), float: np.dtype(np.float32)}

# The dtypes that arrays keep as they are, and those among them of floats. Almost all arrays have one of them, and what
# follows decides for others takes longer than NumPy does for a small array.
KEPT = tuple(map(np.dtype, "fi?dlqbBhHILQeFD"))
FLOATS = tuple(map(np.dtype, "fdeFD"))
_KEPT = frozenset(KEPT)
_FLOATS = frozenset(map(np.dtype, "efd"))
_FLOAT32 = np.dtype(np.float32)


def standard(dtype: DTypeLike | type | None) -> np.dtype[Any]:
    """`dtype` in the native byte order, float32 for None; Python's types are 32-bit, as in Keras.

    "bfloat16", in which layers of mixed precision compute in Keras, is float32: NumPy has no such dtype.

    Raises:
        ValueError: for a dtype that is none of bool, integers, float16 to float64, complex64 and complex128.
    """
    if isinstance(dtype, (str, type)):
        return _named(dtype)
    if isinstance(dtype, np.dtype) and dtype in _KEPT:
        return dtype
    return _FLOAT32 if dtype is None else _standard(dtype)


def _standard(dtype: Any) -> np.dtype[Any]:
    requested = name_of_dtype(dtype)
    if isinstance(dtype, type):
        requested = _OF_PYTHON.get(dtype, dtype)
    if isinstance(requested, str):
        requested = {"int": np.int32, "float": np.float32, "bfloat16": np.float32}.get(requested, requested)
    resolved = dtype_of(requested, "dtype", NUMBERS)
    if _SIZES[resolved.kind] < resolved.itemsize:
        msg = f"`dtype` must be one of at most 64 bits, or complex128, got {dtype!r}"
        raise ValueError(msg)
    native: np.dtype[Any] = resolved.newbyteorder("=")
    return native


_named = cache(
    _standard
)  # for names and classes, to look at which takes longer than to compute with a small array


def floating(dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype` if it is one of floats or complex numbers, else float32."""
    resolved = standard(dtype)
    return resolved if resolved.kind in "fc" else np.dtype(np.float32)


def as_array(x: Any, dtype: DTypeLike | None = None) -> Array:
    """`x` as an array, which may be `x` itself: floats of Python become float32, and integers of Python int32.

    Args:
        x: an array, or what NumPy makes one of.
        dtype: of the result; default as it is.

    Raises:
        ValueError: for a dtype that Keras has not, such as object.
        OverflowError: for integers of Python beyond int32, where `dtype` is None.
    """
    if type(x) is np.ndarray and dtype is None and x.dtype in _KEPT:
        return x
    if type(x) in _OF_NUMBERS and dtype is None:
        return np.array(x, _OF_NUMBERS[type(x)])
    if dtype is not None:
        return (
            np.asarray(x).astype(standard(dtype), copy=False) if _typed(x) else np.asarray(x, standard(dtype))
        )
    array: Array = np.asarray(x) if _typed(x) else np.asarray(x, _of_leaves(x))
    if _SIZES.get(array.dtype.kind, 0) < array.itemsize:
        msg = (
            "expected an array of bools, integers, or floats or complex numbers of NumPy up to float64 and complex128, "
            f"got dtype {array.dtype}"
        )
        raise ValueError(msg)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def result_type(*operands: Any) -> np.dtype[Any]:
    """The dtype of a result.

    Args:
        *operands: dtypes, arrays, or numbers of Python, which only count by their kind: integer or float.
    """
    return _joined(frozenset(map(_kind_of, operands)))


def _kind_of(operand: Any) -> Any:
    """Returns the dtype of an operand, or `int` or `float` for numbers of Python and for these themselves."""
    if type(operand) in _OF_NUMBERS:
        return type(operand)
    if isinstance(operand, (bool, complex)) and not isinstance(operand, np.generic):
        return standard(type(operand))
    if operand is int or operand is float:
        return operand
    if _python(operand):
        return float if isinstance(operand, float) else int
    return standard(operand if isinstance(operand, (np.dtype, str, type)) else as_array(operand).dtype)


def common(*operands: Any, least_dtype: Any = None) -> Sequence[Any]:
    """`operands` as arrays of the one dtype that their result has; they may be the operands themselves.

    Args:
        *operands: arrays, or what NumPy makes one of.
        least_dtype: `float` for results of floats.
    """
    if _are_alike(operands, _FLOATS):
        return operands
    values, kinds = [], set()
    for operand in operands:
        value = as_array(operand)
        values.append(value)
        kinds.add(_kind_of(operand) if _python(operand) else value.dtype)
    if least_dtype is not None:
        kinds.add(least_dtype)
    dtype = _joined(frozenset(kinds))
    return [value if value.dtype is dtype else value.astype(dtype) for value in values]


def alike(arrays: Sequence[Any]) -> Sequence[Array]:
    """What is joined, as arrays of one dtype; a number of Python is an array as well."""
    return arrays if _are_alike(arrays, _KEPT) else common(*map(as_array, arrays))


def _are_alike(operands: Sequence[Any], dtypes: Container[np.dtype[Any]]) -> bool:
    """Returns whether all operands are arrays, and have the same one of these dtypes."""
    dtype = None
    for operand in operands:
        if type(operand) is not np.ndarray:
            return False
        if operand.dtype is not dtype:
            if dtype is not None:
                return False
            dtype = operand.dtype
    return dtype in dtypes


def floats(x: Any) -> Array:
    """`x` as an array of floats or complex numbers; integers become float32."""
    array = as_array(x)
    return array if array.dtype in _FLOATS else array.astype(floating(array.dtype), copy=False)


copied = np.array
"""A copy of a result, which may share memory with an argument: results of `ops` never do."""


def axis_or_tuple(axis: Any) -> Any:
    """`axis` as NumPy takes it: a tuple instead of a list."""
    return tuple(axis) if isinstance(axis, list) else axis


@cache  # filled as operands come: there are few sets of dtypes
def _joined(kinds: frozenset[Any]) -> np.dtype[Any]:
    """Returns the smallest dtype for arrays of the dtypes `kinds`, with `int` and `float` among them for numbers of Python."""
    strong = [kind for kind in kinds if isinstance(kind, np.dtype)]
    by_kind = {dtype.kind for dtype in strong}
    if "c" in by_kind:
        wide = any(dtype in (np.complex128, np.float64) for dtype in strong)
        return np.dtype(np.complex128 if wide else np.complex64)
    if "f" in by_kind:
        return max((dtype for dtype in strong if dtype.kind == "f"), key=lambda dtype: dtype.itemsize)
    if float in kinds:
        return _FLOAT32
    integers = [dtype for dtype in strong if dtype.kind in "iu"]
    if integers:
        common = np.result_type(*integers)
        return _FLOAT32 if common.kind == "f" else common  # uint64 together with signed integers
    return np.dtype(np.bool_ if strong and int not in kinds else np.int32)


def _typed(x: Any) -> bool:
    return getattr(x, "dtype", None) is not None


def _python(x: Any) -> bool:
    """Returns whether `x` is a Python number, which does not determine the size of a dtype."""
    return type(x) in _OF_NUMBERS or (isinstance(x, (int, float)) and not isinstance(x, (np.generic, bool)))


def _of_leaves(x: Any) -> np.dtype[Any] | None:
    """Returns the dtype for nested lists of numbers; None if they contain anything else, which NumPy then decides."""
    kinds = set(_leaf_kinds(x))
    if not kinds:
        return _FLOAT32
    if not all(isinstance(kind, np.dtype) or kind in _OF_PYTHON for kind in kinds):
        return None
    return _joined(frozenset(map(standard, kinds)))


def _leaf_kinds(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple, range)):
        for item in x:
            yield from _leaf_kinds(item)
    elif _typed(x):
        yield np.asarray(x).dtype
    else:
        yield type(x)
