"""Converts what users pass as numbers into arrays that the core can read, or says what is wrong and what to do.

It accepts NumPy arrays, nested lists, data frames, and whatever has `__array__`, `__dlpack__` or a buffer. `real_array`
is the first step for all of them. Layers and models call `input_rows` and its parts for samples, `checked_samples` calls
`real_numbers` for targets and weights. A `DeviceArray` stays on its GPU, where these say so.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape, WrongTypeError, fits, text_of_shape
from engine._core_interface.cpp import DeviceArray, Float32, NotFiniteError, Rows, first_nonfinite_row
from engine._data.device_arrays import readable_on_device, summary_of, to_host
from engine._data.frames import column_names, columns_that_are_not_real, frame_array
from engine._data.memory_maps import require_whole_file

Array = NDArray[Any]

# The dtypes that the core reads without a copy. Floats of the other byte order have other dtypes.
_BYTES = frozenset({np.dtype(np.bool_), np.dtype(np.uint8)})
_READABLE = _BYTES | {np.dtype(np.float32), np.dtype(np.float64)}


def only_array(value: Any, rank: int) -> Any:
    """Returns the array in a list or tuple of one array, which Keras accepts for one input; other values as they are.

    Args:
        value: the samples or targets of a model.
        rank: the least number of axes of such an array. An array with fewer is one row, in a list of rows.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1 and len(getattr(value[0], "shape", ())) >= rank:
        return value[0]
    return value


def input_rows(x: object, shape: Shape | None, name: str = "x") -> Rows:
    """Returns `x` as a C-contiguous uint8, float32 or float64 array of finite numbers, copied only if necessary.

    Args:
        x: array or nested lists of real numbers, (n, ...).
        shape: the shape of one sample; None accepts any shape.
        name: the name of the argument, for messages.
    """
    array = shaped(x, shape, name)
    rows = readable(array)
    if rows.dtype != np.uint8:
        require_finite(rows, array, name, columns=column_names(x))
    return rows


def complaint(x: object, shape: Shape | None, otherwise: ValueError, name: str = "x") -> ValueError:
    """Returns the error that `input_rows` raises for `x`.

    The core found a number in `x` that isn't finite, and this function finds out which. It returns `otherwise` if it finds
    no error, which happens when another thread has changed `x` since.
    """
    try:
        input_rows(x, shape, name)
    except ValueError as error:
        return error
    return otherwise


def shaped(x: object, shape: Shape | None, name: str) -> Any:
    """Returns `x` as an array of real numbers (n, *shape), n >= 1; a `DeviceArray` as one."""
    array = real_numbers(x, name)
    if array.ndim == 1 and shape in (None, (1,)):
        array = array.reshape(len(array), 1)
    if array.size == 0 or array.shape[1:] != shape:
        require_shape(array.shape, shape, name)
    return array


def real_numbers(value: object, name: str) -> Any:
    """Returns a `DeviceArray` of real numbers with at least one axis as it is; all else as `real_array` does."""
    if not isinstance(value, DeviceArray):
        return real_array(value, name)
    if value.dtype.kind not in REAL:
        raise WrongTypeError(_not_real(value, value, name))
    if value.ndim == 0:
        raise ValueError(_single_number(value, name))
    return value


def _single_number(array: Any, name: str) -> str:
    return f"`{name}` must be an array with one entry per sample, got the single number {np.asarray(array)}"


def real_array(value: object, name: str) -> Array:
    """Returns `value` as an array of real numbers with at least one axis, without a copy if its memory can be shared.

    Args:
        value: NumPy array or nested lists; pandas or polars frame or series; anything with `__array__`,
            `__dlpack__` or a buffer. Tensors on a GPU are copied from there.
        name: the name of the argument, for messages.
    """
    if type(value) is np.ndarray:
        array: Array = value
    else:
        array = any_array(value, name)
    require_whole_file(array, name)
    if array.dtype.kind not in REAL:
        raise WrongTypeError(_not_real(value, array, name))
    if array.ndim == 0:
        raise ValueError(_single_number(array, name))
    return array


