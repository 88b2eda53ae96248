"""The names of the Python array API standard, 2024.12: a namespace for code that is written for any library of arrays.

Arrays are `numpy.ndarray`, and nearly all functions are NumPy's. A function that is written with them is recorded where
`engine.function`, `grad` or `vmap` calls it with symbols, as functions written with `numpy` are. Symbols return this namespace
from `__array_namespace__`. Functions whose results have shapes that depend on numbers, such as `unique_values` and `nonzero`,
can't be recorded.

Example:
    >>> import engine
    >>> xp = engine.array_api
    >>> xp.permute_dims(xp.reshape(xp.arange(4.0), (2, 2)), (1, 0)).tolist()
    [[0.0, 2.0], [1.0, 3.0]]
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine import ops
from engine._base.lazy_imports import on_first_use
from engine._tracing.symbolic import Symbolic, contains_symbolic

_OF_NUMPY = (
    "__array_namespace_info__", "abs", "acos", "acosh", "add", "all", "any", "arange", "argmax", "argmin", "asin", "asinh", "astype",
    "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "bool", "broadcast_to", "ceil", "complex64", "complex128", "concat", "conj", "copysign",
    "cos", "cosh", "count_nonzero", "cumulative_prod", "cumulative_sum", "diff", "divide", "e", "empty", "empty_like", "equal",
    "exp", "expand_dims", "expm1", "eye", "flip", "float32", "float64", "floor", "floor_divide", "from_dlpack", "full",
    "full_like", "greater", "greater_equal", "hypot", "imag", "inf", "int8", "int16", "int32", "int64", "isfinite", "isinf",
    "isnan", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "matmul", "matrix_transpose", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply", "nan",
    "negative", "newaxis", "nextafter", "nonzero", "not_equal", "ones", "ones_like", "permute_dims", "pi", "positive", "pow", "prod",
    "real", "reciprocal", "remainder", "repeat", "reshape", "roll", "round", "searchsorted", "sign", "signbit", "sin", "sinh",
    "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "tril", "triu",
    "trunc", "uint8", "uint16", "uint32", "uint64", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unstack", "var", "vecdot", "where", "zeros", "zeros_like",
)  # fmt: skip
globals().update({name: getattr(np, name) for name in _OF_NUMPY})

__array_api_version__ = "2024.12"
__all__ = [
    "argsort", "asarray", "broadcast_arrays", "can_cast", "clip", "finfo", "iinfo", "isdtype", "meshgrid",
    "result_type", "sort",
]  # fmt: skip

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...

else:
    __getattr__ = on_first_use(__name__)


def __dir__() -> list[str]:
    return sorted([*__all__, *_OF_NUMPY, "fft", "linalg"])


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """`obj`, an array, a number or nested lists of numbers, as an array.

    Args:
        obj: what becomes an array.
        dtype: of the result; default that of `obj`.
        device: None or "cpu".
        copy: True copies, False raises ValueError where that is needed, and None copies where it is needed.
    """
    if isinstance(obj, Symbolic):
        return obj if dtype is None else ops.cast(obj, dtype)
    if contains_symbolic(obj):
        return ops.stack([asarray(each, dtype=dtype) for each in obj])
    return np.asarray(obj, dtype=dtype, device=device, copy=copy)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """The `arrays` in the shape to which they are broadcast together."""
    return list(np.broadcast_arrays(*arrays))


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid with the axes `arrays`, one array for each; `indexing` is "xy" or "ij"."""
    return list(np.meshgrid(*arrays, indexing=indexing))  # type: ignore[call-overload] # "xy" or "ij"


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """The numbers of `x`, with those below `min` or above `max` replaced by these."""
    return np.clip(x, min, max)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The numbers of `x` in order along `axis`, the largest first if `descending`. All sorts are `stable`."""
    ascending = np.sort(x, axis=axis, stable=stable)
    return np.flip(ascending, axis=axis) if descending else ascending


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The places of the numbers of `x` in order along `axis`, as `sort(x, descending=descending, stable=stable)` has them."""
    if not descending:
        return np.argsort(x, axis=axis, stable=stable)
    return np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis=axis), axis=axis, stable=stable), axis=axis)


# Dtypes. Those of symbols are names.


class _Limits(NamedTuple):
    """What is known of a dtype."""

    dtype: Any
    bits: int
    min: Any
    max: Any
    eps: float = 0.0
    smallest_normal: float = 0.0


def _dtype(value: Any) -> Any:
    """Returns the dtype of an array or a symbol; a dtype as NumPy has it; a number of Python as it is."""
    if isinstance(value, (Symbolic, np.ndarray)):
        return np.dtype(getattr(value, "dtype", None))
    return np.dtype(value) if isinstance(value, str) else value


def finfo(type: Any, /) -> _Limits:  # the standard's name
    """The limits of the floating dtype `type`, or of that of an array."""
    found = np.finfo(_dtype(type))
    numbers = (float(number) for number in (found.min, found.max, found.eps, found.smallest_normal))
    return _Limits(found.dtype, int(found.bits), *numbers)


def iinfo(type: Any, /) -> _Limits:
    """The limits of the integer dtype `type`, or of that of an array."""
    found = np.iinfo(_dtype(type))
    return _Limits(found.dtype, int(found.bits), int(found.min), int(found.max))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Returns whether `dtype` is of `kind`, such as "real floating" or a dtype, or of one of several in a tuple."""
    return np.isdtype(_dtype(dtype), tuple(map(_kind, kind)) if isinstance(kind, tuple) else _kind(kind))


def _kind(kind: Any) -> Any:
    return np.dtype(kind) if isinstance(kind, str) and hasattr(np, kind) and kind != "bool" else kind


def can_cast(from_: Any, to: Any, /) -> bool:
    """Returns whether an array or a dtype, `from_`, can become the dtype `to` by the rules of promotion."""
    return np.can_cast(_dtype(from_), _dtype(to))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """Returns the dtype that arrays, dtypes and numbers, `arrays_and_dtypes`, have together."""
    return np.result_type(*map(_dtype, arrays_and_dtypes))


# Extensions.


def _frequencies(name: str) -> Any:
    def frequencies(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        return getattr(np.fft, name)(n, d, device=device).astype(np.float64 if dtype is None else dtype)

    return frequencies


linalg = SimpleNamespace(**{name: getattr(np.linalg, name) for name in np.linalg.__all__})
fft = SimpleNamespace(
    **{name: getattr(np.fft, name) for name in np.fft.__all__}
    | {name: _frequencies(name) for name in ("fftfreq", "rfftfreq")}
)
