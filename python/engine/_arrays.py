"""From what people keep numbers in to arrays that the core reads, or to a message that helps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._checks import REAL, Shape, text_of_shape
from engine._program import Float32, Rows, first_nonfinite_row

Array = NDArray[Any]

# What the core reads where it lies; floats of the other byte order differ from these.
_BYTES = frozenset({np.dtype(np.bool_), np.dtype(np.uint8)})
_READABLE = _BYTES | {np.dtype(np.float32), np.dtype(np.float64)}
# A message names no more columns than this.
_NAMED = 5


def only_array(value: Any, rank: int) -> Any:
    """The one array in a list or tuple, which Keras takes for the array itself; anything else as it is.

    Args:
        value: of a model's one input or output.
        rank: axes that the array has at least; what has fewer is a row in a list of rows.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1 and len(getattr(value[0], "shape", ())) >= rank:
        return value[0]
    return value


def input_rows(x: object, shape: Shape | None, name: str = "x") -> Rows:
    """`x` as a C-contiguous uint8, float32 or float64 array of finite numbers, copied only where it must be.

    Args:
        x: array or nested lists of real numbers, (n, ...).
        shape: of one sample; None takes any.
        name: what messages call it.
    """
    array = shaped(x, shape, name)
    rows = readable(array)
    if rows.dtype != np.uint8:
        require_finite(rows, array, name, columns=column_names(x))
    return rows


def complaint(x: object, shape: Shape | None, otherwise: ValueError, name: str = "x") -> ValueError:
    """The error of `input_rows`; `otherwise` if it finds none, because `x` has changed meanwhile."""
    try:
        input_rows(x, shape, name)
    except ValueError as error:
        return error
    return otherwise


def shaped(x: object, shape: Shape | None, name: str) -> Array:
    """`x` as an array of real numbers (n, *shape), n >= 1."""
    array = real_array(x, name)
    if array.ndim == 1 and shape in (None, (1,)):
        array = array[:, np.newaxis]
    if array.size == 0 or array.shape[1:] != shape:
        require_shape(array.shape, shape, name)
    return array


def real_array(value: object, name: str) -> Array:
    """`value` as an array of real numbers with at least one axis, without a copy where it has one in memory.

    Args:
        value: NumPy array or nested lists; pandas or polars frame or series; anything with `__array__`,
            `__dlpack__` or a buffer.
        name: what messages call it.
    """
    if type(value) is np.ndarray:
        array: Array = value
    else:
        array = _array(value, name)
        if np.ma.is_masked(value):
            msg = f"`{name}` has masked entries: give them a value, such as with .filled(0), or leave their rows out"
            raise ValueError(msg)
    if array.dtype.kind not in REAL:
        raise TypeError(_not_real(value, array, name))
    if array.ndim == 0:
        msg = f"`{name}` must be an array with one entry per sample, got the single number {array}"
        raise ValueError(msg)
    return array


def require_finite(
    rows: Rows,
    given: Array,
    name: str,
    *,
    numbers: Sequence[int] | NDArray[np.integer] | None = None,
    columns: Sequence[object] | None = None,
) -> None:
    """Raise ValueError that names the first row with a NaN, an infinity or a number beyond float32.

    Args:
        rows: what the core is to read.
        given: the array that they were made from, for the message.
        name: what messages call it.
        numbers: of the rows, for the message; default their places.
        columns: names of the columns, for the message.
    """
    row = first_nonfinite_row(rows)
    if row < 0:
        return
    found = np.asarray(given[row]).reshape(-1)
    column = int(np.argmin(np.isfinite(as_float32(found))))
    where = f" in column {columns[column]!r}" if columns is not None and len(columns) == len(found) else ""
    number = row if numbers is None else numbers[row]
    msg = f"`{name}` must be finite and within float32's range, but row {number} holds {found[column]}{where}"
    raise ValueError(msg)


def readable(array: Array) -> Rows:
    """`array` itself where the core can read it, else the cheapest copy that it can."""
    if array.dtype in _BYTES:
        return np.ascontiguousarray(array).view(np.uint8)
    if lies_readable(array):
        return array
    return as_float32(array)