def require_finite(
    rows: Rows,
    array: Any,
    name: str,
    *,
    row_numbers: Sequence[int] | NDArray[np.integer] | None = None,
    columns: Sequence[object] | None = None,
) -> None:
    """Raises ValueError that names the first row with a NaN, an infinity or a number beyond float32.

    Args:
        rows: the rows that the core will read.
        array: the array from which `rows` was made, for the message.
        name: the name of the argument, for messages.
        row_numbers: the numbers of the rows, for the message; by default they are counted from 0.
        columns: the names of the columns, for the message.
    """
    if isinstance(rows, DeviceArray):
        if summary_of(rows).finite:
            return
        rows, array = rows.numpy(), np.asarray(array)
    row = first_nonfinite_row(rows)
    if row < 0:
        return
    values = np.asarray(array[row]).reshape(-1)
    column = int(np.argmin(np.isfinite(as_float32(values))))
    where = ""
    if columns is not None and len(columns) == len(values):
        where = f" in column {columns[column]!r}"
    elif array.ndim == 2:  # noqa: PLR2004 # samples and features
        where = f" in column {column}"
    elif len(values) > 1:
        where = f" at {[int(place) for place in np.unravel_index(column, array.shape[1:])]}"
    number = row if row_numbers is None else row_numbers[row]
    msg = (
        f"`{name}` must be finite and within float32's range, but row {number} holds {values[column]}{where}"
    )
    raise ValueError(msg)


def require_finite_rows(rows: object) -> None:
    """Raises NotFiniteError if `rows` are an array with numbers that aren't finite, before a prediction changes weights."""
    if isinstance(rows, np.ndarray) and rows.dtype != np.uint8 and first_nonfinite_row(rows) >= 0:
        raise NotFiniteError


def readable(array: Any) -> Rows:
    """Returns `array` if the core can read it as it is, else the smallest copy that the core can read."""
    if isinstance(array, DeviceArray):
        return readable_on_device(array)
    if array.dtype in _BYTES:
        bytes_view: Rows = np.ascontiguousarray(array).view(np.uint8)
        return bytes_view
    if is_readable(array):
        return array  # type: ignore[no-any-return] # rows
    return as_float32(array)


def is_readable(array: Array) -> bool:
    """Returns whether the core can read `array` without a copy."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned and array.dtype in _READABLE


def as_float32(array: Array) -> Float32:
    """Returns `array` as C-contiguous float32. Numbers beyond float32 become infinite, which `require_finite` finds."""
    with np.errstate(over="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def require_shape(array_shape: tuple[int, ...], shape: Shape | None, name: str) -> None:
    """Raises ValueError unless an array of the shape `array_shape`, (n, ...), holds at least one sample of `shape`."""
    require_sample_shape(array_shape[1:], shape, name, array_shape)
    if 0 in array_shape:
        msg = f"`{name}` is empty, of shape {array_shape}: pass at least one sample"
        raise ValueError(msg)


def require_sample_shape(
    sample: Shape, shape: Shape | None, name: str, array_shape: Shape | None = None
) -> None:
    """Raises ValueError unless the shape `sample` of one sample agrees with `shape`.

    Args:
        sample: the shape of one sample.
        shape: the expected shape; None accepts any.
        name: the name of the argument, for messages.
        array_shape: the shape of the whole array, for the message.
    """
    if shape is not None and sample != shape and not fits(sample, shape):
        array_shape = (0, *sample) if array_shape is None else array_shape
        msg = f"`{name}` must have shape {text_of_shape(shape)}, got {array_shape}{_shape_hint(array_shape, shape)}"
        raise ValueError(msg)


def sample_shape_of_empty(x: object, name: str) -> Shape | None:
    """Returns the shape of one sample if `x` is an array of real numbers with no samples, (0, ...); else None."""
    shape = getattr(x, "shape", None)
    if not isinstance(shape, tuple) or not shape or shape[0] != 0 or 0 in shape[1:] or hasattr(x, "tocsr"):
        return None
    return real_array(x, name).shape[1:] or (1,)


def _shape_hint(array_shape: tuple[int, ...], shape: Shape) -> str:
    """Returns the end of the message about a wrong shape: what to do, if the shapes tell."""
    if array_shape == shape:
        return ": for one sample pass x[np.newaxis]"
    if None in shape:
        batch = array_shape[1:] == shape[1:]
        return ": the shape of Input() has no batch axis, so leave out its first None" if batch else ""
    if math.prod(array_shape[1:]) == math.prod(shape):
        text = f"(len(x), {', '.join(map(str, shape))})"
        return f": reshape it with x.reshape{text}, or start the model with another input_shape"
    return ""


def any_array(value: object, name: str) -> Array:
    """Returns `value` as an array of any dtype; raises if it is several arrays or can't be converted."""
    if np.ma.is_masked(value):
        msg = f"`{name}` has masked entries: give them a value, such as with .filled(0), or leave their rows out"
        raise ValueError(msg)
    value = to_host(value, name)
    several = list(value) if isinstance(value, Mapping) else _shapes(value)
    if several:
        kind = "a dict of" if isinstance(value, Mapping) else "arrays of the shapes"
        msg = (
            f"`{name}` must be one array, as the model has one input or output there, but is {kind} {several}"
        )
        raise TypeError(msg)
    try:
        if hasattr(value, "to_numpy"):
            return frame_array(value)
        if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        msg = f"`{name}` must be an array, or lists that are equally long at every level: {error}"
        raise ValueError(msg) from None
    except (TypeError, RuntimeError, BufferError) as error:  # other libraries raise these
        msg = f"`{name}` of type {type(value).__name__} can't be read as an array of NumPy: {error}"
        raise TypeError(msg) from error


def _shapes(value: object) -> list[tuple[int, ...]]:
    """Returns the shapes of the arrays in a list or tuple if these differ; for everything else an empty list."""
    if not isinstance(value, (list, tuple)) or not all(hasattr(array, "shape") for array in value):
        return []
    shapes = [tuple(array.shape) for array in value]
    return shapes if len(set(shapes)) > 1 else []


def _not_real(value: object, array: Any, name: str) -> str:
    """Returns the message for an array of something else than real numbers, with what to do about it."""
    columns = column_names(value)
    if columns is not None and array.dtype.kind not in "cmM":
        return columns_that_are_not_real(value, columns, name)
    if array.ndim == 0:
        return f"`{name}` must hold real numbers, got {type(value).__name__}: pass an array of numbers"
    kind = array.dtype.kind
    remedy = _of_objects(array) if kind == "O" else _REMEDIES.get(kind, "pass an array of numbers")
    return f"`{name}` must hold real numbers, got dtype {array.dtype}: {remedy}"


# The end of messages about strings.
_OF_STRINGS = (
    "strings that stand for classes become indices with np.unique(labels, return_inverse=True) or pandas.factorize(labels), "
    "and the classifier of engine.sklearn takes them as they are; strings as samples need an Input(shape, dtype='string') and "
    "a StringLookup, Hashing or TextVectorization; strings such as '1.5' become numbers with .astype('float32')"
)
_OF_TIMES = "turn it into a number of units, such as (t - t[0]) / np.timedelta64(1, 'D') for days"
# The end of messages about other contents, by `dtype.kind`.
_REMEDIES = {
    "U": _OF_STRINGS,
    "S": _OF_STRINGS,
    "c": "take the part that counts, its .real, its .imag or its absolute value, np.abs(...)",
    "m": _OF_TIMES,
    "M": _OF_TIMES,
}


def _of_objects(array: Array) -> str:
    """Returns the text about the first object in `array` that is no real number, and what to do about it."""
    for index, item in np.ndenumerate(array):
        if isinstance(item, (numbers.Real, np.bool_)):
            continue
        where = f"entry {index[0] if len(index) == 1 else index}"
        description = f"{where} is {item!r:.60}, of type {type(item).__name__}"
        if isinstance(item, (str, bytes)):
            return f"{description}: {_OF_STRINGS}"
        if item is None:
            return f"{description}: give missing values a number, or leave their rows out"
        return f"{description}: all must be numbers"
    return "all of them are numbers, so .astype('float32') makes an array of these"