def lies_readable(array: Array) -> bool:
    """Whether the core can read `array` where it lies."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned and array.dtype in _READABLE


def as_float32(array: Array) -> Float32:
    """`array`, C-contiguous; what float32 can't hold becomes infinite, for `require_finite` to find."""
    with np.errstate(over="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def in_a_file(array: Array) -> bool:
    """Whether `array` is memory-mapped: it may be larger than the memory."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap):
            return True
        owner = owner.base
    return False


def require_shape(given: tuple[int, ...], shape: Shape | None, name: str) -> None:
    """Raise ValueError unless samples `given` (n, ...) have `shape` and there are some."""
    if shape is not None and given[1:] != shape:
        msg = f"`{name}` must have shape {text_of_shape(shape)}, got {given}{_shape_hint(given, shape)}"
        raise ValueError(msg)
    if 0 in given:
        msg = f"`{name}` is empty, of shape {given}: pass at least one sample"
        raise ValueError(msg)


def _shape_hint(given: tuple[int, ...], shape: Shape) -> str:
    """What to do about a wrong shape, where that can be told."""
    if given == shape:
        return ": for one sample pass x[np.newaxis]"
    if math.prod(given[1:]) == math.prod(shape):
        text = f"(len(x), {', '.join(map(str, shape))})"
        return f": reshape it with x.reshape{text}, or start the model with another input_shape"
    return ""


def _array(value: object, name: str) -> Array:
    several = list(value) if isinstance(value, Mapping) else _shapes(value)
    if several:
        kind = "a dict of" if isinstance(value, Mapping) else "arrays of the shapes"
        msg = f"`{name}` must be one array, as models have one input and one output, but is {kind} {several}"
        raise TypeError(msg)
    try:
        if hasattr(value, "to_numpy"):
            return _of_frame(value)
        if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        msg = f"`{name}` must be an array, or lists that are equally long at every level: {error}"
        raise ValueError(msg) from None
    except (TypeError, RuntimeError, BufferError) as error:  # as other libraries refuse
        msg = f"`{name}` of type {type(value).__name__} can't be read as an array of NumPy: {error}"
        raise TypeError(msg) from error


def _shapes(value: object) -> list[tuple[int, ...]]:
    """The shapes of arrays in a list or tuple that don't fit into one array; of other things none."""
    if not isinstance(value, (list, tuple)) or not all(hasattr(each, "shape") for each in value):
        return []
    shapes = [tuple(each.shape) for each in value]
    return shapes if len(set(shapes)) > 1 else []


def _of_frame(frame: Any) -> Array:
    """A frame or series of pandas or polars as an array of its numbers; of other contents as it says itself."""
    dtypes = list(_dtypes(frame))
    if not dtypes or not all(getattr(dtype, "kind", "") in REAL for dtype in dtypes):
        return np.asarray(frame.to_numpy())
    plain = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]
    common = np.result_type(*plain)
    if plain == dtypes:
        return np.asarray(frame.to_numpy(dtype=common))
    # pandas' own types may lack values.
    return np.asarray(frame.to_numpy(dtype=np.result_type(common, np.float64), na_value=np.nan))


def _dtypes(frame: Any) -> Iterator[Any]:
    dtypes = getattr(frame, "dtypes", None)
    if hasattr(dtypes, "kind") or dtypes is None:
        yield dtypes if dtypes is not None else getattr(frame, "dtype", None)
    else:
        yield from dtypes


def column_names(value: object) -> list[object] | None:
    """The names of a frame's columns; of what is no frame None."""
    return list(value.columns) if hasattr(value, "to_numpy") and hasattr(value, "columns") else None


def feature_names(value: object) -> list[str] | None:
    """The names of a frame's columns, where all are texts: numbers tell nothing."""
    columns = column_names(value) or [None]
    names = [column for column in columns if isinstance(column, str)]
    return names if len(names) == len(columns) else None


def _not_real(value: object, array: Array, name: str) -> str:
    columns = column_names(value)
    if columns is not None:
        kinds = list(zip(columns, _dtypes(value), strict=False))
        wrong = [
            f"{column!r} ({dtype})" for column, dtype in kinds if getattr(dtype, "kind", "O") not in REAL
        ]
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        return (
            f"`{name}` must hold real numbers, but has columns of others: {', '.join(wrong[:_NAMED])}{more}. Leave "
            "them out, or encode them as numbers, such as with pandas.get_dummies"
        )
    given = type(value).__name__ if array.ndim == 0 else f"dtype {array.dtype}"
    return (
        f"`{name}` must hold real numbers, got {given}: convert it, such as with np.asarray(..., 'float32')"
    )
